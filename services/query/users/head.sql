-- What ClickHouse has of users up to the watermarks, in one reading: a row for each name of event of each owner, of more names than
-- {names} the most frequent ones of the week. What is in double braces: history.go. What it does not read are the columns of
-- which newest.sql needs few rows; it says where these are: the newest times, the days of identifies and aliases and of what is not a day
-- old, and whether the column event says the name.
WITH
    fromUnixTimestamp64Milli({now:Int64}, 'UTC') AS moment,
    moment - INTERVAL 1 DAY AS day_ago,
    moment - INTERVAL 7 DAY AS week_ago,
    toUnixTimestamp64Milli(timestamp) AS ms,
    type IN ('identify', 'alias') AS joins
SELECT
    {{owner}} AS owner, {{name}} AS name, min(ms), max(ms), count() AS n,
    countIf(timestamp > day_ago), countIf(timestamp > week_ago) AS n_week,
    groupArrayIf(ms, timestamp > day_ago AND timestamp <= day_ago + INTERVAL {life:UInt32} SECOND),
    groupArrayIf(ms, timestamp > week_ago AND timestamp <= week_ago + INTERVAL {life:UInt32} SECOND),
    arrayMap(x -> -x, groupArraySorted({{recent}})(-ms)),
    countIf(event = ''),
    arrayMap(d -> toInt32(d), groupUniqArrayIf(event_date, joins)),
    arrayMap(d -> toInt32(d), groupUniqArrayIf(event_date, timestamp >= day_ago))
FROM events
WHERE source = {source:String}
    AND {{person}} IN {persons:Array(String)}
    AND _seq <= {marks:Array(UInt64)}[_shard + 1]
GROUP BY owner, name
ORDER BY n_week DESC, n DESC, name
LIMIT {names:UInt32} + 1 BY owner
