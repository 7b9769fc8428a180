-- One event of a user by its id, as find reads it.
SELECT
    toUInt8(4) AS kind, _shard, _seq, _idx, toUnixTimestamp64Milli(timestamp) AS ms, toInt64(0),
    toUInt64(0), toUInt64(0), toUInt64(0), toString(type), toString(if(event = '', type, event)), event_id, '', '', '',
    toUInt8(mapContains(extra, {mark:String})), CAST(properties, 'Map(String, String)'), CAST(mapKeys(properties_num), 'Array(String)')
FROM events
WHERE source = {source:String}
    AND {{person}} IN {persons:Array(String)}
    AND event_id = {id:String}
    AND _seq <= {marks:Array(UInt64)}[_shard + 1]
ORDER BY ms DESC
LIMIT 1
