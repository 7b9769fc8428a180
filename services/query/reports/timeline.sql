-- One person's events, the newest first, from a place on.
SELECT
    toUnixTimestamp64Milli(timestamp) AS at, _shard, _seq, _idx, source, type, event, event_id, user_id, anonymous_id, url, title, properties
FROM events
WHERE {{scope}}
    AND {{person_is}}
    AND (timestamp, _shard, _seq, _idx) < ({before:DateTime64(3, 'UTC')}, {before_shard:UInt16}, {before_seq:UInt64}, {before_idx:UInt32})
ORDER BY timestamp DESC, _shard DESC, _seq DESC, _idx DESC
LIMIT {limit:UInt32}
