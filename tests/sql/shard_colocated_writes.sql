-- INSERT … SELECT, MERGE and writes in WITH, where each shard can do its part alone.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, n int);
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2) CHECK (total < 9000), product int, PRIMARY KEY (customer_id, id));
CREATE TABLE archive (customer_id int NOT NULL, id bigint NOT NULL, total numeric(10,2), moved timestamptz, s serial, PRIMARY KEY (customer_id, id));
CREATE TABLE sums (id bigint PRIMARY KEY, total numeric, n bigint);
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
-- setup pgweave: SELECT pgweave.shard_table(':schema.customers', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.archive', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.sums', 'id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
INSERT INTO products VALUES (1, 'bolt', 0.10), (2, 'nut', 0.20), (3, 'gear', 12.50);
INSERT INTO customers VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f'), (7, 'g'), (8, 'h');
INSERT INTO orders VALUES (1, 1, 10, 1), (1, 2, 20, 2), (2, 1, 30, 3), (3, 1, 40, 1), (3, 2, 50, NULL), (4, 1, NULL, 2), (5, 1, 60, 9), (6, 1, 70, 3), (7, 1, 80, 1), (8, 1, 90, 2);
INSERT INTO sums SELECT customer_id, sum(total), count(*) FROM orders GROUP BY customer_id;
-- unordered
INSERT INTO archive (customer_id, id, total) SELECT customer_id, id, total FROM orders WHERE total > 40 RETURNING customer_id, id, total;
-- One row is there already.
INSERT INTO archive (customer_id, id, total) SELECT customer_id, id, total FROM orders WHERE total < 40 OR total = 90;
INSERT INTO archive (customer_id, id, total, moved) SELECT customer_id, id, total, now() FROM orders ON CONFLICT DO NOTHING;
INSERT INTO archive AS a (customer_id, id, total) SELECT o.customer_id, o.id, p.price FROM orders o JOIN products p ON p.id = o.product ON CONFLICT (customer_id, id) DO UPDATE SET total = excluded.total + a.total;
SELECT customer_id, id, total FROM archive ORDER BY 1, 2;
SELECT count(DISTINCT moved), count(*), count(DISTINCT s) FROM archive;
SELECT * FROM sums ORDER BY id;
DELETE FROM sums WHERE id > 6;
INSERT INTO sums SELECT id, 0, n FROM customers WHERE NOT EXISTS (SELECT FROM sums WHERE sums.id = customers.id);
SELECT * FROM sums ORDER BY id;
INSERT INTO sums SELECT id, 1, 1 FROM customers WHERE id IN (1, 2, 3, 4) ON CONFLICT (id) DO UPDATE SET n = 100;
SELECT * FROM sums ORDER BY id;

-- Writes in WITH.
-- expect-refusal 0A000
WITH gone AS (DELETE FROM archive WHERE total > 100 RETURNING *) INSERT INTO sums (id, total) SELECT customer_id + 0, total FROM gone WHERE false RETURNING *;
-- expect-refusal 0A000
WITH gone AS (DELETE FROM archive RETURNING *) INSERT INTO sums (id, total) SELECT customer_id + 100, total FROM gone RETURNING *;
DELETE FROM archive;
-- unordered
WITH gone AS (DELETE FROM orders WHERE total < 50 RETURNING *) INSERT INTO archive (customer_id, id, total) SELECT customer_id, id, total FROM gone RETURNING customer_id, id, total;
SELECT customer_id, id, total FROM archive ORDER BY 1, 2;
SELECT * FROM orders ORDER BY 1, 2;
WITH gone AS (DELETE FROM archive RETURNING customer_id, total), g AS (SELECT customer_id, count(*) AS n, sum(total) AS total FROM gone GROUP BY customer_id) UPDATE sums SET total = g.total, n = g.n FROM g WHERE g.customer_id = sums.id;
WITH up AS (UPDATE customers SET n = 1 WHERE id > 3 RETURNING id) DELETE FROM sums USING up WHERE sums.id = up.id AND sums.n IS NULL;
SELECT * FROM sums ORDER BY id;
SELECT * FROM customers ORDER BY id;
SELECT count(*) FROM archive;

-- MERGE.
MERGE INTO sums s USING orders o ON s.id = o.customer_id AND o.id = 1 WHEN MATCHED AND s.n = 1 THEN UPDATE SET total = s.total + o.total WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING;
SELECT * FROM sums ORDER BY id;
MERGE INTO sums AS s USING (SELECT customer_id, sum(total) AS total, count(*) AS n FROM orders GROUP BY customer_id) o ON s.id = o.customer_id WHEN MATCHED THEN UPDATE SET n = o.n + 10 WHEN NOT MATCHED THEN INSERT VALUES (o.customer_id, o.total, o.n);
SELECT * FROM sums ORDER BY id;
MERGE INTO orders o USING products p ON p.id = o.product WHEN MATCHED AND p.price > 1 THEN DELETE WHEN MATCHED THEN UPDATE SET total = p.price;
MERGE INTO sums USING customers c ON c.id = sums.id AND c.id IN (1, 2, 3) WHEN NOT MATCHED AND c.id < 4 THEN INSERT (n, id) VALUES (0, c.id) WHEN MATCHED THEN UPDATE SET n = -1;
SELECT * FROM orders ORDER BY 1, 2;
SELECT * FROM sums ORDER BY id;
MERGE INTO sums s USING (SELECT id FROM customers WHERE id = 5) c ON s.id = c.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (c.id);
MERGE INTO sums s USING customers c ON s.id = c.id WHEN MATCHED THEN UPDATE SET total = 1 / (c.id - 3);
-- expect-refusal 0A000
MERGE INTO sums s USING customers c ON s.id = c.n WHEN MATCHED THEN DELETE;
-- expect-refusal 0A000
MERGE INTO sums s USING customers c ON s.id = c.id WHEN NOT MATCHED THEN INSERT (id) VALUES (c.n);
-- expect-refusal 0A000
MERGE INTO sums s USING products p ON s.id = p.id WHEN NOT MATCHED THEN INSERT (id) VALUES (p.id);
-- expect-refusal 0A000
MERGE INTO sums s USING customers c ON s.id = c.id WHEN MATCHED THEN UPDATE SET id = 7;
-- expect-refusal 0A000
MERGE INTO products p USING customers c ON p.id = c.id WHEN MATCHED THEN DELETE;
SELECT * FROM sums ORDER BY id;
TRUNCATE sums, orders;
SELECT count(*) FROM sums;
BEGIN;
TRUNCATE customers CASCADE;
SELECT count(*) FROM customers;
ROLLBACK;
SELECT count(*) FROM customers;
