-- One series. whole: the row is of the whole period, bucket means nothing. ROLLUP and not GROUPING SETS, here and in the others:
-- it adds the buckets' states up, where each of the sets would take in every row again.
SELECT grouping(bucket) AS whole, bucket, {{measure}} AS measured
FROM
(
    SELECT {{bucket}} AS bucket, {{person}} AS person, properties_num[{property:String}] AS amount
    FROM events
    WHERE {{scope}}
        AND ({measure:String} IN ('count', 'users') OR mapContains(properties_num, {property:String}))
)
GROUP BY ROLLUP (bucket)
