-- Sessions by the interval in which they begin. The scope begins one silence before the period, so that it is known of the
-- first event of the period whether it begins a session.
SELECT
    grouping(bucket) AS whole, bucket,
    count() AS sessions, uniqExact(person) AS people, sum(length(session)) AS events,
    sum(session[-1] - session[1]) AS milliseconds, countIf(length(session) = 1) AS bounced
FROM
(
    SELECT person, session, fromUnixTimestamp64Milli(session[1], 'UTC') AS timestamp, {{bucket}} AS bucket
    FROM
    (
        SELECT person, arrayJoin(arraySplit((at, gap) -> gap > {silence:Int64}, times, arrayDifference(times))) AS session
        FROM
        (
            SELECT {{person}} AS person, arraySort(groupArray(toUnixTimestamp64Milli(timestamp))) AS times
            FROM events
            WHERE {{scope}}
            GROUP BY person
        )
    )
    WHERE session[1] >= toUnixTimestamp64Milli({origin:DateTime64(3, 'UTC')})
)
GROUP BY ROLLUP (bucket)
