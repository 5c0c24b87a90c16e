-- UPDATE and DELETE of rows on several shards.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, region text, seen timestamptz);
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2) CHECK (total < 9000), product int, PRIMARY KEY (customer_id, id));
CREATE TABLE apart (k text PRIMARY KEY, v int);
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE notes (id int PRIMARY KEY, body text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.customers', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.apart', 'k')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
INSERT INTO products VALUES (1, 'bolt', 0.10), (2, 'nut', 0.20), (3, 'gear', 12.50);
INSERT INTO notes VALUES (1, 'first'), (2, 'second');
INSERT INTO customers VALUES (1, 'a', 'north'), (2, 'b', 'south'), (3, 'c', 'north'), (4, 'd', 'south'), (5, 'e', NULL), (6, 'f', 'north'), (7, 'g', 'east'), (8, 'h', 'east');
INSERT INTO orders VALUES (1, 1, 10, 1), (1, 2, 20, 2), (2, 1, 30, 3), (3, 1, 40, 1), (3, 2, 50, NULL), (4, 1, NULL, 2), (5, 1, 60, 9), (6, 1, 70, 3), (7, 1, 80, 1), (8, 1, 90, 2);
INSERT INTO apart VALUES ('1', 1), ('2', 2), ('3', 3), ('4', 4);
UPDATE customers SET region = 'west' WHERE region IS NULL;
UPDATE customers SET name = upper(name);
UPDATE customers SET name = name || '!' WHERE id IN (1, 2, 3, 4);
UPDATE customers SET name = name || '?' WHERE id = ANY (ARRAY[1, 2, 5]);
UPDATE customers SET region = 'nowhere' WHERE id > 100;
UPDATE customers SET region = 'nowhere' WHERE id IN (101, 102, 103, 104);
-- unordered
UPDATE customers SET name = lower(name) WHERE id < 5 RETURNING id, name;
-- unordered
UPDATE customers AS c SET (name, region) = (c.name || '.', 'X' || c.region) WHERE c.region LIKE '%th' RETURNING c.*;
UPDATE customers SET seen = now();
SELECT count(DISTINCT seen), count(*) FROM customers;
UPDATE customers SET seen = CURRENT_DATE WHERE seen > now() - interval '1 day';
SELECT bool_and(seen = CURRENT_DATE) FROM customers;
SELECT id, name, region FROM customers ORDER BY id;

-- Joins.
UPDATE orders SET total = p.price * 10 FROM products p WHERE p.id = orders.product;
-- unordered
UPDATE orders o SET total = o.total + 1 FROM customers c WHERE c.id = o.customer_id AND c.region LIKE 'X%' RETURNING o.customer_id, o.id, o.total, c.region;
-- unordered
UPDATE customers c SET name = c.name || s.n FROM (SELECT customer_id, count(*) AS n FROM orders GROUP BY customer_id) s WHERE s.customer_id = c.id RETURNING c.id, c.name, s.n;
UPDATE customers c SET region = (SELECT max(p.name) FROM orders o JOIN products p ON p.id = o.product WHERE o.customer_id = c.id);
UPDATE customers SET region = 'many' WHERE EXISTS (SELECT FROM orders WHERE orders.customer_id = customers.id AND orders.id > 1);
UPDATE customers SET region = 'cheap' WHERE id IN (SELECT customer_id FROM orders WHERE orders.customer_id = customers.id AND total < 2);
UPDATE customers SET region = (SELECT name FROM products ORDER BY id LIMIT 1) WHERE region IS NULL;
SELECT id, name, region FROM customers ORDER BY id;
SELECT * FROM orders ORDER BY customer_id, id;
WITH cheap AS (SELECT id FROM products WHERE price < 1) UPDATE orders SET total = 0 WHERE product IN (SELECT id FROM cheap);
-- unordered
DELETE FROM orders USING products p WHERE p.id = orders.product AND p.name = 'gear' RETURNING orders.*, p.name;
-- unordered
DELETE FROM orders o USING customers c WHERE c.id = o.customer_id AND c.id IN (7, 8) RETURNING o.customer_id, c.id;
DELETE FROM orders WHERE total IS NULL;
DELETE FROM orders WHERE customer_id IN (1, 2, 3) AND id = 2;
DELETE FROM orders WHERE id = 1000;
SELECT * FROM orders ORDER BY customer_id, id;

