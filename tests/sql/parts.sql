-- Queries within queries that shards answer on their own, so that only their answers are brought.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, region text COLLATE "C", joined date, code varchar(10));
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, product_id int, total numeric(10,2), placed timestamptz, PRIMARY KEY (customer_id, id));
CREATE TABLE visits (id bigint PRIMARY KEY, customer_id bigint, page text, seconds int);
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE notes (id int PRIMARY KEY, body text, customer bigint);
-- setup pgweave: SELECT pgweave.shard_table(':schema.customers', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.visits', 'id')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
INSERT INTO products VALUES (1, 'bolt', 0.10), (2, 'nut', 0.20), (3, 'gear', 12.50);
INSERT INTO notes VALUES (1, 'first', 1), (2, 'second', 5), (3, 'none', NULL);
INSERT INTO customers VALUES (1, 'one', 'north', '2020-01-01', 'a'), (2, 'two', 'south', '2021-06-30', 'b'), (3, 'three', 'north', NULL, NULL), (4, 'four', NULL, 'infinity', 'd'), (5, 'five', 'east', '1999-12-31', 'e'), (6, 'six', 'south', '2021-06-30', 'b');
INSERT INTO orders SELECT c, c * 10 + n, n % 3 + 1, c * n + 0.25, '2024-01-01 00:00+00'::timestamptz + c * n * interval '1 day' FROM generate_series(1, 6) c, generate_series(1, 4) n WHERE c <> 4 AND (c + n) % 3 <> 0;
INSERT INTO orders VALUES (2, 99, NULL, NULL, NULL);
INSERT INTO visits SELECT n, n % 7, CASE n % 3 WHEN 0 THEN 'home' WHEN 1 THEN 'cart' END, n * 3 % 11 FROM generate_series(1, 30) n;
-- Subqueries in FROM.
SELECT v.page, sum(o.n) FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) o JOIN visits v ON v.customer_id = o.customer_id GROUP BY v.page ORDER BY v.page;
SELECT v.id, o.total FROM (SELECT customer_id, sum(total) AS total FROM orders GROUP BY customer_id) o JOIN visits v ON v.customer_id = o.customer_id WHERE o.total > 10 AND v.seconds > 5 ORDER BY v.id;
SELECT v.id, o.* FROM (SELECT customer_id, sum(total), count(*) FROM orders GROUP BY 1) o JOIN visits v ON v.customer_id = o.customer_id WHERE o.customer_id = 3 ORDER BY v.id;
SELECT max(s.n), min(s.n) FROM (SELECT product_id, count(*) AS n FROM orders GROUP BY product_id) s;
SELECT * FROM (SELECT product_id, sum(total) AS t, avg(total) AS a FROM orders GROUP BY product_id) s ORDER BY s.t NULLS LAST;
SELECT s.product_id, p.name, s.n FROM (SELECT product_id, count(*) AS n FROM orders GROUP BY product_id HAVING count(*) > 2) s LEFT JOIN products p ON p.id = s.product_id ORDER BY 1;
SELECT s.product_id, v.n FROM (SELECT product_id, count(*) AS n FROM orders GROUP BY product_id) s FULL JOIN (SELECT seconds, count(*) AS n FROM visits GROUP BY seconds) v ON v.seconds = s.product_id ORDER BY 1, 2;
SELECT c.name, o.total, v.page FROM (SELECT c.id, c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.total > 3) AS c(id, name, total), LATERAL (SELECT c.total) AS o, visits v WHERE v.customer_id = c.id AND v.seconds < 3 ORDER BY 1, 2, 3;
SELECT j.*, v.id AS visit FROM (SELECT c.*, o.total FROM customers c LEFT JOIN orders o ON o.customer_id = c.id) j JOIN visits v ON v.customer_id = j.id WHERE v.page = 'cart' ORDER BY j.id, j.total, visit;
SELECT d.page, count(*) FROM (SELECT DISTINCT page, seconds FROM visits) d GROUP BY d.page ORDER BY 1;
SELECT d.product_id, p.price FROM (SELECT DISTINCT product_id FROM orders) d JOIN products p ON p.id = d.product_id ORDER BY 1;
SELECT row_to_json(s) FROM (SELECT product_id, count(*) FROM orders GROUP BY product_id) s ORDER BY s.product_id;
SELECT s FROM (SELECT product_id, count(*) FROM orders GROUP BY product_id) s ORDER BY s.product_id;
SELECT count(s) FROM (SELECT product_id, count(*) FROM orders GROUP BY product_id) s;
SELECT count(*) FROM (SELECT customer_id, count(*) FROM orders GROUP BY customer_id) s;
SELECT x, y FROM (SELECT product_id, count(*) FROM orders GROUP BY product_id) s(x, y) ORDER BY x;
SELECT s.* FROM (SELECT product_id + 1, product_id * 2, count(*) AS product_id FROM orders GROUP BY product_id) s ORDER BY 1;
SELECT s.day, s.n, v.n FROM (SELECT date_trunc('month', placed AT TIME ZONE 'UTC') AS day, count(*) AS n FROM orders GROUP BY day) s, (SELECT count(*) AS n FROM visits) v ORDER BY 1;
SELECT 'o' AS what, s.c, 1 FROM (SELECT 'k' AS c, count(*) AS n FROM orders) s;
SELECT s.c || 'x', s.n FROM (SELECT 'k' AS c, NULL AS z, count(*) AS n FROM orders) s;
-- Of one shard, and of others.
SELECT s.n, v.id FROM (SELECT customer_id, count(*) AS n FROM orders WHERE customer_id = 2 GROUP BY customer_id) s JOIN visits v ON v.customer_id = s.customer_id ORDER BY 2;
SELECT n.body, s.n FROM notes n LEFT JOIN (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) s ON s.customer_id = n.customer ORDER BY n.id;
SELECT s.n, p.name FROM (SELECT o.product_id, count(*) AS n FROM orders o JOIN products p ON p.id = o.product_id WHERE p.price < 1 GROUP BY o.product_id) s JOIN products p ON p.id = s.product_id ORDER BY 2;
-- Queries of WITH.
WITH t AS (SELECT customer_id, sum(total) AS total FROM orders GROUP BY customer_id) SELECT a.customer_id, b.customer_id FROM t a JOIN t b ON a.total < b.total ORDER BY 1, 2;
WITH t AS (SELECT customer_id, sum(total) AS total FROM orders GROUP BY customer_id), u AS (SELECT avg(total) AS mean FROM t) SELECT t.customer_id FROM t, u WHERE t.total > u.mean ORDER BY 1;
WITH t(c, s) AS MATERIALIZED (SELECT customer_id, sum(total) FROM orders GROUP BY customer_id) SELECT v.id, t.s FROM visits v JOIN t ON t.c = v.customer_id WHERE v.seconds = 9 ORDER BY 1;
WITH unread AS (SELECT sum(1 / (total - total)) FROM orders) SELECT count(*) FROM visits v JOIN orders o ON o.customer_id = v.customer_id;
WITH orders AS (SELECT id AS customer_id, 1 AS total FROM visits) SELECT c.name, s.n FROM customers c JOIN (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) s ON s.customer_id = c.id ORDER BY 1;
WITH RECURSIVE r(n) AS (SELECT min(customer_id) FROM orders UNION ALL SELECT n + 1 FROM r WHERE n < (SELECT count(*) FROM customers)) SELECT n FROM r ORDER BY n;
WITH a AS (WITH b AS (SELECT customer_id, total FROM orders WHERE total > 2) SELECT customer_id, count(*) AS n FROM b GROUP BY customer_id) SELECT a.n, v.id FROM a JOIN visits v ON v.customer_id = a.customer_id WHERE v.id < 12 ORDER BY 2;
-- In conditions and values.
SELECT id, page FROM visits WHERE customer_id IN (SELECT customer_id FROM orders GROUP BY customer_id HAVING count(*) > 2) AND seconds > 4 ORDER BY id;
SELECT id FROM visits WHERE customer_id NOT IN (SELECT customer_id FROM orders GROUP BY customer_id) ORDER BY id;
SELECT id FROM visits WHERE customer_id NOT IN (SELECT max(product_id) FROM orders GROUP BY customer_id) ORDER BY id;
SELECT id FROM visits WHERE seconds > (SELECT avg(seconds) FROM visits) ORDER BY id;
SELECT id, seconds - (SELECT min(total) FROM orders) AS d FROM visits WHERE id < 4 ORDER BY id;
SELECT (SELECT count(*) FROM orders), (SELECT max(name) FROM customers), (SELECT sum(seconds) FROM visits) AS s;
SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM visits) AS both;
SELECT id FROM visits WHERE (customer_id, seconds) IN (SELECT customer_id, count(*) FROM orders GROUP BY customer_id) ORDER BY id;
SELECT id FROM visits WHERE EXISTS (SELECT 1 FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.region = 'north') AND id < 5 ORDER BY id;
SELECT id FROM visits WHERE EXISTS (SELECT count(*) FROM orders o WHERE o.total > 1e9) AND id < 5 ORDER BY id;
SELECT id FROM visits WHERE EXISTS (SELECT 1 / (o.total - o.total) FROM orders o JOIN customers c ON c.id = o.customer_id) AND id < 5 ORDER BY id;
WITH unread AS (SELECT (SELECT sum(1 / (total - total)) FROM orders) AS z FROM visits), m AS (SELECT avg(seconds) AS mean FROM visits) SELECT v.id FROM visits v, m WHERE v.seconds > m.mean AND v.id < 9 ORDER BY 1;
SELECT id FROM visits WHERE seconds >= ALL (SELECT count(*) FROM orders GROUP BY customer_id) AND id < 9 ORDER BY id;
SELECT id FROM visits WHERE seconds = ANY (SELECT DISTINCT product_id FROM orders) AND id < 20 ORDER BY id;
SELECT array_length(ARRAY(SELECT customer_id FROM orders GROUP BY customer_id), 1), count(*) FROM visits v JOIN orders o ON o.id = v.id;
SELECT v.id, (SELECT count(*) FROM orders o WHERE o.customer_id = v.customer_id) FROM visits v WHERE v.id < 8 ORDER BY 1;
SELECT v.id, (SELECT count(*) FROM orders WHERE customer_id = seconds) FROM visits v WHERE v.id < 8 ORDER BY 1;
SELECT v.id FROM visits v WHERE v.seconds > (SELECT count(page) FROM orders) AND v.id < 8 ORDER BY 1;
SELECT v.id, CASE WHEN v.id > 0 THEN 0 ELSE (SELECT sum(1 / (total - total)) FROM orders) END AS z FROM visits v WHERE v.id < 4 ORDER BY 1;
SELECT v.id, coalesce(v.seconds, (SELECT sum(1 / (total - total)) FROM orders)) AS z FROM visits v WHERE v.id < 4 ORDER BY 1;
SELECT v.id FROM visits v WHERE v.id = (SELECT id FROM orders GROUP BY id HAVING id > 10);
-- An error of a shard comes before RowDescription in the simple protocol.
-- only extended
SELECT v.id, s.z FROM visits v JOIN (SELECT customer_id, sum(1 / (total - total)) AS z FROM orders GROUP BY customer_id) s ON s.customer_id = v.customer_id ORDER BY 1;
SELECT v.id FROM visits v JOIN (SELECT customer_id, sum(1 / (total - total)) AS z FROM orders GROUP BY customer_id) s ON s.customer_id = v.customer_id ORDER BY 1;
-- Branches of set operations.
SELECT 'orders' AS what, count(*) FROM orders UNION ALL SELECT 'visits', count(*) FROM visits ORDER BY 1;
SELECT NULL AS what, count(*) FROM orders UNION ALL SELECT joined, id FROM customers ORDER BY 1 NULLS FIRST, 2;
SELECT '2020-01-01', count(*) FROM orders UNION SELECT joined, id FROM customers ORDER BY 1, 2;
SELECT customer_id, sum(total) FROM orders GROUP BY customer_id UNION SELECT seconds, count(*) FROM visits GROUP BY seconds ORDER BY 1, 2;
SELECT customer_id FROM orders GROUP BY customer_id INTERSECT SELECT seconds FROM visits GROUP BY seconds ORDER BY 1;
SELECT DISTINCT seconds FROM visits EXCEPT ALL SELECT DISTINCT product_id FROM orders ORDER BY 1;
(SELECT count(*) FROM orders) UNION ALL ((SELECT count(*) FROM visits) UNION (SELECT max(id) FROM customers)) ORDER BY 1;
SELECT region, count(*) FROM customers GROUP BY region UNION ALL SELECT page, count(*) FROM visits GROUP BY page ORDER BY 1 NULLS FIRST, 2;
SELECT code, count(*) FROM customers GROUP BY code UNION SELECT name, count(*) FROM customers GROUP BY name ORDER BY 1, 2;
SELECT min(name) COLLATE "C" AS m FROM customers UNION SELECT max(page) FROM visits ORDER BY 1;
-- The same query twice.
SELECT DISTINCT ON ((SELECT max(name) FROM customers)) (SELECT max(name) FROM customers), id FROM visits ORDER BY (SELECT max(name) FROM customers), id;
SELECT (SELECT count(*) FROM orders) AS n, count(*) FROM visits GROUP BY (SELECT count(*) FROM orders), page ORDER BY 1, 2;
SELECT (SELECT count(*) FROM orders) - (SELECT count(*) FROM orders) AS zero, count(*) FROM visits;
SELECT count(*), count(s.page) FROM (SELECT DISTINCT page, seconds FROM visits) s JOIN notes n ON true;
-- The first rows.
SELECT s.id, s.total, v.page FROM (SELECT customer_id, id, total FROM orders ORDER BY total DESC NULLS LAST, id LIMIT 3) s JOIN visits v ON v.customer_id = s.customer_id ORDER BY 1, 2, 3;
SELECT s.id, s.t FROM (SELECT id, total AS t FROM orders ORDER BY t DESC NULLS LAST, id LIMIT 4 OFFSET 2) s JOIN notes n ON true WHERE s.id > 20 ORDER BY 1, 2;
SELECT v.id FROM visits v WHERE v.seconds > (SELECT total FROM orders WHERE total IS NOT NULL ORDER BY total, id LIMIT 1) AND v.id < 9 ORDER BY 1;
SELECT v.id FROM visits v WHERE v.customer_id IN (SELECT customer_id FROM orders ORDER BY total DESC NULLS LAST, 1 LIMIT 2) ORDER BY 1;
SELECT s.name, v.id FROM (SELECT id, name FROM customers ORDER BY name COLLATE "C" DESC LIMIT 2) s JOIN visits v ON v.customer_id = s.id ORDER BY 1, 2;
SELECT s.product_id, s.n, p.name FROM (SELECT product_id, count(*) AS n FROM orders GROUP BY product_id ORDER BY n DESC, product_id LIMIT 2) s LEFT JOIN products p ON p.id = s.product_id ORDER BY 1;
SELECT s.customer_id, s.n, v.id FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id ORDER BY 2 DESC, 1 LIMIT 2) s JOIN visits v ON v.customer_id = s.customer_id ORDER BY 1, 3;
SELECT count(*) FROM (SELECT id FROM orders LIMIT 5) s, notes;
SELECT count(*) FROM (SELECT id FROM orders LIMIT 0) s, notes;
SELECT count(*) FROM (SELECT id FROM orders LIMIT NULL) s, notes;
SELECT count(*) FROM (SELECT id FROM orders OFFSET 3) s, notes;
SELECT count(*) FROM (SELECT id FROM orders LIMIT ALL OFFSET 3) s, notes;
SELECT s.* FROM (SELECT total, id FROM orders ORDER BY total NULLS FIRST FETCH FIRST 2 ROWS WITH TIES) s, notes n WHERE n.id = 1 ORDER BY 1, 2;
(SELECT id FROM orders ORDER BY id DESC LIMIT 2) UNION ALL (SELECT id FROM visits ORDER BY id DESC LIMIT 2) ORDER BY 1;
(SELECT count(*) FROM orders) UNION ALL (SELECT id FROM visits ORDER BY seconds DESC, id OFFSET 1 LIMIT 2) ORDER BY 1;
PREPARE l(int) AS SELECT s.id, n.id FROM (SELECT id FROM orders ORDER BY id LIMIT $1) s, notes n ORDER BY 1, 2;
EXECUTE l(2);
EXECUTE l(NULL);
-- PostgreSQL keeps back what EXECUTE describes until it has all rows.
-- only extended
EXECUTE l(-1);
-- TABLE.
SELECT a.id, b.id FROM (TABLE visits ORDER BY id LIMIT 3) a, (TABLE customers ORDER BY id DESC LIMIT 2) b ORDER BY 1, 2;
(TABLE visits ORDER BY id LIMIT 2) UNION ALL (TABLE visits ORDER BY id DESC LIMIT 2) ORDER BY 1;
TABLE visits EXCEPT (TABLE visits ORDER BY id LIMIT 27) ORDER BY 1;
TABLE products UNION TABLE products ORDER BY 1;
TABLE visits INTERSECT SELECT * FROM visits WHERE id < 3 ORDER BY 1;
SELECT a.id, b.id FROM (TABLE visits UNION TABLE visits) a LEFT JOIN (TABLE notes UNION TABLE notes) b ON a.id = b.id WHERE a.id < 5 ORDER BY 1;
SELECT a.id, b.id FROM (TABLE visits) a JOIN notes b ON a.id = b.id ORDER BY 1;
-- What PostgreSQL does not come to evaluate.
SELECT (SELECT sum(1 / (total - total)) FROM orders) FROM customers c JOIN visits v ON v.customer_id = c.id WHERE c.id < 0;
SELECT c.id FROM customers c JOIN visits v ON v.customer_id = c.id WHERE c.id > 5 OR (SELECT sum(1 / (total - total)) FROM orders) > 1 AND c.id > 10 ORDER BY 1;
SELECT c.id FROM customers c JOIN visits v ON v.customer_id = c.id WHERE c.id < 0 AND c.id IN (SELECT 1 / (id - id) FROM visits GROUP BY 1);
SELECT s.c FROM (SELECT seconds AS x, count(*) AS c, sum(1 / (id - id)) FROM visits GROUP BY 1) s JOIN notes n ON n.id = s.x ORDER BY 1;
SELECT s.c FROM (SELECT customer_id AS x, count(*) AS c, sum(1 / customer_id) AS z FROM visits GROUP BY 1) s JOIN notes n ON n.id = s.x WHERE s.x > 0 AND s.z > 0 ORDER BY 1;
-- Columns that EXISTS does not look at, and such that it does.
SELECT v.id FROM visits v WHERE EXISTS (SELECT * FROM orders o WHERE o.total > v.seconds AND o.id < 30) AND v.id < 9 ORDER BY 1;
SELECT v.id FROM visits v WHERE NOT EXISTS (SELECT o.*, c.* FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.product_id = v.seconds) ORDER BY 1;
SELECT v.id FROM visits v WHERE EXISTS (SELECT DISTINCT * FROM orders o WHERE o.product_id = v.seconds OFFSET 4) ORDER BY 1;
SELECT v.id FROM visits v WHERE EXISTS (SELECT DISTINCT o.page FROM visits o WHERE o.seconds = v.seconds OFFSET 1) ORDER BY 1;
SELECT v.id FROM visits v WHERE EXISTS (SELECT * FROM orders o WHERE o.product_id = v.seconds UNION SELECT * FROM orders o WHERE o.id = v.id) ORDER BY 1;
SELECT v.id FROM visits v WHERE EXISTS (TABLE notes) AND EXISTS (SELECT * FROM (SELECT * FROM orders) o WHERE o.product_id = v.seconds) AND v.id < 20 ORDER BY 1;
SELECT v.id, EXISTS (SELECT * FROM orders o NATURAL JOIN customers c WHERE o.product_id = v.seconds) FROM visits v ORDER BY 1;
SELECT o.* FROM orders o WHERE EXISTS (SELECT * FROM visits v WHERE v.seconds = o.product_id) ORDER BY 1, 2;
SELECT v.id FROM visits v WHERE EXISTS (SELECT * FROM orders o WHERE o.customer_id = v.seconds GROUP BY o.customer_id, o.id) ORDER BY 1;
-- Deep.
SELECT count(*) FROM (SELECT x.customer_id FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) x JOIN (SELECT seconds, count(*) AS n FROM visits GROUP BY seconds) y ON y.n = x.n) z;
SELECT t.r, t.n FROM (SELECT region AS r, (SELECT count(*) FROM visits) AS n FROM customers) t ORDER BY 1, 2;
SELECT c.name FROM customers c WHERE c.id IN (SELECT customer_id FROM orders WHERE total > (SELECT avg(total) FROM orders)) ORDER BY 1;
SELECT c.name FROM customers c WHERE c.id IN (SELECT v.customer_id FROM visits v WHERE v.seconds > (SELECT avg(v2.seconds) FROM visits v2) GROUP BY v.customer_id HAVING count(*) > 1) ORDER BY 1;
PREPARE p(bigint, numeric) AS SELECT v.id, s.n FROM (SELECT customer_id, count(*) AS n FROM orders WHERE total > $2 GROUP BY customer_id) s JOIN visits v ON v.customer_id = s.customer_id WHERE v.id < $1 ORDER BY 1;
EXECUTE p(10, 2);
EXECUTE p(20, 5);
EXECUTE p(5, NULL);
PREPARE q(text) AS SELECT $1 AS what, count(*) FROM orders UNION ALL SELECT page, count(*) FROM visits WHERE page <> $1 GROUP BY page ORDER BY 1, 2;
EXECUTE q('cart');
-- In a block, over its own rows.
BEGIN;
INSERT INTO orders VALUES (4, 41, 1, 77, NULL);
UPDATE visits SET seconds = 10 WHERE id = 4;
SELECT v.id, s.n FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) s JOIN visits v ON v.customer_id = s.customer_id WHERE v.seconds > 9 ORDER BY 1;
SELECT id FROM visits WHERE seconds > (SELECT avg(seconds) + 4 FROM visits) ORDER BY id;
DECLARE cur CURSOR FOR SELECT v.id, s.n FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) s JOIN visits v ON v.customer_id = s.customer_id ORDER BY 1;
FETCH 3 FROM cur;
FETCH 2 FROM cur;
ROLLBACK;
COPY (SELECT v.id, s.n FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) s JOIN visits v ON v.customer_id = s.customer_id WHERE v.id < 6 ORDER BY 1) TO STDOUT;
