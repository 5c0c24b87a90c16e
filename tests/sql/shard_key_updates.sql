-- UPDATE of the shard key: rows move.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, made timestamptz DEFAULT '2024-01-01', n int CHECK (n < 100));
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2), s serial, PRIMARY KEY (customer_id, id));
CREATE TABLE parents (id bigint PRIMARY KEY, v int);
CREATE TABLE children (parent_id bigint NOT NULL REFERENCES parents (id), id bigint NOT NULL, PRIMARY KEY (parent_id, id));
CREATE TABLE heads (id bigint PRIMARY KEY, v int);
CREATE TABLE tails (head_id bigint NOT NULL REFERENCES heads (id) ON DELETE CASCADE ON UPDATE CASCADE, id bigint NOT NULL, PRIMARY KEY (head_id, id));
CREATE TABLE products (id int PRIMARY KEY, name text);
CREATE TABLE doubled (k int PRIMARY KEY, twice int GENERATED ALWAYS AS (k * 2) STORED);
-- setup pgweave: SELECT pgweave.shard_table(':schema.customers', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.parents', 'id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.children', 'parent_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.heads', 'id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.tails', 'head_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.doubled', 'k')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
INSERT INTO products VALUES (1, 'bolt'), (2, 'nut'), (3, 'gear');
INSERT INTO customers (id, name) SELECT g, 'customer ' || g FROM generate_series(1, 10) g;
INSERT INTO orders (customer_id, id, total) SELECT g % 10 + 1, g, g FROM generate_series(1, 30) g;
INSERT INTO parents SELECT g, g FROM generate_series(1, 6) g;
INSERT INTO children SELECT g, g FROM generate_series(1, 3) g;
INSERT INTO heads VALUES (1, 1), (2, 2);
INSERT INTO tails VALUES (1, 1), (2, 2);
INSERT INTO doubled VALUES (1), (2), (3);
UPDATE customers SET id = 101 WHERE id = 1;
UPDATE customers SET id = id WHERE id = 2;
UPDATE customers SET id = id + 100, name = name || '!', n = 5 WHERE id > 5 AND id < 100;
UPDATE customers SET id = -id, n = NULL WHERE id IN (2, 3, 4);
UPDATE customers SET id = 1000 WHERE id = 999;
SELECT * FROM customers ORDER BY id;
UPDATE customers AS c SET id = p.id + 500, name = p.name FROM products p WHERE p.id + 100 = c.id;
UPDATE orders SET customer_id = customers.id FROM customers WHERE customers.id = orders.customer_id AND orders.id = 1;
UPDATE orders o SET customer_id = o.customer_id + 1000, total = o.total * 2 WHERE total > 20;
SELECT customer_id, id, total FROM orders ORDER BY customer_id, id;
-- What is wrong undoes all.
UPDATE customers SET id = 5 WHERE id = 101;
UPDATE customers SET id = 5 WHERE id > 100;
UPDATE customers SET id = NULL WHERE id = 5;
UPDATE customers SET id = id + 5000, n = 100 WHERE id = 5;
UPDATE customers SET id = id + 5000, name = NULL WHERE id = 5;
UPDATE customers SET id = 'x' WHERE id = 5;
UPDATE customers SET id = nothing WHERE id = 5;
UPDATE customers SET id = 1, nothing = 1;
UPDATE parents SET id = id + 10 WHERE id = 1;
UPDATE parents SET id = id + 10 WHERE id > 3;
UPDATE children SET parent_id = 99 WHERE id = 3;
UPDATE children SET parent_id = 15 WHERE id = 3;
SELECT * FROM parents ORDER BY id;
SELECT * FROM children ORDER BY 1, 2;
-- expect-refusal 0A000
UPDATE heads SET id = id + 10;
-- expect-refusal 0A000
UPDATE doubled SET k = k + 10;
-- expect-refusal 0A000
UPDATE customers SET id = id + 1 WHERE id = 5 RETURNING id;
-- expect-refusal 0A000
UPDATE customers SET id = (SELECT max(id) + 1 FROM customers) WHERE id = 5;
-- expect-refusal 0A000
UPDATE customers SET (id, name) = (6, 'six') WHERE id = 5;
-- expect-refusal 0A000
UPDATE customers SET id = 6, made = now() WHERE id = 5;
-- expect-refusal 0A000
UPDATE customers SET id = 6, made = DEFAULT WHERE id = 5;
SELECT * FROM customers ORDER BY id;
BEGIN;
UPDATE customers SET id = id + 10000;
SELECT count(*), min(id) > 9000 AS high FROM customers;
SAVEPOINT s;
UPDATE customers SET id = id + 10000 WHERE id < 10010;
ROLLBACK TO s;
UPDATE orders SET customer_id = customer_id + 10000;
COMMIT;
BEGIN;
UPDATE customers SET id = id + 100000;
ROLLBACK;
-- bind 20000, 10005
UPDATE customers SET id = $1 WHERE id = $2;
-- bind 7, 'moved', '{10002,9996,10107}'
UPDATE customers SET id = id + $1, name = $2 WHERE id = ANY ($3);
PREPARE p AS UPDATE customers SET id = id + $1 WHERE name = $2;
EXECUTE p (1, 'moved');
DEALLOCATE p;
SELECT * FROM customers ORDER BY id;
SELECT customer_id, id, total FROM orders ORDER BY customer_id, id;
