-- Writing to sharded tables.
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
INSERT INTO customers VALUES (5, 'five', NULL);
INSERT INTO customers (name, id) VALUES ('six', 6) RETURNING *;
INSERT INTO customers (id, name) VALUES (5, 'twice');
INSERT INTO customers (id, name) VALUES (5, NULL);
INSERT INTO customers (id, name) VALUES (8, 'eight'), (10, 'ten'), (13, 'thirteen') RETURNING id;
INSERT INTO customers (id, name) VALUES ('16', 'sixteen');
INSERT INTO customers (id, name) VALUES ('x', 'x');
INSERT INTO customers (id, name) VALUES (5, 'five') ON CONFLICT DO NOTHING;
INSERT INTO customers AS c (id, name) VALUES (5, 'FIVE') ON CONFLICT (id) DO UPDATE SET name = excluded.name || c.name RETURNING name;
INSERT INTO customers (id, name) VALUES (5, 'x') ON CONFLICT (id) DO UPDATE SET region = 'conflict' WHERE customers.region IS NULL;
INSERT INTO orders (customer_id, id) SELECT 5, g FROM generate_series(1, 3) g;
INSERT INTO orders (customer_id, id, total) SELECT customer_id, id + 100, total FROM orders WHERE customer_id = 5 RETURNING id;
INSERT INTO lines (customer_id, order_id, n, product) SELECT 5, 1, id, id FROM products;
-- expect-refusal 0A000
INSERT INTO customers DEFAULT VALUES;
-- expect-refusal 0A000
INSERT INTO customers (name) VALUES ('no key');
INSERT INTO customers (id, name) VALUES (NULL, 'null key');
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (DEFAULT, 'default key');
INSERT INTO customers (id, name, nothing) VALUES (5, 'x', 1);
INSERT INTO customers VALUES (5);
INSERT INTO customers VALUES (5, 'x', 'y', 'z');
UPDATE customers SET name = 'changed' WHERE id = 5;
UPDATE customers SET name = name || '!', region = DEFAULT WHERE id = 5 RETURNING *;
UPDATE customers SET name = 'x' WHERE id = 1000;
UPDATE customers SET name = 'x' WHERE id IN (5, 6) RETURNING id;
UPDATE orders o SET total = c.id FROM customers c WHERE c.id = o.customer_id AND o.customer_id = 5 RETURNING o.id, o.total;
UPDATE orders SET total = p.price FROM products p WHERE customer_id = 5 AND orders.id = p.id;
UPDATE orders SET total = (SELECT count(*) FROM lines WHERE customer_id = 5) WHERE customer_id = 5 AND id = 1 RETURNING total;
UPDATE orders SET (total, placed) = (1.5, '2024-05-05') WHERE customer_id = 5 AND id = 2 RETURNING *;
UPDATE customers SET name = NULL WHERE id = 5;
UPDATE customers SET nothing = 1 WHERE id = 5;
SELECT * FROM orders WHERE customer_id = 5 ORDER BY id;
DELETE FROM lines WHERE customer_id = 5 AND n = 3 RETURNING *;
DELETE FROM lines USING orders WHERE lines.customer_id = orders.customer_id AND orders.customer_id = 5 AND orders.id = lines.order_id AND n = 2;
DELETE FROM orders WHERE customer_id = 5 AND id IN (SELECT order_id FROM lines WHERE customer_id = 5);
DELETE FROM customers WHERE id = 1000;
DELETE FROM customers WHERE id = 6;
SELECT count(*) FROM orders WHERE customer_id = 5;
SELECT * FROM customers WHERE id = 5;
MERGE INTO customers c USING (VALUES (5, 'merged')) v (id, name) ON c.id = v.id AND c.id = 5 WHEN MATCHED THEN UPDATE SET name = v.name;
BEGIN;
INSERT INTO customers VALUES (4, 'four');
INSERT INTO orders VALUES (4, 1, 1, NULL);
SELECT c.name, o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 4;
SAVEPOINT s;
DELETE FROM customers WHERE id = 4;
ROLLBACK TO s;
SELECT count(*) FROM customers WHERE id = 4;
ROLLBACK;
SELECT count(*) FROM customers WHERE id = 4;
-- A transaction over both shards.
BEGIN;
INSERT INTO customers VALUES (20, 'on one');
INSERT INTO customers VALUES (4, 'on the other');
UPDATE notes SET body = 'changed too' WHERE id = 1;
COMMIT;
SELECT name FROM customers WHERE id = 20;
SELECT name FROM customers WHERE id = 4;
SELECT body FROM notes WHERE id = 1;
BEGIN;
UPDATE customers SET name = 'undone' WHERE id = 20;
UPDATE customers SET name = 'undone' WHERE id = 4;
ROLLBACK;
SELECT name FROM customers WHERE id = 20;
SELECT name FROM customers WHERE id = 4;
BEGIN;
UPDATE customers SET name = 'undone' WHERE id = 20;
INSERT INTO customers VALUES (4, 'again');
COMMIT;
SELECT name FROM customers WHERE id = 20;
BEGIN;
UPDATE customers SET name = 'kept' WHERE id = 20;
SAVEPOINT s;
UPDATE customers SET name = 'undone' WHERE id = 4;
INSERT INTO customers VALUES (4, 'again');
ROLLBACK TO s;
UPDATE customers SET name = 'kept as well' WHERE id = 4;
RELEASE s;
COMMIT;
SELECT name FROM customers WHERE id = 20;
SELECT name FROM customers WHERE id = 4;
INSERT INTO products VALUES (4, 'new', 1) RETURNING *;
UPDATE products SET price = price + 1 WHERE id = 4 RETURNING price;
UPDATE products SET price = 5;
DELETE FROM products WHERE id = 4;
INSERT INTO products VALUES (1, 'again', 1);
SELECT * FROM products ORDER BY id;
SELECT p.price FROM products p JOIN lines l ON l.product = p.id WHERE l.customer_id = 1 ORDER BY 1;
SELECT p.price FROM products p JOIN lines l ON l.product = p.id WHERE l.customer_id = 2 ORDER BY 1;
TRUNCATE lines;
SELECT count(*) FROM lines WHERE customer_id = 1;
SELECT count(*) FROM lines WHERE customer_id = 2;
INSERT INTO customers (id, name) VALUES (101, 'a'), (102, 'b'), (103, 'c'), (104, 'd');
INSERT INTO customers SELECT g, 'x' FROM generate_series(200, 210) g;
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (100 + 1, 'computed');
UPDATE customers SET name = 'all';
UPDATE customers SET id = 9 WHERE id = 1;
BEGIN;
DELETE FROM customers;
ROLLBACK;
DELETE FROM customers WHERE name = 'x';
-- expect-refusal 0A000
DELETE FROM orders USING customers WHERE customers.id = 1;
INSERT INTO orders (customer_id, id) SELECT id, 1 FROM customers;
-- unordered
SELECT * FROM customers WHERE id = 1 OR true;
-- unordered
SELECT * FROM customers WHERE id = 1 OR region = 'north';
-- unordered
SELECT * FROM customers WHERE NOT (id = 1);
-- unordered
SELECT * FROM customers WHERE id <> 1;
-- unordered
SELECT * FROM customers WHERE id + 0 = 1;
-- unordered
SELECT * FROM customers WHERE id IS NULL;
-- unordered
SELECT * FROM customers WHERE id BETWEEN 1 AND 1;
-- unordered
SELECT * FROM customers WHERE id IN (1, 2);
-- unordered
SELECT * FROM customers WHERE (id = 1) IS NOT FALSE;
-- unordered
SELECT * FROM customers ORDER BY id LIMIT 1;
-- unordered
SELECT count(*) FROM customers;
-- unordered
TABLE customers;
