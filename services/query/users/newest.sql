-- The events of users that answers show in detail, the newest first: those of the last day, those not before the owner's bound, with
-- their properties, and identifies and aliases, with their traits and the ids that they join.
WITH
    fromUnixTimestamp64Milli({now:Int64}, 'UTC') - INTERVAL 1 DAY AS day_ago,
    toUnixTimestamp64Milli(timestamp) AS ms,
    {{bound}} AS bound,
    type IN ('identify', 'alias') AS joins
SELECT
    {{owner}} AS owner, _shard, _seq, _idx, ms, toString(type), toString(if(event = '', type, event)), event_id,
    if(type IN ('page', 'screen'), if(path = '', toString(event), path), ''), session_id, user_id, anonymous_id, previous_id,
    toUInt8(timestamp >= day_ago), toUInt8(ms >= bound), toUInt8(mapContains(extra, {mark:String})),
    CAST(if(ms >= bound, properties, map()), 'Map(String, String)'), CAST(if(ms >= bound, mapKeys(properties_num), []), 'Array(String)'),
    CAST(if(type = 'identify', traits, map()), 'Map(String, String)'), CAST(if(type = 'identify', mapKeys(traits_num), []), 'Array(String)')
FROM events
WHERE source = {source:String}
    AND {{mine}}
    AND _seq <= {marks:Array(UInt64)}[_shard + 1]
    AND (event_date >= toDate32({from:DateTime64(3, 'UTC')}) AND (ms >= bound OR timestamp >= day_ago)
        OR event_date IN {dates:Array(Date32)} AND joins)
ORDER BY ms DESC, _shard DESC, _seq DESC, _idx DESC
LIMIT {most:UInt32} BY owner, joins
