-- The ids that identifies and aliases of users name, each once: what a history is of. Of a user who names more than {ids} ids not
-- all are read, which is more than are joined.
SELECT DISTINCT substring({{person}}, 2) AS id, toString(type) AS kind, if(type = 'identify', anonymous_id, previous_id) AS other
FROM events
WHERE source = {source:String}
    AND {{person}} IN {persons:Array(String)}
    AND type IN ('identify', 'alias')
    AND _seq <= {marks:Array(UInt64)}[_shard + 1]
    AND other != ''
LIMIT {ids:UInt32} BY id