-- What needs rows of other shards.
-- expect-refusal 0A000
UPDATE customers SET region = 'x' WHERE id::text IN (SELECT k FROM apart WHERE v > 1);
-- expect-refusal 0A000
UPDATE customers SET region = (SELECT count(*) FROM customers);
-- expect-refusal 0A000
DELETE FROM customers WHERE id IN (SELECT id FROM customers ORDER BY name LIMIT 2);
-- expect-refusal 0A000
DELETE FROM customers WHERE ctid IN (SELECT ctid FROM customers LIMIT 2);
-- expect-refusal 0A000
DELETE FROM customers WHERE ctid = '(0,1)';
-- expect-refusal 0A000
UPDATE customers c SET region = a.v FROM apart a WHERE a.k = c.id::text;
-- expect-refusal 0A000
UPDATE orders SET total = 1 FROM customers c WHERE c.id = orders.id;
-- expect-refusal 0A000
UPDATE customers SET region = body FROM notes WHERE notes.id = 1;
-- expect-refusal 0A000
UPDATE customers SET region = pg_backend_pid();
-- expect-refusal 0A000
UPDATE customers SET region = r FROM (SELECT random() AS r) x;
-- expect-refusal 0A000
UPDATE customers SET seen = 'now';
-- expect-refusal 0A000
UPDATE customers SET region = 'x' RETURNING now();
-- expect-refusal 0A000
DELETE FROM customers c USING orders o WHERE o.customer_id = 5 AND c.id IN (1, 2, 3, 4);
-- expect-refusal 0A000
WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone;
UPDATE customers SET region = 'x' WHERE random() < 0;
UPDATE customers SET name = gen_random_uuid()::text || random() WHERE id IN (6, 7, 8);
SELECT count(DISTINCT name) FROM customers WHERE id IN (6, 7, 8);

-- What is wrong with one row undoes all.
UPDATE orders SET total = CASE customer_id WHEN 3 THEN 10000 ELSE 1 END;
UPDATE orders SET id = 1;
UPDATE customers SET name = CASE id WHEN 3 THEN NULL ELSE name END WHERE id IN (1, 2, 3, 4);
UPDATE customers SET name = 1 / (id - 3);
UPDATE customers SET nothing = 1;
UPDATE customers SET name = 'x' WHERE nothing = 1;
UPDATE nothing SET name = 'x';
DELETE FROM customers WHERE 1 / (id - 3) = 1;
SELECT * FROM orders ORDER BY customer_id, id;

-- Within blocks.
BEGIN;
UPDATE customers SET region = 'block';
SELECT DISTINCT region FROM customers;
SAVEPOINT s;
DELETE FROM orders;
DELETE FROM customers;
SELECT count(*) FROM customers;
ROLLBACK TO s;
SELECT count(*) FROM customers;
UPDATE orders SET total = CASE customer_id WHEN 3 THEN 99999 END;
ROLLBACK TO s;
-- unordered
DELETE FROM customers WHERE id IN (7, 8) RETURNING id;
COMMIT;
SELECT id, region FROM customers ORDER BY id;
BEGIN;
DELETE FROM customers;
ROLLBACK;
SELECT count(*) FROM customers;
BEGIN READ ONLY;
UPDATE customers SET region = 'x';
COMMIT;
-- only simple
UPDATE customers SET region = 'one'; UPDATE customers SET region = region || ' two'; DELETE FROM orders WHERE id > 1;
-- only simple
UPDATE customers SET region = 'gone'; UPDATE customers SET region = 1 / (id - 3);
SELECT id, region FROM customers ORDER BY id;

-- Parameters.
-- bind 'p', 1, 2, 3
UPDATE customers SET region = $1 WHERE id IN ($2, $3, $4);
-- bind 'q', '{1,2,3,4}'
UPDATE customers SET region = $1 WHERE id = ANY ($2);
-- bind 'q2', '{1,2,3,4}'::int8[]
UPDATE customers SET region = $1 WHERE id = ANY ($2);
-- unordered
-- bind 'r', 'q2'
UPDATE customers SET region = $1, seen = now() WHERE region = $2 RETURNING id, region;
SELECT count(DISTINCT seen) FROM customers WHERE region = 'r';
-- bind 5::int8
DELETE FROM orders WHERE total > $1;
-- bind 1, 2
-- unordered
DELETE FROM customers WHERE id IN ($1, $2) RETURNING id, name, region;
PREPARE u (text, bigint, bigint) AS UPDATE customers SET region = $1 WHERE id IN ($2, $3);
EXECUTE u ('prepared', 3, 4);
EXECUTE u ('prepared', 3, 3);
PREPARE everything AS UPDATE customers SET region = region || $1;
EXECUTE everything ('+');
PREPARE gone AS DELETE FROM orders WHERE id = 1 RETURNING customer_id > 0 AS yes;
EXECUTE gone;
DEALLOCATE ALL;
SELECT id, region FROM customers ORDER BY id;
SELECT * FROM orders ORDER BY customer_id, id;
DELETE FROM customers;
SELECT count(*) FROM customers;
