-- Queries over several shards.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, region text, joined date);
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2), placed timestamptz, tags text[], PRIMARY KEY (customer_id, id));
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE notes (id int PRIMARY KEY, body text, customer bigint);
-- setup pgweave: SELECT pgweave.shard_table(':schema.customers', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
SELECT * FROM customers;
SELECT count(*) FROM orders;
INSERT INTO products VALUES (1, 'bolt', 0.10), (2, 'nut', 0.20), (3, 'gear', 12.50);
INSERT INTO notes VALUES (1, 'first', 1), (2, 'second', 5), (3, 'none', NULL);
INSERT INTO customers VALUES (1, 'one', 'north', '2020-01-01');
INSERT INTO customers VALUES (2, 'two', 'south', '2021-06-30');
INSERT INTO customers VALUES (3, 'three', 'north', NULL);
INSERT INTO customers VALUES (4, 'four', NULL, 'infinity');
INSERT INTO customers VALUES (5, 'five', 'east', '1999-12-31');
INSERT INTO customers VALUES (6, 'six', 'south', '2021-06-30');
INSERT INTO orders VALUES (1, 11, 110.50, '2024-01-01 10:00+00', '{a,b}'), (1, 12, NULL, NULL, NULL);
INSERT INTO orders VALUES (2, 21, 99.99, '2024-02-01 10:00+00', '{}');
INSERT INTO orders VALUES (3, 31, 1.00, '2024-03-01 10:00+00', '{"x y"}'), (3, 32, 2.00, '2024-03-02 10:00+00', NULL), (3, 33, 3.00, NULL, '{b}');
INSERT INTO orders VALUES (6, 61, 1000000.01, '2023-01-01 10:00+00', '{a}');
SELECT * FROM customers ORDER BY id;
SELECT c.* FROM customers c ORDER BY name DESC LIMIT 2 OFFSET 1;
-- unordered
SELECT id, region FROM customers WHERE region = 'north';
-- unordered
TABLE customers;
SELECT count(*), count(region), min(name), max(joined) FROM customers;
SELECT count(*) + 1, coalesce(sum(total), 0), round(avg(total), 3) FROM orders;
SELECT sum(total) FROM orders WHERE total > 10;
SELECT region, count(*) FROM customers GROUP BY region ORDER BY region NULLS FIRST;
SELECT region AS r, count(*) FILTER (WHERE id > 2) FROM customers GROUP BY r HAVING count(*) > 1 ORDER BY 1;
SELECT DISTINCT region FROM customers ORDER BY region;
SELECT DISTINCT ON (region) region, name FROM customers ORDER BY region, id DESC;
SELECT c.name, sum(o.total) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id, c.name ORDER BY c.id;
SELECT c.id, c.name, count(o.id) FROM customers c LEFT JOIN orders o ON o.customer_id = c.id GROUP BY c.id ORDER BY c.id;
SELECT c.name, o.total FROM customers c JOIN orders o ON o.total > c.id ORDER BY 1, 2 LIMIT 5;
SELECT name FROM customers c WHERE EXISTS (SELECT 1 FROM orders o WHERE o.customer_id = c.id AND o.total IS NULL) ORDER BY 1;
SELECT name FROM customers WHERE id NOT IN (SELECT customer_id FROM orders) ORDER BY 1;
SELECT name, (SELECT count(*) FROM orders WHERE customer_id = customers.id) AS n FROM customers ORDER BY n DESC, name;
SELECT name FROM customers UNION SELECT name FROM products ORDER BY 1;
SELECT region FROM customers INTERSECT ALL SELECT region FROM customers WHERE id > 2 ORDER BY 1;
SELECT id FROM customers EXCEPT SELECT customer_id FROM orders ORDER BY 1;
WITH big AS (SELECT customer_id, total FROM orders WHERE total > 50) SELECT c.name, b.total FROM big b JOIN customers c ON c.id = b.customer_id ORDER BY b.total;
WITH RECURSIVE chain(n) AS (SELECT min(id) FROM customers UNION ALL SELECT n + 1 FROM chain WHERE n < (SELECT max(id) FROM customers)) SELECT n, (SELECT name FROM customers WHERE id = n) FROM chain;
SELECT name, rank() OVER (PARTITION BY region ORDER BY joined DESC NULLS LAST, id) FROM customers ORDER BY region, 2, name;
SELECT id, sum(total) OVER (ORDER BY id ROWS 1 PRECEDING) FROM orders ORDER BY id;
SELECT region, extract(year FROM joined) AS y, count(*) FROM customers WHERE isfinite(joined) GROUP BY ROLLUP (region, y) ORDER BY region NULLS LAST, y NULLS LAST;
SELECT string_agg(name, ',' ORDER BY id DESC), array_agg(region ORDER BY id), json_agg(id ORDER BY id) FROM customers;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders;
SELECT p.name, c.name FROM products p CROSS JOIN customers c ORDER BY p.id, c.id LIMIT 4;
SELECT n.body, c.name FROM notes n LEFT JOIN customers c ON c.id = n.customer ORDER BY n.id;
SELECT c.name, n.body FROM customers c FULL JOIN notes n ON n.customer = c.id ORDER BY c.id, n.id;
SELECT c.name, l.id FROM customers c, LATERAL (SELECT id FROM orders o WHERE o.customer_id <= c.id ORDER BY id DESC LIMIT 1) l ORDER BY 1;
SELECT a.name, b.name FROM customers a JOIN customers b ON a.region = b.region AND a.id < b.id ORDER BY 1;
SELECT placed, tags FROM orders ORDER BY placed NULLS FIRST, id;
SELECT unnest(tags) AS tag, count(*) FROM orders GROUP BY tag ORDER BY tag;
SELECT row_to_json(c) FROM customers c ORDER BY id LIMIT 1;
SELECT id % 2 = 0 AS even, count(*) FROM customers GROUP BY 1 ORDER BY 1;
SELECT * FROM customers WHERE id % 10 = 3;
SELECT * FROM customers WHERE id = 1 OR true ORDER BY id;
SELECT id = 5 FROM customers ORDER BY id;
SELECT CASE WHEN id = 5 THEN 'five' END FROM customers ORDER BY id;
SELECT count(*) FROM ONLY customers;
SELECT "customers"."name" FROM :schema."customers" ORDER BY 1;
SELECT x.name FROM :schema . customers AS x ORDER BY 1;
SELECT name FROM customers ORDER BY name FETCH FIRST 2 ROWS ONLY;
SELECT region FROM customers ORDER BY region FETCH FIRST 2 ROWS WITH TIES;
SELECT id FROM customers WHERE id IN (SELECT id FROM products) ORDER BY 1;
SELECT (SELECT max(total) FROM orders) AS top, current_setting('server_encoding');
VALUES ((SELECT count(*) FROM customers), (SELECT count(*) FROM orders));
-- bind 'north'
SELECT name FROM customers WHERE region = $1 ORDER BY 1;
-- bind 2::int8, '1'
SELECT name FROM customers WHERE id > $1 ORDER BY id LIMIT $2;
-- bind '{1,6}'
SELECT name FROM customers WHERE id = ANY ($1) ORDER BY 1;
-- bind 100
SELECT count(*) FROM orders WHERE total < $1::numeric;
SELECT name FROM customers WHERE id IN (1, 3, 5) ORDER BY 1;
SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id IN (1, 2, 3) ORDER BY 1, 2;
SELECT name FROM customers WHERE id = 1 UNION ALL SELECT name FROM customers WHERE id = 2 ORDER BY 1;
-- bind 1, 6
SELECT name FROM customers WHERE id IN ($1, $2) ORDER BY 1;
SELECT name FROM customers WHERE id IN (1, 3) ORDER BY 1; SELECT 2; SELECT count(*) FROM customers;
-- limit 10
SELECT name FROM customers ORDER BY 1;
-- Errors come as they do from one server.
SELECT nothing FROM customers;
SELECT count(*) FROM customers GROUP BY;
SELECT name FROM customers GROUP BY region;
SELECT 1 / (id - 3) FROM customers ORDER BY id;
SELECT name + 1 FROM customers;
-- Within a block it sees what the block has done.
BEGIN;
INSERT INTO customers VALUES (7, 'seven', 'west', NULL);
UPDATE products SET price = 1 WHERE id = 1;
SELECT count(*), max(id) FROM customers;
SELECT p.price, count(*) FROM products p, customers c GROUP BY p.id ORDER BY p.id;
SAVEPOINT s;
DELETE FROM customers WHERE id = 1;
SELECT count(*) FROM customers;
ROLLBACK TO s;
SELECT count(*) FROM customers;
SELECT sum(1 / (id - 3)) FROM customers;
SELECT count(*) FROM customers;
ROLLBACK;
SELECT count(*), max(id) FROM customers;
-- Another connection finishes it, which must neither miss what a function reads nor wait for the block's own locks.
CREATE FUNCTION cheapest() RETURNS numeric LANGUAGE sql STABLE AS 'SELECT min(price) FROM products';
SELECT cheapest(), count(*) FROM customers;
BEGIN;
UPDATE products SET price = 0.01 WHERE id = 1;
-- expect-refusal 0A000
SELECT cheapest(), count(*) FROM customers;
ROLLBACK;
BEGIN;
TRUNCATE orders;
SELECT count(*) FROM customers;
SELECT count(*) FROM orders;
-- expect-refusal 0A000
SELECT count(DISTINCT id) FROM orders;
ROLLBACK;
BEGIN;
ALTER TABLE customers ADD COLUMN extra int DEFAULT 7;
SELECT sum(extra) FROM customers;
-- expect-refusal 0A000
SELECT sum(extra) + 1 FROM customers;
ROLLBACK;
BEGIN;
ALTER TABLE customers ADD COLUMN extra int DEFAULT 7;
-- expect-refusal 0A000
SELECT count(DISTINCT extra) FROM customers;
ROLLBACK;
BEGIN;
LOCK TABLE customers;
SELECT count(*) FROM customers;
-- expect-refusal 0A000
SELECT count(DISTINCT region) FROM customers;
ROLLBACK;
CREATE TABLE pgweave_1 (id int);
INSERT INTO pgweave_1 VALUES (1), (2);
SELECT (SELECT count(*) FROM pgweave_1), count(*) FROM customers;
BEGIN READ ONLY;
SELECT count(*) FROM customers;
SET LOCAL timezone = 'Asia/Tokyo';
SELECT placed FROM orders ORDER BY placed LIMIT 1;
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM customers;
COMMIT;
-- Types of users' own go as text, whatever the session's settings.
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE span AS (starts timestamptz, lasts interval, weight float8);
CREATE DOMAIN code AS text CHECK (length(value) = 2);
CREATE TABLE moods (id int PRIMARY KEY, m mood, s span, c code, ms mood[], b bytea);
-- setup pgweave: SELECT pgweave.shard_table(':schema.moods', 'id')
INSERT INTO moods VALUES (1, 'happy', '("2024-05-06 07:08:09.123456+00","1 mon -2 days 03:04:05.6",0.1)', 'ab', '{sad,ok}', '\xdeadbeef');
INSERT INTO moods VALUES (2, 'sad', NULL, NULL, NULL, NULL);
INSERT INTO moods VALUES (3, NULL, '(,,1e-300)', 'cd', '{}', '\x');
INSERT INTO moods VALUES (4, 'ok', '("2024-12-31 23:59:59.999999+00","-1 years",0.30000000000000004)', 'ef', '{NULL,happy}', '\x00ff');
-- only simple
SELECT * FROM moods ORDER BY id;
SELECT id, m, s, c, b FROM moods ORDER BY id;
SELECT m, count(*) FROM moods GROUP BY m ORDER BY m DESC;
SELECT (s).starts, (s).lasts, (s).weight FROM moods ORDER BY id;
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'sql_standard';
SET extra_float_digits = -10;
SET bytea_output = 'escape';
SELECT id, (s).starts, (s).lasts, (s).weight, b FROM moods ORDER BY id;
SELECT count(*) FROM moods WHERE (s).weight = 0.30000000000000004::float8;
BEGIN;
SELECT count(*) FROM moods WHERE (s).weight = 0.30000000000000004::float8;
SELECT id, (s).starts, (s).lasts, (s).weight, b FROM moods WHERE id = 4;
COMMIT;
SELECT region, joined, count(*), sum(id), grouping(region, joined) FROM customers GROUP BY ROLLUP (region, joined) ORDER BY 5, 1, 2;
SELECT region, id % 2, count(*), avg(id), count(DISTINCT joined) FROM customers GROUP BY CUBE (region, 2) ORDER BY 1, 2;
SELECT region, count(*) FROM customers GROUP BY GROUPING SETS ((region), (), ()) ORDER BY 1, 2;
SELECT region, count(*) FROM customers GROUP BY DISTINCT GROUPING SETS ((region), (), ()) ORDER BY 1, 2;
SELECT region, joined, max(name COLLATE "C") FROM customers GROUP BY GROUPING SETS ((region, joined), ROLLUP (joined)) ORDER BY 1, 2, 3;
SELECT region, id % 3 AS rest, count(*) FROM customers GROUP BY region, ROLLUP (id % 3) HAVING count(*) > 1 OR grouping(id % 3) = 1 ORDER BY 1, 2;
SELECT count(*), sum(id), min(name) FROM customers WHERE id > 1000 GROUP BY GROUPING SETS (());
SELECT region, count(*), sum(id) FROM customers WHERE id > 1000 GROUP BY ROLLUP (region);
SELECT region FROM customers GROUP BY ROLLUP (region) ORDER BY 1;
SELECT (region), count(*) FROM customers GROUP BY ROLLUP ((region, joined), name) ORDER BY 1, 2;
SELECT coalesce(region, 'all') AS r, count(*) FROM customers GROUP BY ROLLUP (region) ORDER BY count(*) DESC, r;
SELECT region, sum(count(*)) OVER (), count(*) FROM customers GROUP BY ROLLUP (region) ORDER BY 1, 3;
