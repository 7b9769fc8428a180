-- Where Bento writes to: the columns of Millrace's table that its mapping can
-- fill, with the same types, but the properties as one JSON text, which is
-- less work for it than a map.
CREATE TABLE peer_events
(
    source        LowCardinality(String),
    type          LowCardinality(String),
    event         LowCardinality(String),
    event_id      String,
    user_id       String,
    anonymous_id  String,
    timestamp     DateTime64(3, 'UTC'),
    sent_at       DateTime64(3, 'UTC'),
    received_at   DateTime64(3, 'UTC'),
    url           String,
    path          String,
    host          LowCardinality(String),
    search        String,
    title         String,
    referrer      String,
    referrer_host LowCardinality(String),
    utm_source    LowCardinality(String),
    utm_campaign  LowCardinality(String),
    browser       LowCardinality(String),
    os            LowCardinality(String),
    device_type   LowCardinality(String),
    user_agent    String,
    ip            String,
    locale        LowCardinality(String),
    properties    String
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (source, event, user_id, timestamp)
