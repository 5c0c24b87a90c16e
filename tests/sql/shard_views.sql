-- Views of sharded tables in queries over several shards.
CREATE TABLE people (id bigint PRIMARY KEY, name text NOT NULL, region text, joined date);
CREATE TABLE sales (person_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2), placed timestamptz, tags text[], PRIMARY KEY (person_id, id));
CREATE TABLE goods (id int PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE remarks (id int PRIMARY KEY, body text, person bigint);
-- setup pgweave: SELECT pgweave.shard_table(':schema.people', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.sales', 'person_id', colocate_with => ':schema.people')
-- setup pgweave: SELECT pgweave.reference_table(':schema.goods')
INSERT INTO goods VALUES (1, 'bolt', 0.10), (2, 'nut', 0.20), (3, 'gear', 12.50);
INSERT INTO remarks VALUES (1, 'first', 1), (2, 'second', 5), (3, 'none', NULL);
INSERT INTO people VALUES (1, 'one', 'north', '2020-01-01');
INSERT INTO people VALUES (2, 'two', 'south', '2021-06-30');
INSERT INTO people VALUES (3, 'three', 'north', NULL);
INSERT INTO people VALUES (4, 'four', NULL, 'infinity');
INSERT INTO people VALUES (5, 'five', 'east', '1999-12-31');
INSERT INTO people VALUES (6, 'six', 'south', '2021-06-30');
INSERT INTO sales VALUES (1, 11, 110.50, '2024-01-01 10:00+00', '{a,b}'), (1, 12, NULL, NULL, NULL);
INSERT INTO sales VALUES (2, 21, 99.99, '2024-02-01 10:00+00', '{}');
INSERT INTO sales VALUES (3, 31, 1.00, '2024-03-01 10:00+00', '{"x y"}'), (3, 32, 2.00, '2024-03-02 10:00+00', NULL), (3, 33, 3.00, NULL, '{b}');
INSERT INTO sales VALUES (6, 61, 1000000.01, '2023-01-01 10:00+00', '{a}');
CREATE VIEW located AS SELECT id, name, region FROM people WHERE region IS NOT NULL;
CREATE VIEW large AS SELECT p.name, s.id, s.total, s.tags FROM people p JOIN sales s ON s.person_id = p.id WHERE s.total > 1;
CREATE VIEW by_region (place, heads, latest) AS SELECT region, count(*), max(joined) FROM people GROUP BY region;
CREATE VIEW per_person AS SELECT p.id, p.name, count(s.id) AS n, sum(s.total) AS sum FROM people p LEFT JOIN sales s ON s.person_id = p.id GROUP BY p.id;
CREATE VIEW best AS SELECT * FROM sales ORDER BY total DESC NULLS LAST, id LIMIT 3;
CREATE VIEW ranked AS SELECT name, region, row_number() OVER (PARTITION BY region ORDER BY id) AS place FROM people;
CREATE VIEW on_regions AS SELECT l.name, r.heads FROM located l JOIN by_region r ON r.place = l.region;
CREATE VIEW deeper AS SELECT heads, string_agg(name, ',' ORDER BY name) AS names FROM on_regions GROUP BY heads;
CREATE VIEW guarded WITH (security_barrier) AS SELECT id, total, 10 / (total - 1) AS part FROM best WHERE total <> 1;
CREATE VIEW steps AS WITH RECURSIVE up(n, name) AS (SELECT id, name FROM people WHERE id = 1 UNION ALL SELECT p.id, up.name || '>' || p.name FROM up JOIN people p ON p.id = up.n + 1) SELECT * FROM up;
CREATE VIEW everything AS SELECT id, name FROM people UNION ALL SELECT id, name FROM goods;
CREATE VIEW both AS SELECT id, name FROM people UNION SELECT person_id, tags[1] FROM sales;
CREATE VIEW "Odd Names" AS SELECT id AS "Id", name AS "the ""name""" FROM people ORDER BY id DESC;
CREATE VIEW cheap AS SELECT name, price FROM goods WHERE price < 1;
CREATE VIEW said AS SELECT body, person FROM remarks;
-- Views that can be split.
SELECT * FROM located WHERE id = 3;
SELECT * FROM located ORDER BY id;
SELECT count(*), max(total) FROM large;
SELECT name, sum(total) FROM large GROUP BY name ORDER BY 1;
-- Views that are gathered.
SELECT * FROM by_region ORDER BY place;
SELECT place FROM by_region WHERE heads > 1 ORDER BY 1;
SELECT * FROM per_person ORDER BY id;
SELECT * FROM best;
SELECT id FROM best ORDER BY id;
SELECT count(*) FROM best b JOIN people p ON p.id = b.person_id;
SELECT * FROM ranked ORDER BY region, place;
SELECT * FROM on_regions ORDER BY 1;
SELECT * FROM deeper ORDER BY 1;
SELECT * FROM guarded ORDER BY id;
SELECT * FROM steps ORDER BY n;
SELECT name FROM steps WHERE n = 4;
SELECT * FROM everything ORDER BY 1, 2;
SELECT count(*) FROM both;
SELECT "Id", "the ""name""" FROM "Odd Names" WHERE "Id" > 2 ORDER BY 1;
SELECT * FROM "Odd Names" o ("a") JOIN by_region ON true WHERE place IS NULL ORDER BY a;
TABLE by_region ORDER BY 1;
-- With tables and with each other.
SELECT p.name, r.heads FROM people p JOIN by_region r ON r.place = p.region ORDER BY 1;
SELECT l.name, p.name FROM located l JOIN people p ON p.region = l.region AND p.id > l.id ORDER BY 1, 2;
SELECT a.name, b.name FROM large a JOIN large b ON a.total > b.total ORDER BY 1, 2;
SELECT a.place, b.heads FROM by_region a JOIN by_region b ON b.heads < a.heads ORDER BY 1, 2;
SELECT l.name, s.body FROM said s LEFT JOIN located l ON l.id = s.person ORDER BY 2;
SELECT c.name, count(*) FROM cheap c JOIN best b ON b.total > c.price GROUP BY 1 ORDER BY 1;
SELECT name FROM people WHERE id IN (SELECT person_id FROM best) ORDER BY 1;
SELECT name, (SELECT heads FROM by_region r WHERE r.place = p.region) FROM people p ORDER BY id;
SELECT place FROM by_region UNION SELECT name FROM goods ORDER BY 1;
WITH b AS (SELECT * FROM best) SELECT b.id, r.place FROM b, by_region r ORDER BY 1, 2;
SELECT x.place, y.name FROM by_region x, LATERAL (SELECT name FROM located l WHERE l.region = x.place ORDER BY id LIMIT 1) y ORDER BY 1;
SELECT row_to_json(b) FROM best b ORDER BY id;
SELECT by_region FROM by_region ORDER BY place;
SELECT by_region.*, heads + 1 FROM by_region ORDER BY place;
SELECT :schema.by_region.heads FROM :schema.by_region ORDER BY 1;
SELECT r.heads FROM :schema . by_region AS r ORDER BY 1;
SELECT b.sum FROM per_person AS b (a, c) WHERE c = 'three';
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM large;
SELECT region, name, rank() OVER (ORDER BY name) FROM located ORDER BY name;
SELECT l.id, b.id FROM located l FULL JOIN best b ON b.person_id = l.id ORDER BY 1, 2;
SELECT n.heads, l.name FROM by_region n NATURAL JOIN located l ORDER BY 1, 2;
-- bind 'north'
SELECT heads FROM by_region WHERE place = $1;
-- bind 2, 1
SELECT id FROM best WHERE total > $1::int ORDER BY id LIMIT $2;
-- limit 1
SELECT * FROM by_region ORDER BY place;
SELECT nothing FROM by_region;
SELECT 1 / (heads - 1) FROM by_region ORDER BY place;
-- What a block has done is seen.
BEGIN;
INSERT INTO people VALUES (7, 'seven', 'east', NULL);
SELECT * FROM by_region ORDER BY place;
SELECT a.name, b.heads FROM located a JOIN by_region b ON b.heads = a.id ORDER BY 1;
INSERT INTO goods VALUES (4, 'pin', 0.01);
INSERT INTO remarks VALUES (4, 'fourth', 7);
SELECT c.name, count(*) FROM cheap c JOIN best b ON b.total > c.price GROUP BY 1 ORDER BY 1;
SELECT l.name, s.body FROM said s LEFT JOIN located l ON l.id = s.person ORDER BY 2;
SELECT l.name, s.body, r.heads FROM said s JOIN located l ON l.id = s.person JOIN by_region r ON r.place = l.region ORDER BY 2;
DECLARE c CURSOR FOR SELECT place, heads FROM by_region ORDER BY 1;
FETCH 2 FROM c;
FETCH ALL FROM c;
ROLLBACK;
SELECT * FROM by_region ORDER BY place;
-- Functions of the same names as the system's do not reach into views.
CREATE FUNCTION upper(varchar) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'mine' $$;
CREATE VIEW loud AS SELECT pg_catalog.upper(name) AS name, count(*) FROM people GROUP BY 1;
SELECT * FROM loud ORDER BY 1;
-- Columns by the names of their schemas.
SELECT :schema.people.name FROM :schema.people JOIN sales ON sales.id > people.id ORDER BY 1;
SELECT :schema.people.*, :schema . sales . id FROM people JOIN sales ON sales.id = :schema.people.id + 30 ORDER BY 1;
SELECT count(:schema.people.id) FROM people WHERE EXISTS (SELECT FROM sales WHERE sales.id / 10 = :schema.people.id);
SELECT p.name FROM people p WHERE :schema.people.id = 1;
SELECT people.name FROM people JOIN sales ON sales.id > people.id WHERE :schema.people.id > 2 AND people.id < 5 ORDER BY 1;
SELECT :schema.people.region, avg(:schema.people.id) + 1 FROM people GROUP BY :schema.people.region HAVING min(:schema.people.id) > 0 ORDER BY 1;
SELECT b.heads FROM by_region b JOIN located ON :schema.located.region = b.place WHERE :schema.located.id > 1 ORDER BY 1;
-- The table that a row is of.
-- only simple
SELECT tableoid::regclass, id FROM people ORDER BY id;
SELECT s.tableoid::regclass::text AS of, count(*) FROM sales s GROUP BY 1;
-- only simple
SELECT p.tableoid::regclass, s.tableoid::regclass, p.name, s.id FROM people p LEFT JOIN sales s ON s.person_id = p.id ORDER BY p.id, s.id;
SELECT p.tableoid::regclass::text, s.tableoid::regclass::text, p.name, s.id FROM people p LEFT JOIN sales s ON s.id = p.id + 10 ORDER BY p.id, s.id;
SELECT tableoid = 'people'::regclass AS same, count(*) FROM people GROUP BY 1;
SELECT tableoid = 'sales'::regclass FROM people ORDER BY id LIMIT 1;
-- only simple
SELECT CAST(people.tableoid AS regclass) FROM people WHERE id IN (SELECT person_id FROM sales WHERE total > 1) ORDER BY id;
SELECT count(DISTINCT tableoid), min(id) FROM people;
-- Numbers are of one server.
SELECT count(DISTINCT number) FROM (SELECT tableoid::regclass AS number FROM people LIMIT 100) AS numbers;
SELECT id, (SELECT people.tableoid::regclass::text FROM goods LIMIT 1) FROM people ORDER BY id LIMIT 2;
-- only simple
SELECT tableoid::regclass FROM people UNION SELECT tableoid::regclass FROM sales ORDER BY 1;
SELECT f.tableoid::regclass::text FROM goods f JOIN best b ON b.id > f.id ORDER BY 1 LIMIT 2;
-- expect-refusal 0A000
SELECT ctid FROM people;
-- The order of a view is seen.
CREATE VIEW sorted AS SELECT id, name FROM people ORDER BY name COLLATE "C";
SELECT * FROM sorted;
SELECT name FROM sorted WHERE id > 2;
SELECT * FROM (SELECT id FROM people ORDER BY id DESC) AS subquery;
WITH cte AS (SELECT id FROM people ORDER BY id DESC) SELECT id + 1 FROM cte;
SELECT count(*) FROM sorted;
SELECT id FROM sorted ORDER BY id;
-- One time for all.
CREATE VIEW recent AS SELECT id, joined < now() AS past, now() AS at FROM people WHERE joined IS NULL OR joined < now();
SELECT count(DISTINCT at), count(*) FROM recent;
SELECT id, past FROM recent WHERE at = now() ORDER BY id;
SELECT past FROM recent WHERE id = 2;
