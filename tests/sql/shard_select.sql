-- One table, one shard: the shard key is 1 here and there; 2 and 3 live on the one shard, 1 and 7 on the other.
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
SELECT * FROM customers WHERE id = 1;
SELECT * FROM customers WHERE id = 2;
SELECT * FROM customers WHERE id = 1000;
SELECT * FROM customers WHERE 1 = id;
SELECT name FROM customers c WHERE c.id = 7;
SELECT name FROM customers WHERE id = 1 AND region = 'north';
SELECT name FROM customers WHERE id = 1 AND region = 'south';
SELECT name FROM customers WHERE (id = 1) AND (region = 'north' OR region = 'south');
SELECT name FROM customers WHERE id = '1';
SELECT name FROM customers WHERE id = 1::int;
SELECT name FROM customers WHERE id = 1::smallint AND true;
SELECT name FROM customers WHERE id = '7'::bigint;
SELECT name FROM customers WHERE id = CAST('7' AS bigint);
-- expect-refusal 0A000
SELECT name FROM customers WHERE id = +1;
SELECT name FROM customers WHERE id = -1;
SELECT name FROM customers WHERE id IN (1);
SELECT name FROM customers WHERE id IN (2, 3) ORDER BY id;
SELECT name FROM customers WHERE id IN (1, 7, 7) ORDER BY id;
SELECT name FROM customers WHERE id = ANY ('{2,3}') ORDER BY id;
SELECT name FROM customers WHERE id = ANY (ARRAY[2, 3]) ORDER BY id;
-- expect-refusal 0A000
SELECT name FROM customers WHERE id = 2 OR id = 3 ORDER BY id;
-- expect-refusal 0A000
SELECT name FROM customers WHERE id = 1 OR id = 1;
SELECT name FROM customers WHERE id = 1 AND id = 2;
SELECT name FROM customers WHERE id = 1 AND id = 7;
SELECT name FROM customers WHERE id = 1 AND id IN (1, 2);
SELECT name FROM customers WHERE id = 1 AND id > 0;
SELECT name FROM customers WHERE id = 1 AND NOT region = 'x';
SELECT * FROM orders WHERE customer_id = 1 ORDER BY id;
SELECT id FROM orders WHERE customer_id = 1 ORDER BY total DESC NULLS LAST, id;
SELECT id FROM orders WHERE customer_id = 1 ORDER BY total NULLS FIRST LIMIT 2 OFFSET 1;
SELECT count(*), sum(total), avg(total), max(placed) FROM orders WHERE customer_id = 7;
SELECT count(*) + 1, coalesce(sum(total), 0), round(avg(total)) FROM orders WHERE customer_id = 1000;
SELECT order_id, count(*), sum(amount) FROM lines WHERE customer_id = 2 GROUP BY order_id ORDER BY order_id;
SELECT order_id AS o, sum(amount) * 2 AS s FROM lines WHERE customer_id = 2 GROUP BY o HAVING sum(amount) > 7 ORDER BY s;
SELECT DISTINCT order_id FROM lines WHERE customer_id = 3 ORDER BY 1;
SELECT DISTINCT ON (order_id) order_id, n FROM lines WHERE customer_id = 3 ORDER BY order_id, n DESC;
SELECT id, rank() OVER (ORDER BY total), sum(total) OVER (ORDER BY id) FROM orders WHERE customer_id = 7 ORDER BY id;
SELECT order_id, sum(amount) FROM lines WHERE customer_id = 1 GROUP BY ROLLUP (order_id) ORDER BY 1;
SELECT string_agg(name, ',') FROM customers WHERE id = 1;
SELECT name FROM customers WHERE id = 1 FOR UPDATE;
SELECT name FROM customers WHERE id = 1 FOR SHARE OF customers SKIP LOCKED;
SELECT c, c.*, c.name FROM customers c WHERE id = 1;
SELECT tableoid::regclass::text, xmin IS NOT NULL FROM customers WHERE id = 1;
SELECT row_to_json(c) FROM customers c WHERE c.id = 2;
SELECT * FROM ONLY customers WHERE id = 2;
SELECT * FROM customers AS k (number, who, where_) WHERE number = 2;
SELECT * FROM :schema.customers WHERE id = 2;
SELECT * FROM :schema.customers WHERE customers.id = 2;
SELECT "id", "name" FROM "customers" WHERE "id" = 2;
SELECT id % 10 = 3 AS x FROM customers WHERE id = 2;
SELECT CASE WHEN id = 5 THEN 'five' ELSE 'other' END FROM customers WHERE id = 2 ORDER BY id = 7;
SELECT name FROM customers WHERE id = 2 LIMIT 1 OFFSET 0;
SELECT 1 FROM customers WHERE id = 2 AND false;
SELECT nothing FROM customers WHERE id = 2;
SELECT 1 / 0 FROM customers WHERE id = 2;
SELECT name FROM customers WHERE id = 'x';
SELECT name FROM customers WHERE id = 99999999999999999999;
SELECT name FROM customers WHERE id = 9223372036854775807;
SELECT name FROM customers WHERE id = '9223372036854775808';
-- expect-refusal 0A000
SELECT name FROM customers WHERE id = true;
SELECT name FROM customers WHERE id = ' 2 ';
SELECT name FROM customers WHERE id = 2.0;
SELECT name FROM customers WHERE id = 2.5;
SELECT name FROM customers WHERE id = NULL;
SELECT name FROM customers WHERE id IN (NULL);
SELECT name FROM customers WHERE id IN (2, NULL);
SELECT name FROM customers WHERE id = ANY ('{}');
SELECT name INTO TEMP kept FROM customers WHERE id = 2;
SELECT * FROM kept;
