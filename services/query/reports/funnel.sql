-- How many people came exactly how far, by what the dimension was at their first event of the first step: the largest
-- values, and as totals all of them. only: the values that the period before is asked about; they come first.
-- windowFunnel takes its steps as arguments: those beyond the last one of the question are never true.
SELECT segment, sumForEach(arrayMap(i -> toUInt64(level = i), range(1, length({steps:Array(String)}) + 1))) AS exactly
FROM
(
    SELECT {{funnel_level}} AS level, minIf((at, dimension), name = {steps:Array(String)}[1]).2 AS segment
    FROM
    (
        SELECT toUInt64(toUnixTimestamp64Milli(timestamp)) AS at, {{person}} AS person, {{name}} AS name, {{dimension}} AS dimension
        FROM events
        WHERE {{scope}}
    )
    GROUP BY person
)
WHERE level > 0
GROUP BY segment WITH TOTALS
ORDER BY segment IN {only:Array(String)} DESC, count() DESC, segment
LIMIT {limit:UInt32}
