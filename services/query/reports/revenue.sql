-- What orders brought in, by currency: amounts of different currencies do not add up. The leading currencies have a series
-- each, all others one together, without an amount. only: the currencies that the period before is asked about.
WITH
    orders AS
    (
        SELECT
            {{bucket}} AS bucket, {{person}} AS person,
            properties_num[{property:String}] AS amount, upper(properties[{currency:String}]) AS currency
        FROM events
        WHERE {{scope}}
    ),
    leading AS
    (
        SELECT currency
        FROM orders
        WHERE empty({only:Array(String)}) OR currency IN {only:Array(String)}
        GROUP BY currency
        ORDER BY count() DESC, currency
        LIMIT {limit:UInt32}
    )
SELECT grouping(bucket) AS whole, other, name, bucket, count() AS orders, uniqExact(person) AS buyers, sum(amount) AS revenue
FROM
(
    SELECT bucket, person, amount, currency NOT IN (SELECT currency FROM leading) AS other, if(other, '', currency) AS name
    FROM orders
)
GROUP BY ROLLUP (other, name, bucket)
HAVING grouping(name) = 0
