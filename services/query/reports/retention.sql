-- Cohorts by the interval of a person's first start. k: intervals later; -1 counts the cohort itself.
SELECT cohort, arrayJoin(arrayConcat([toInt32(-1)], later)) AS k, count() AS people
FROM
(
    SELECT
        minIf(bucket, starts) AS cohort,
        arrayMap(b -> toInt32(b - cohort), arrayFilter(b -> b >= cohort, groupUniqArrayIf(bucket, returns))) AS gaps,
        arrayFilter(k -> k <= {periods:Int32},
            if({mode:String} = 'unbounded', arrayMap(k -> toInt32(k), range(if(empty(gaps), 0, arrayMax(gaps) + 1))), gaps)) AS later
    FROM
    (
        SELECT
            {{bucket}} AS bucket, {{person}} AS person, {{name}} AS name,
            empty({start:Array(String)}) OR name IN {start:Array(String)} AS starts,
            empty({return:Array(String)}) OR name IN {return:Array(String)} AS returns
        FROM events
        WHERE {{scope}}
    )
    GROUP BY person
    HAVING countIf(starts) > 0
)
GROUP BY cohort, k
ORDER BY cohort, k
