-- Whether there has ever been an event of a name. The day and the event follow the source in the key of the table, so that
-- only blocks at the borders of days are read where there are none, and one where there are.
SELECT 1 FROM events
WHERE (empty({sources:Array(String)}) OR source IN {sources:Array(String)})
    AND (event = {name:String} OR (event = '' AND type = {name:String}))
LIMIT 1
