-- VALUES, and parameters in all places.
VALUES ((SELECT count(*) FROM people), (SELECT sum(amount) FROM sales));
SELECT v.x, p.name FROM (VALUES (1, 'one'), (2, 'two'), (50, 'fifty')) v (k, x) LEFT JOIN people p ON p.id = v.k ORDER BY v.k;
SELECT p.name FROM people p WHERE p.id IN (VALUES (1), (3), (77)) ORDER BY 1;
SELECT p.name, v.column2 FROM people p JOIN (VALUES ('north', 1), ('south', 2)) v ON v.column1 = p.region ORDER BY p.id;
SELECT column1, count(s.id) FROM (VALUES (0), (1), (9)) v LEFT JOIN sales s ON s.qty = v.column1 GROUP BY column1 ORDER BY 1;
SELECT * FROM (VALUES (1, NULL), (NULL, 'x')) v (a, b) WHERE a IN (SELECT id FROM people) OR b IS NOT NULL ORDER BY a;
SELECT max(k) FROM (VALUES (1), (2)) v (k), people;
SELECT name FROM people WHERE (id, region) IN (VALUES (1, 'north'), (2, 'north'), (6, 'south')) ORDER BY id;
SELECT name FROM people WHERE id > (VALUES (7)) ORDER BY id;
SELECT v.k, (SELECT count(*) FROM sales WHERE person = v.k) FROM (VALUES (1), (2), (3)) v (k) ORDER BY 1;
-- bind 5
SELECT name FROM people WHERE id > $1 ORDER BY id;
-- bind 5::int8
SELECT name FROM people WHERE id > $1 ORDER BY id;
-- bind 5
SELECT name FROM people WHERE id <> $1 ORDER BY id;
-- bind 1, 2
SELECT name FROM people WHERE id IN ($1, $2) ORDER BY id;
-- bind 1, 9
SELECT name FROM people WHERE id BETWEEN $1 AND $2 ORDER BY id;
-- bind '{1,2,9}'
SELECT name FROM people WHERE id = ANY ($1) ORDER BY id;
-- bind '{}'
SELECT name FROM people WHERE id = ANY ($1) ORDER BY id;
-- bind NULL
SELECT name FROM people WHERE id = ANY ($1) ORDER BY id;
-- bind '{1,2}'::int8[]
SELECT name FROM people WHERE id <> ALL ($1) ORDER BY id;
-- bind NULL
SELECT name FROM people WHERE id = $1 OR name = 'bob' ORDER BY id;
-- bind 'north'
SELECT count(*) FROM people WHERE region = $1;
-- bind 'n%'
SELECT count(*) FROM people WHERE region LIKE $1;
-- bind 100
SELECT person, sum(amount) FROM sales GROUP BY person HAVING sum(amount) > $1 ORDER BY person;
-- bind 2, 2
SELECT qty * $1, count(*) FROM sales GROUP BY qty ORDER BY qty % $2, qty;
-- bind '2024-01-15'
SELECT count(*) FROM sales WHERE sold < $1;
-- bind '2024-01-15', '2024-02-10'
SELECT d FROM days WHERE d BETWEEN $1 AND $2 ORDER BY d;
-- bind '2024-01-11'::date
SELECT d FROM days WHERE d >= $1 ORDER BY d;
-- bind 1
SELECT $1::int, id FROM people ORDER BY id;
-- bind 'x'
SELECT $1, id FROM people ORDER BY id;
-- bind 1, 'one'
SELECT p.name, v.x FROM people p JOIN (VALUES ($1::int, $2)) v (k, x) ON v.k = p.id;
-- bind 3
SELECT (SELECT count(*) FROM sales WHERE person = $1), (SELECT count(*) FROM sales WHERE person <> $1);
-- bind 2
SELECT id FROM people UNION SELECT $1::int8 ORDER BY 1;
-- bind 0.5
SELECT sum(amount * $1) FROM sales;
-- bind 1.5
SELECT name FROM people WHERE height > $1 ORDER BY id;
-- bind 'ok'
SELECT name FROM people WHERE m = $1 ORDER BY id;
-- bind '{"a": 1}'
SELECT name FROM people WHERE prefs @> $1 ORDER BY id;
-- bind '{a}'
SELECT name FROM people WHERE tags @> $1 ORDER BY id;
-- bind true::bool
SELECT name FROM people WHERE active = $1 ORDER BY id;
-- bind NULL
SELECT name FROM people WHERE active IS NOT DISTINCT FROM $1 ORDER BY id;
-- bind ','
SELECT string_agg(name, $1 ORDER BY id) FROM people;
-- bind 2
SELECT id, lag(id, $1) OVER (ORDER BY id) FROM people ORDER BY id;
-- bind 'x'
SELECT name FROM people WHERE id = $1;
-- bind 1
SELECT CASE WHEN id = $1 THEN 'it' ELSE 'other' END, count(*) FROM people GROUP BY 1 ORDER BY 1;
-- bind 5
WITH x AS (SELECT id FROM people WHERE id > $1) SELECT count(*) FROM x;
-- bind 'month'
SELECT date_trunc($1, sold) AS m, count(*) FROM sales GROUP BY m ORDER BY m;
