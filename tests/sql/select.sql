-- Unsharded tables: everything that PostgreSQL offers, since one shard has them all.
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, boss int REFERENCES people, salary numeric(10,2), born date, tags text[]);
INSERT INTO people VALUES (1, 'Ada', NULL, 9000, '1980-01-02', '{lead,math}'), (2, 'Bob', 1, 5000, '1985-03-04', '{math}'), (3, 'Cyd', 1, 5000, NULL, '{}'), (4, 'Dan', 2, NULL, '1990-05-06', NULL), (5, 'Eve', 2, 4000.50, '1991-07-08', '{ops,night}');
CREATE TABLE visits (person int, place text, at timestamp, PRIMARY KEY (person, at));
INSERT INTO visits SELECT 1 + g % 5, (ARRAY['Oslo', 'Rome', 'Kyiv'])[1 + g % 3], timestamp '2024-01-01' + g * interval '7 hours' FROM generate_series(1, 40) g;
SELECT * FROM people ORDER BY id;
SELECT p.*, p FROM people p WHERE id = 2;
SELECT name AS n, upper(name) FROM people WHERE salary > 4500 ORDER BY n DESC;
SELECT name FROM people ORDER BY salary DESC NULLS LAST, name;
SELECT name FROM people ORDER BY salary NULLS FIRST, name;
SELECT DISTINCT salary FROM people ORDER BY 1;
SELECT DISTINCT ON (boss) boss, name FROM people ORDER BY boss NULLS FIRST, salary DESC NULLS LAST;
SELECT name FROM people ORDER BY id LIMIT 2 OFFSET 1;
SELECT name FROM people ORDER BY id OFFSET 3;
SELECT name, salary FROM people ORDER BY salary DESC NULLS LAST FETCH FIRST 2 ROWS WITH TIES;
SELECT name FROM people LIMIT 0;
SELECT count(*), count(salary), count(DISTINCT boss), sum(salary), avg(salary), min(born), max(name) FROM people;
SELECT round(avg(salary)), coalesce(sum(salary), 0) + 1, count(*) + 1 FROM people WHERE id > 10;
SELECT boss, count(*), array_agg(name ORDER BY name) FROM people GROUP BY boss ORDER BY boss;
SELECT boss, sum(salary) AS s FROM people GROUP BY boss HAVING sum(salary) > 4500 ORDER BY s;
SELECT extract(year FROM born)::int / 10 AS decade, count(*) FROM people GROUP BY decade ORDER BY decade;
SELECT boss, salary, count(*) FROM people GROUP BY GROUPING SETS ((boss), (salary), ()) ORDER BY 1, 2, 3;
SELECT boss, salary, grouping(boss, salary), count(*) FROM people GROUP BY ROLLUP (boss, salary) ORDER BY 1, 2, 3, 4;
SELECT boss, salary, count(*) FROM people GROUP BY CUBE (boss, salary) ORDER BY 1, 2, 3;
SELECT name, count(*) FILTER (WHERE place = 'Rome') FROM people JOIN visits ON person = id GROUP BY name ORDER BY name;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY salary), mode() WITHIN GROUP (ORDER BY salary) FROM people;
SELECT corr(id, salary), stddev(salary), bool_and(id > 0), bit_or(id), jsonb_object_agg(name, id ORDER BY id) FROM people;
SELECT name, rank() OVER w, lag(name) OVER w, sum(salary) OVER (PARTITION BY boss ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM people WINDOW w AS (ORDER BY salary DESC NULLS LAST, id) ORDER BY id;
SELECT p.name, b.name AS boss FROM people p LEFT JOIN people b ON p.boss = b.id ORDER BY p.id;
SELECT p.name, b.name FROM people p FULL JOIN people b ON p.boss = b.id ORDER BY 1, 2;
SELECT p.name, v.place FROM people p JOIN visits v ON v.person = p.id WHERE v.at < '2024-01-02' ORDER BY v.at;
SELECT a.name, b.name FROM people a CROSS JOIN people b WHERE a.id < b.id AND a.salary = b.salary;
SELECT * FROM people NATURAL JOIN (VALUES (1, 'x'), (3, 'y')) AS v (id, mark) ORDER BY id;
SELECT id, mark FROM people JOIN (VALUES (1, 'x')) AS v (id, mark) USING (id);
SELECT name, last FROM people, LATERAL (SELECT max(at) AS last FROM visits WHERE person = id) l ORDER BY id;
SELECT name FROM people p WHERE EXISTS (SELECT FROM visits WHERE person = p.id AND place = 'Kyiv') ORDER BY id;
SELECT name FROM people WHERE id NOT IN (SELECT boss FROM people WHERE boss IS NOT NULL) ORDER BY id;
SELECT name, (SELECT count(*) FROM visits WHERE person = id) AS visits FROM people ORDER BY id;
SELECT name FROM people WHERE salary > (SELECT avg(salary) FROM people) ORDER BY id;
SELECT name FROM people WHERE (boss, salary) = (1, 5000) ORDER BY id;
SELECT name FROM people WHERE salary >= ALL (SELECT salary FROM people WHERE salary IS NOT NULL);
WITH rich AS (SELECT * FROM people WHERE salary >= 5000), poor AS (SELECT * FROM people EXCEPT SELECT * FROM rich) SELECT 'rich', name FROM rich UNION ALL SELECT 'poor', name FROM poor ORDER BY 1, 2;
WITH RECURSIVE chain (id, name, depth) AS (SELECT id, name, 0 FROM people WHERE boss IS NULL UNION ALL SELECT p.id, p.name, depth + 1 FROM people p JOIN chain c ON p.boss = c.id) SELECT * FROM chain ORDER BY depth, id;
WITH RECURSIVE chain AS (SELECT id, boss FROM people WHERE id = 5 UNION SELECT p.id, p.boss FROM people p JOIN chain c ON p.id = c.boss) SEARCH DEPTH FIRST BY id SET o SELECT id FROM chain ORDER BY o;
WITH m AS MATERIALIZED (SELECT 1 AS x), n AS NOT MATERIALIZED (SELECT 2 AS x) SELECT * FROM m, n;
SELECT place FROM visits WHERE person = 1 INTERSECT SELECT place FROM visits WHERE person = 2 ORDER BY 1;
(SELECT name FROM people ORDER BY id LIMIT 1) UNION ALL (SELECT name FROM people ORDER BY id DESC LIMIT 1);
SELECT unnest(tags) FROM people ORDER BY 1;
SELECT name FROM people WHERE 'math' = ANY (tags) ORDER BY id;
SELECT name FROM people WHERE tags @> '{math}' AND tags && '{lead}';
TABLE people;
SELECT name FROM people WHERE id = 1 FOR UPDATE;
SELECT name FROM people WHERE id = 1 FOR SHARE NOWAIT;
SELECT name FROM people ORDER BY id LIMIT 2 FOR NO KEY UPDATE SKIP LOCKED;
SELECT * FROM people TABLESAMPLE BERNOULLI (100) ORDER BY id;
SELECT tableoid::regclass::text, ctid FROM people WHERE id = 1;
SELECT x.name FROM ONLY people x WHERE x.id = 1;
SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(5, 7)) AS r (a, b);
SELECT id FROM people WHERE name COLLATE "C" > 'B' ORDER BY name COLLATE "C";
SELECT count(*) FROM people p1, people p2, people p3;
SELECT name INTO copied FROM people WHERE id < 3;
SELECT * FROM copied ORDER BY 1;
SELECT * FROM people WHERE false;
SELECT max(id) FROM people WHERE false;
SELECT p FROM people p ORDER BY p LIMIT 1;
SELECT row_to_json(p) FROM people p WHERE id = 5;
SELECT (p).name FROM people p WHERE (p).id = 1;
-- bind 2::int4
SELECT name FROM people WHERE id = $1;
-- bind 2
SELECT name FROM people WHERE id = $1;
-- bind '{1 3}'::int4[]
-- only text
SELECT name FROM people WHERE id = $1;
-- bind 1 3::int4[]
-- only binary
SELECT name FROM people WHERE id = ANY ($1) ORDER BY id;
-- bind NULL::int4
SELECT name FROM people WHERE id = $1;
-- bind 2, 1
SELECT name FROM people ORDER BY id LIMIT $1 OFFSET $2;
-- bind 'x', 3::int4
SELECT $1 || $2;
-- bind x
SELECT $1::int;
-- bind 1
SELECT $1, $2;
