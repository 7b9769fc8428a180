-- The values of a dimension by a measure. The totals are of all values.
SELECT dimension, {{measure}} AS measured
FROM
(
    SELECT {{person}} AS person, properties_num[{property:String}] AS amount, {{dimension}} AS dimension
    FROM events
    WHERE {{scope}}
        AND ({measure:String} IN ('count', 'users') OR mapContains(properties_num, {property:String}))
)
WHERE empty({only:Array(String)}) OR dimension IN {only:Array(String)}
GROUP BY dimension WITH TOTALS
ORDER BY measured DESC, dimension
LIMIT {limit:UInt32}
