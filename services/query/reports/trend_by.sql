-- A series for each of the leading values of a dimension, and one for all the others together. only: the values that
-- the period before is asked about.
WITH
    scoped AS
    (
        SELECT {{bucket}} AS bucket, {{person}} AS person, properties_num[{property:String}] AS amount, {{dimension}} AS dimension
        FROM events
        WHERE {{scope}}
            AND ({measure:String} IN ('count', 'users') OR mapContains(properties_num, {property:String}))
    ),
    leading AS
    (
        SELECT dimension
        FROM scoped
        WHERE empty({only:Array(String)}) OR dimension IN {only:Array(String)}
        GROUP BY dimension
        ORDER BY {{measure}} DESC, dimension
        LIMIT {limit:UInt32}
    )
SELECT grouping(bucket) AS whole, other, value, bucket, {{measure}} AS measured
FROM
(
    SELECT bucket, person, amount, dimension NOT IN (SELECT dimension FROM leading) AS other, if(other, '', dimension) AS value
    FROM scoped
)
GROUP BY ROLLUP (other, value, bucket)
HAVING grouping(value) = 0
