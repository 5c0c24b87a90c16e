-- WITH, and the set operations.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, region text);
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2), placed date, PRIMARY KEY (customer_id, id));
CREATE TABLE lines (customer_id bigint NOT NULL, order_id bigint NOT NULL, n int NOT NULL, product int, amount int DEFAULT 1, PRIMARY KEY (customer_id, order_id, n));
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE notes (id int PRIMARY KEY, body text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.customers', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.lines', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
INSERT INTO products VALUES (1, 'bolt', 0.10), (2, 'nut', 0.20), (3, 'gear', 12.50);
INSERT INTO notes VALUES (1, 'first'), (2, 'second');
INSERT INTO customers VALUES (1, 'customer 1', 'north');
INSERT INTO orders VALUES (1, 11, 110.50, '2024-01-01'), (1, 12, 120.00, '2024-02-01'), (1, 13, NULL, NULL);
INSERT INTO lines (customer_id, order_id, n, product, amount) VALUES (1, 11, 1, 1, 5), (1, 11, 2, 2, 6), (1, 12, 1, 3, 7);
INSERT INTO customers VALUES (2, 'customer 2', 'south');
INSERT INTO orders VALUES (2, 21, 210.50, '2024-01-02'), (2, 22, 220.00, '2024-02-02'), (2, 23, NULL, NULL);
INSERT INTO lines (customer_id, order_id, n, product, amount) VALUES (2, 21, 1, 1, 5), (2, 21, 2, 2, 6), (2, 22, 1, 3, 7);
INSERT INTO customers VALUES (3, 'customer 3', 'north');
INSERT INTO orders VALUES (3, 31, 310.50, '2024-01-03'), (3, 32, 320.00, '2024-02-03'), (3, 33, NULL, NULL);
INSERT INTO lines (customer_id, order_id, n, product, amount) VALUES (3, 31, 1, 1, 5), (3, 31, 2, 2, 6), (3, 32, 1, 3, 7);
INSERT INTO customers VALUES (7, 'customer 7', 'north');
INSERT INTO orders VALUES (7, 71, 710.50, '2024-01-07'), (7, 72, 720.00, '2024-02-07'), (7, 73, NULL, NULL);
INSERT INTO lines (customer_id, order_id, n, product, amount) VALUES (7, 71, 1, 1, 5), (7, 71, 2, 2, 6), (7, 72, 1, 3, 7);
WITH c AS (SELECT * FROM customers WHERE id = 1) SELECT * FROM c;
WITH c AS (SELECT * FROM customers) SELECT * FROM c WHERE id = 1;
WITH c AS (SELECT id AS k FROM customers), o AS (SELECT * FROM orders) SELECT o.id FROM c JOIN o ON o.customer_id = c.k WHERE c.k = 2 ORDER BY 1;
WITH c (k, n) AS (SELECT id, name FROM customers WHERE id = 7) SELECT n, o.id FROM c JOIN orders o ON o.customer_id = c.k AND o.customer_id = 7 ORDER BY 2;
WITH c AS MATERIALIZED (SELECT * FROM customers WHERE id = 1) SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM c);
WITH unused AS (SELECT * FROM customers WHERE id = 1) SELECT 5;
WITH a AS (SELECT * FROM customers WHERE id = 2), b AS (SELECT * FROM a) SELECT name FROM b;
WITH a AS (SELECT * FROM customers WHERE id = 2) SELECT name FROM customers WHERE id = 2 UNION ALL SELECT name FROM a;
WITH customers AS (SELECT 5 AS id, 'hidden' AS name) SELECT name FROM customers;
WITH RECURSIVE r (n) AS (SELECT id FROM orders WHERE customer_id = 1 AND id = 11 UNION ALL SELECT o.id FROM r JOIN orders o ON o.customer_id = 1 AND o.id = r.n + 1) SELECT * FROM r ORDER BY 1;
WITH RECURSIVE r (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 3) SELECT r.n, c.name FROM r, customers c WHERE c.id = 1 ORDER BY 1;
WITH i AS (INSERT INTO customers VALUES (8, 'eight') RETURNING *) SELECT name FROM i;
WITH d AS (DELETE FROM customers WHERE id = 8 RETURNING *) SELECT name FROM d;
WITH u AS (UPDATE orders SET total = 1 WHERE customer_id = 1 AND id = 11 RETURNING customer_id, id) INSERT INTO lines (customer_id, order_id, n) SELECT customer_id, id, 77 FROM u WHERE customer_id = 1;
SELECT n FROM lines WHERE customer_id = 1 AND order_id = 11 ORDER BY n;
WITH p AS (SELECT * FROM products WHERE price > 0.15) SELECT p.name, l.n FROM p JOIN lines l ON l.product = p.id WHERE l.customer_id = 3 ORDER BY 1;
SELECT name FROM customers WHERE id = 1 UNION SELECT name FROM customers WHERE id = 7 ORDER BY 1;
SELECT name FROM customers WHERE id = 1 UNION ALL SELECT name FROM customers WHERE id = 1;
SELECT id FROM customers WHERE id = 1 INTERSECT SELECT customer_id FROM orders WHERE customer_id = 1;
SELECT id FROM orders WHERE customer_id = 1 EXCEPT SELECT order_id FROM lines WHERE customer_id = 1 ORDER BY 1;
(SELECT id FROM orders WHERE customer_id = 1 ORDER BY id LIMIT 1) UNION ALL (SELECT id FROM orders WHERE customer_id = 1 ORDER BY id DESC LIMIT 1);
SELECT name FROM customers WHERE id = 2 UNION ALL SELECT name FROM products ORDER BY 1;
SELECT name FROM customers WHERE id = 2 UNION ALL VALUES ('literal') ORDER BY 1;
SELECT * FROM (SELECT id, name FROM customers UNION ALL SELECT customer_id, 'order' FROM orders) u WHERE id = 2 ORDER BY name;
SELECT count(*) FROM (SELECT id FROM customers WHERE id = 2 UNION SELECT id FROM customers WHERE id = 3) u;
SELECT name FROM customers WHERE id = 2 UNION SELECT nothing FROM customers WHERE id = 2;
SELECT id, name FROM customers WHERE id = 2 UNION SELECT name FROM customers WHERE id = 2;
-- unordered
SELECT name FROM customers WHERE id = 1 UNION ALL SELECT name FROM customers WHERE id = 2;
-- unordered
SELECT name FROM customers WHERE id = 1 UNION ALL SELECT name FROM customers;
-- unordered
SELECT name FROM customers UNION ALL SELECT name FROM customers WHERE id = 1;
-- unordered
WITH c AS (SELECT * FROM customers) SELECT * FROM c;
-- unordered
WITH c AS (SELECT * FROM customers) SELECT * FROM orders WHERE customer_id = 1 AND EXISTS (SELECT FROM c);
-- unordered
WITH c AS (SELECT * FROM customers WHERE id = 1) SELECT * FROM c JOIN orders o ON o.id = c.id;
-- unordered
WITH c AS (SELECT * FROM customers WHERE id = 1) SELECT * FROM orders WHERE customer_id = 2;
-- expect-refusal 0A000
WITH d AS (DELETE FROM customers RETURNING *) SELECT count(*) FROM d;
-- unordered
SELECT * FROM (SELECT id FROM customers WHERE id = 1 UNION ALL SELECT id FROM orders) u WHERE id > 0;
