-- Who came as far as a step and no farther, the latest first.
SELECT person, max(at) AS last
FROM
(
    SELECT toUInt64(toUnixTimestamp64Milli(timestamp)) AS at, {{person}} AS person, {{name}} AS name
    FROM events
    WHERE {{scope}}
)
GROUP BY person
HAVING {{funnel_level}} = {dropped:UInt8}
ORDER BY last DESC, person
LIMIT {limit:UInt32}
