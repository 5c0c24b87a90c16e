-- The shard key comes as a parameter, in text and in binary, with a declared type and without.
-- script only extended
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
-- bind 1
SELECT * FROM customers WHERE id = $1;
-- bind 1::int8
SELECT * FROM customers WHERE id = $1;
-- bind 2::int4
SELECT * FROM customers WHERE id = $1;
-- bind 7::int2
SELECT * FROM customers WHERE id = $1;
-- bind 7::text
SELECT * FROM customers WHERE id = $1;
-- bind '2'
SELECT * FROM customers WHERE id = $1::int;
-- bind 2::text
SELECT * FROM customers WHERE id = $1::bigint;
-- bind 2::int4
SELECT * FROM customers WHERE id = $1::bigint;
-- bind 40000
SELECT * FROM customers WHERE id = $1::smallint;
-- bind NULL
SELECT * FROM customers WHERE id = $1;
-- bind NULL::int8
SELECT * FROM customers WHERE id = $1;
-- bind x
SELECT * FROM customers WHERE id = $1;
-- bind ' 2 '
SELECT * FROM customers WHERE id = $1;
-- bind 2.0::numeric
SELECT * FROM customers WHERE id = $1;
-- bind 2, 3
SELECT * FROM customers WHERE id IN ($1, $2) ORDER BY id;
-- bind 2::int8, 3::int8, 2::int8
SELECT * FROM customers WHERE id IN ($1, $2, $3) ORDER BY id;
-- bind '{2,3}'
SELECT * FROM customers WHERE id = ANY ($1) ORDER BY id;
-- bind '2 3'::int8[]
-- only binary
SELECT * FROM customers WHERE id = ANY ($1) ORDER BY id;
-- bind '2 3'::int4[]
-- only binary
SELECT * FROM customers WHERE id = ANY ($1) ORDER BY id;
-- bind '{2,3}'
SELECT * FROM customers WHERE id = ANY ($1::bigint[]) ORDER BY id;
-- bind '{}'
SELECT * FROM customers WHERE id = ANY ($1);
-- bind '{NULL}'
SELECT * FROM customers WHERE id = ANY ($1);
-- bind NULL
SELECT * FROM customers WHERE id = ANY ($1);
-- bind '{2,NULL,3}'
SELECT * FROM customers WHERE id = ANY ($1) ORDER BY id;
-- bind 1, north
SELECT name FROM customers WHERE region = $2 AND id = $1;
-- bind north, 1
SELECT name FROM customers WHERE region = $1 AND id = $2;
-- bind 1, 11
SELECT o.total, l.n FROM orders o JOIN lines l ON l.customer_id = o.customer_id AND l.order_id = o.id WHERE o.customer_id = $1 AND o.id = $2 ORDER BY l.n;
-- bind 1, 1
SELECT o.id, l.n FROM orders o, lines l WHERE o.customer_id = $1 AND l.customer_id = $2 AND l.order_id = o.id ORDER BY 1, 2;
-- bind 1, 2
SELECT id FROM orders WHERE customer_id = $1 ORDER BY id LIMIT $2;
-- bind 1, 2, 1
SELECT id FROM orders WHERE customer_id = $1 ORDER BY id LIMIT $2::int OFFSET $3;
-- bind 50::int8, new
INSERT INTO customers (id, name) VALUES ($1, $2) RETURNING *;
-- bind 50, again
INSERT INTO customers (id, name) VALUES ($1, $2);
-- bind 50, changed
UPDATE customers SET name = $2 WHERE id = $1 RETURNING name;
-- bind changed twice, 50
UPDATE customers SET name = $1 WHERE id = $2;
-- bind 50::int4
DELETE FROM customers WHERE id = $1 RETURNING *;
-- bind NULL, x
INSERT INTO customers (id, name) VALUES ($1, $2);
-- bind 60, 61, 62.5
INSERT INTO orders (customer_id, id, total) VALUES ($1, $2, $3), ($1, $3, $3) RETURNING id;
-- bind 60
DELETE FROM orders WHERE customer_id = $1;
-- bind 1
WITH c AS (SELECT * FROM customers WHERE id = $1) SELECT c.name, o.id FROM c JOIN orders o ON o.customer_id = c.id ORDER BY o.id;
-- bind 1, 2
-- limit 2
SELECT * FROM lines WHERE customer_id = $1 AND n < $2 ORDER BY order_id;
-- bind 7
-- limit 1
SELECT id FROM orders WHERE customer_id = $1 ORDER BY id;
-- bind 1
SELECT $1::text, name FROM customers WHERE id = $1::bigint;
-- bind 1
SELECT $1, name FROM customers WHERE id = $1;
-- bind 1::int8
SELECT $1 + 1, name FROM customers WHERE id = $1;
-- bind 1
SELECT name FROM customers WHERE id = $2;
-- unordered
-- bind 1, 2
SELECT * FROM customers WHERE id IN ($1, $2);
-- unordered
-- bind '{1,2}'
SELECT * FROM customers WHERE id = ANY ($1);
-- unordered
-- bind 1, 2
SELECT * FROM orders o, lines l WHERE o.customer_id = $1 AND l.customer_id = $2;
-- bind 1, 2
INSERT INTO customers (id, name) VALUES ($1, 'a'), ($2, 'b') ON CONFLICT DO NOTHING;
