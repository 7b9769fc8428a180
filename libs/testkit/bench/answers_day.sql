-- One day of a shop, as rows of events: visits of ten events, one every quarter of a minute or so, by day more than by night.
-- 200,000 people, the busiest of whom come a hundred times as often as most; every seventh visitor is nobody yet, one visit of
-- thirty-three begins with an identify. What is in braces: answers_fill.go.
INSERT INTO events
    (_shard, _seq, _idx, source, type, event, event_id, user_id, anonymous_id, timestamp, original_timestamp, sent_at, received_at,
    url, path, host, search, title, referrer, referrer_host, utm_source, utm_campaign, browser, browser_version, os, os_version, device_type,
    user_agent, ip, locale, properties, properties_num, traits, traits_num)
WITH
    intDiv(number, 10) AS visit, number % 10 AS step,
    cityHash64(visit) AS v, cityHash64(number) AS e,
    toUInt64({{people}} * pow((v % 1000003) / 1000003, 2)) AS person,
    cityHash64(person) AS p,
    v % 100 < 15 AS nobody,
    step = 0 AND NOT nobody AND v % 33 = 0 AS identifies,
    step = 0 OR e % 10 < 4 AS page,
    (visit - {{first}}) / {{visits}} AS part,
    {{begin}} + toInt64(86400000 * (part - 0.12 * sin(2 * pi() * part))) + step * (5000 + 1000 * (v % 40)) + e % 5000 AS ms,
    fromUnixTimestamp64Milli(ms, 'UTC') AS at,
    e % 20000 AS product, e % 30 AS campaign, concat('/products/', toString(product)) AS place,
    concat('?utm_source=newsletter&utm_campaign=c', toString(campaign)) AS query, p % 60 AS version,
    1 + e % 300 + 0.25 AS price,
    ['Product Viewed', 'Product Viewed', 'Product Viewed', 'Product Viewed', 'Product Viewed', 'Product List Viewed', 'Product List Viewed', 'Product List Viewed',
     'Product Added', 'Product Added', 'Cart Viewed', 'Search Performed', 'Search Performed', 'Checkout Started', 'Payment Info Entered', 'Order Completed',
     'Help Requested', 'Signed In', 'Coupon Applied', 'Wishlist Product Added'][1 + intDiv(e, 16) % 20] AS name,
    name = 'Order Completed' AS order
SELECT
    person % {{shards}}, {{seq}} + intDiv((visit - {{first}}) * {{seqs}}, {{visits}}), {{mark}} + number % {{mark}}, '{{source}}',
    multiIf(identifies, 'identify', page, 'page', 'track'), if(page OR identifies, '', name),
    concat('made-', toString(number)), if(nobody, '', concat('user-', toString(person))), leftPad(lower(hex(person * 0x9e3779b97f4a7c15)), 16, '0'),
    at, at, at + INTERVAL 600 MILLISECOND, at + INTERVAL 680 MILLISECOND,
    concat('https://shop.example', place, query), place, 'shop.example',
    query, concat('Product ', toString(product)),
    concat('https://search.example/?q=', toString(e % 1000)), 'search.example', 'newsletter', concat('c', toString(campaign)),
    ['Chrome', 'Safari', 'Firefox'][1 + p % 3], concat(toString(80 + version), '.0'), ['Windows', 'iOS', 'Linux'][1 + p % 3], concat('17.', toString(p % 9)),
    if(p % 3 = 1, 'mobile', 'desktop'),
    concat('Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/', toString(80 + version), '.0.', toString(p % 13), '.0 Safari/537.36'),
    concat('203.0.', toString(person % 256), '.', toString(intDiv(person, 256) % 256)), ['de-DE', 'en-GB', 'en-US', 'fr-FR', 'nl-NL'][1 + p % 5],
    if(identifies, map(), mapConcat(
        map('sku', concat('SKU-', toString(product)), 'price', toString(price), 'quantity', toString(1 + e % 5), 'category', concat('cat-', toString(e % 40)), 'in_stock', 'true'),
        if(order, map('revenue', toString(price), 'currency', if(p % 4 = 0, 'USD', 'EUR')), map()))),
    if(identifies, map(), mapConcat(map('price', price, 'quantity', 1. + e % 5), if(order, map('revenue', price), map()))),
    if(identifies, map('plan', ['free', 'pro', 'team'][1 + v % 3], 'name', concat('Person ', toString(person)), 'seats', toString(1 + v % 9)), map()),
    if(identifies, map('seats', 1. + v % 9), map())
FROM numbers({{from}}, {{n}})
SETTINGS max_insert_block_size = 1000000, min_insert_block_size_rows = 1000000, min_insert_block_size_bytes = 0, insert_deduplicate = 0
