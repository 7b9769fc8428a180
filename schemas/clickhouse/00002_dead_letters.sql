-- +goose NO TRANSACTION
-- +goose Up

-- One row per refused event. The identity is (_incarnation, _shard, _seq, _idx, retry): the life of the shard's streams,
-- the frame in RAW, the event in the frame, and how often it was brought back. A dead letter may be written more than
-- once (the projection from RAW resumes at the last one it finds), so the key is exactly the identity and
-- ReplacingMergeTree keeps one row of it. received_at belongs to the frame, so copies always share a partition. Readers use
-- the view, which never shows a copy.
--
-- events is how many events the letter stands for: more than one only where a whole frame could not be read.
--
-- original holds the bytes as they came; they are read rarely and compress well.
-- +goose StatementBegin
CREATE TABLE IF NOT EXISTS dead_letters_log
(
    _incarnation UInt64,
    _shard       UInt16,
    _seq         UInt64,
    _idx         UInt32,
    retry        UInt16,
    events       UInt32 DEFAULT 1,
    source       LowCardinality(String),
    stage        LowCardinality(String),
    reason       LowCardinality(String),
    detail       String,
    original     String CODEC(ZSTD(3)),
    received_at  DateTime64(3, 'UTC'),
    refused_at   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(refused_at)
PARTITION BY toYYYYMM(received_at)
ORDER BY (_incarnation, _shard, _seq, _idx, retry)
SETTINGS
    fsync_after_insert = 0,
    fsync_part_directory = 0;
-- +goose StatementEnd

-- SQL SECURITY INVOKER: the reader needs its own right on the log, nobody gains one through the view.
-- +goose StatementBegin
CREATE VIEW IF NOT EXISTS dead_letters SQL SECURITY INVOKER AS
SELECT source, stage, reason, detail, original, received_at, refused_at, _incarnation, _shard, _seq, _idx, retry, events
FROM dead_letters_log FINAL;
-- +goose StatementEnd

-- +goose Down
DROP VIEW IF EXISTS dead_letters;
DROP TABLE IF EXISTS dead_letters_log;
