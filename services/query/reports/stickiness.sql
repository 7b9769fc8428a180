-- How many people were active in how many intervals.
SELECT active, count() AS people
FROM
(
    SELECT count() AS active
    FROM
    (
        SELECT {{bucket}} AS bucket, {{person}} AS person
        FROM events
        WHERE {{scope}}
        GROUP BY bucket, person
    )
    GROUP BY person
)
GROUP BY active
ORDER BY active
