-- What people do one after the other in a session, repeats of one name at once being one step. Events of one millisecond
-- are in the order in which they were accepted.
SELECT steps, count() AS sessions
FROM
(
    SELECT
        arrayCompact(arrayMap(e -> e.5, session)) AS names,
        indexOf(names, {start:String}) AS first,
        indexOf(names, {end:String}) AS last,
        if({start:String} != '', arraySlice(names, first, {depth:UInt8}),
        if({end:String} != '', arraySlice(names, greatest(1, toInt64(last) - {depth:UInt8} + 1), least(last, {depth:UInt8})),
            arraySlice(names, 1, {depth:UInt8}))) AS steps
    FROM
    (
        SELECT arrayJoin(arraySplit((e, gap) -> gap > {silence:Int64}, events, arrayDifference(arrayMap(e -> e.1, events)))) AS session
        FROM
        (
            SELECT
                {{person}} AS person,
                arraySort(groupArray((toUnixTimestamp64Milli(timestamp), _shard, _seq, _idx, toString({{name}})))) AS events
            FROM events
            WHERE {{scope}}
            GROUP BY person
        )
    )
    WHERE session[1].1 >= toUnixTimestamp64Milli({origin:DateTime64(3, 'UTC')})
)
WHERE ({start:String} = '' OR first > 0) AND ({end:String} = '' OR last > 0)
GROUP BY steps WITH TOTALS
ORDER BY sessions DESC, steps
LIMIT {limit:UInt32}
