-- +goose NO TRANSACTION
-- +goose Up

-- One row per event that was accepted, was no repeat and was not refused. Reading it never needs FINAL.
--
-- _shard, _seq, _idx: the place of the row. Frame _seq of shard _shard is message _seq of the streams RAW and ENRICHED,
-- _idx counts the rows in it. What the indexer proves, it proves by them: after any doubt it counts the rows with
-- _shard = s AND _seq BETWEEN a AND b. The minmax index by_seq makes that cheap: parts hold ranges of sequences, and so,
-- because the day comes early in the key, do the granules of merged parts.
--
-- PARTITION BY the month of received_at, not of the event's own time: a batch then falls into one partition, rarely two,
-- and one part is written by one rename, all of it or nothing. Old events cannot scatter a block over a hundred
-- partitions.
--
-- ORDER BY source, day, event, user, time: a report asks for one source, some days, often one event. event_date is a
-- column of its own because a key on toDate32(timestamp) does not prune for `timestamp >= x`; a question about days should
-- name event_date, which the query service's reports do.
--
-- by_user and by_anonymous: bloom filters, which serve user_id OR anonymous_id in people's own SQL, and rows that are in no
-- projection yet (00003). Figures: docs/decisions/0003-table-keys.md.
--
-- index_granularity: rows that are read at least for one of them. A history reads single rows of many days; with 2048
-- instead of 8192 it took 37 ms instead of 68, for some 5 % more CPU at inserts and merges.
--
-- non_replicated_deduplication_window: blocks whose insert token is remembered. It must be larger than the number of
-- blocks that can be inserted while a paused indexer still has one in flight.
--
-- merge_selector_base: how many times larger than its largest part a merge should be. Fresh blocks are small, because rows
-- must be visible soon, and merging them again and again costs more than inserting them: 300,000 rows in blocks of 2,000
-- (5,000) took 26.9 (19.1) CPU-seconds per million rows, merges and all, with the default of 5; 15.6 (11.0) with 40. The
-- price is some ten more small parts for a query to open.
--
-- min_bytes_for_wide_part: a wide part of this table is some 300 files, and with the default of 10 MiB a block of 10,000
-- rows became one; creating the files was a third of the CPU of an insert. Small parts are one file of data; large ones,
-- which scans read, are still wide.
--
-- fsync_after_insert is 0, the durability `process`: what ClickHouse acknowledged survives the end of any process.
-- `millrace migrate --durability power` turns it on.
--
-- Maps: keys are few and repeat, so they are LowCardinality; every value as text in *, numbers once more as Float64 in
-- *_num, so that no query has to parse them.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS events
(
    _shard             UInt16,
    _seq               UInt64,
    _idx               UInt32,
    source             LowCardinality(String),
    type               LowCardinality(String),
    event              LowCardinality(String),
    event_id           String,
    user_id            String,
    anonymous_id       String,
    previous_id        String,
    group_id           String,
    session_id         String,
    timestamp          DateTime64(3, 'UTC'),
    original_timestamp DateTime64(3, 'UTC'),
    sent_at            DateTime64(3, 'UTC'),
    received_at        DateTime64(3, 'UTC'),
    url                String,
    path               String,
    host               LowCardinality(String),
    search             String,
    title              String,
    referrer           String,
    referrer_host      LowCardinality(String),
    utm_source         LowCardinality(String),
    utm_medium         LowCardinality(String),
    utm_campaign       LowCardinality(String),
    utm_term           LowCardinality(String),
    utm_content        LowCardinality(String),
    browser            LowCardinality(String),
    browser_version    LowCardinality(String),
    os                 LowCardinality(String),
    os_version         LowCardinality(String),
    device_type        LowCardinality(String),
    is_bot             Bool,
    user_agent         String,
    ip                 String,
    locale             LowCardinality(String),
    properties         Map(LowCardinality(String), String),
    properties_num     Map(LowCardinality(String), Float64),
    traits             Map(LowCardinality(String), String),
    traits_num         Map(LowCardinality(String), Float64),
    context            Map(LowCardinality(String), String),
    context_num        Map(LowCardinality(String), Float64),
    extra              Map(LowCardinality(String), String),
    event_date         Date32 DEFAULT toDate32(timestamp),

    INDEX by_seq       _seq         TYPE minmax             GRANULARITY 8,
    INDEX by_user      user_id      TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX by_anonymous anonymous_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (source, event_date, event, user_id, timestamp)
SETTINGS
    index_granularity = 2048,
    non_replicated_deduplication_window = 10000,
    merge_selector_base = 32,
    min_bytes_for_wide_part = 134217728,
    fsync_after_insert = 0,
    fsync_part_directory = 0;
-- +goose StatementEnd

-- +goose Down
DROP TABLE IF EXISTS events;
