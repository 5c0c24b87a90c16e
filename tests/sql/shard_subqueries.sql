-- Subqueries, in each place where one may stand.
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
SELECT * FROM (SELECT * FROM customers) c WHERE c.id = 1;
SELECT * FROM (SELECT * FROM customers WHERE id = 1) c;
SELECT * FROM (SELECT id AS k, name FROM customers) c WHERE k = 2;
SELECT * FROM (SELECT id, name FROM customers WHERE region = 'north' ORDER BY name LIMIT 5) c WHERE c.name > '' AND id = 1 AND 1 = 2;
SELECT * FROM (SELECT customer_id, sum(total) AS s FROM orders GROUP BY customer_id) x WHERE customer_id = 1;
SELECT * FROM (SELECT DISTINCT customer_id FROM orders) x WHERE customer_id = 1;
SELECT name FROM customers WHERE id = 1 AND EXISTS (SELECT 1 FROM orders WHERE orders.customer_id = customers.id);
SELECT name FROM customers WHERE id = 1 AND EXISTS (SELECT 1 FROM orders WHERE orders.customer_id = 1 AND total > 1000);
SELECT name FROM customers WHERE id = 1 AND NOT EXISTS (SELECT FROM orders o WHERE o.customer_id = customers.id AND o.total IS NULL);
SELECT name FROM customers WHERE id = 1 AND id IN (SELECT customer_id FROM orders WHERE customer_id = 1);
SELECT name FROM customers c WHERE id = 1 AND 13 IN (SELECT id FROM orders o WHERE o.customer_id = c.id);
SELECT name, (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) FROM customers c WHERE c.id = 7;
SELECT name, (SELECT max(total) FROM orders WHERE customer_id = 7) FROM customers WHERE id = 7;
SELECT (SELECT name FROM customers WHERE id = 2), (SELECT name FROM customers WHERE id = 3);
SELECT (SELECT count(*) FROM orders WHERE customer_id = 2);
SELECT id FROM orders WHERE customer_id = 1 AND total = (SELECT max(total) FROM orders WHERE customer_id = 1);
SELECT id FROM orders o WHERE customer_id = 1 AND total >= ALL (SELECT total FROM orders i WHERE i.customer_id = o.customer_id AND total IS NOT NULL);
SELECT ARRAY(SELECT id FROM orders WHERE customer_id = 1 ORDER BY id);
SELECT name FROM customers WHERE id = 1 ORDER BY (SELECT count(*) FROM lines WHERE customer_id = 1);
SELECT count(*) FROM orders WHERE customer_id = 2 GROUP BY placed > '2024-02-01' HAVING count(*) < (SELECT count(*) FROM lines WHERE customer_id = 2) ORDER BY 1;
SELECT * FROM (SELECT * FROM (SELECT * FROM customers) a) b WHERE id = 3;
SELECT * FROM (SELECT c.id, o.id AS oid FROM customers c JOIN orders o ON c.id = o.customer_id) x WHERE x.id = 3 ORDER BY oid;
SELECT name FROM products WHERE id IN (SELECT product FROM lines WHERE customer_id = 1) ORDER BY id;
SELECT name, (SELECT sum(amount) FROM lines WHERE customer_id = 1 AND product = p.id) FROM products p ORDER BY id;
SELECT l.n FROM lines l WHERE l.customer_id = 1 AND l.product = (SELECT id FROM products WHERE name = 'nut');
SELECT id, count(*) OVER () FROM (SELECT * FROM orders WHERE customer_id = 3) o ORDER BY id;
SELECT name FROM customers WHERE (id, region) = (2, 'south');
SELECT name FROM customers WHERE (id, region) IN ((2, 'south'), (3, 'north')) ORDER BY 1;
-- unordered
SELECT name FROM customers WHERE id = (SELECT 2);
SELECT body FROM notes WHERE id = (SELECT id FROM products WHERE name = 'bolt');
SELECT * FROM (SELECT * FROM customers ORDER BY name LIMIT 1) c WHERE id = 1;
SELECT * FROM (SELECT id, row_number() OVER (ORDER BY name) FROM customers) c WHERE id = 1;
-- unordered
SELECT * FROM (SELECT max(id) AS id FROM customers) c WHERE id = 1;
-- unordered
SELECT name FROM customers WHERE EXISTS (SELECT 1 FROM orders WHERE customer_id = 1);
-- unordered
SELECT name FROM customers WHERE id = 1 AND EXISTS (SELECT 1 FROM orders);
-- unordered
SELECT name, (SELECT count(*) FROM orders) FROM customers WHERE id = 1;
-- unordered
SELECT name FROM customers WHERE id IN (SELECT customer_id FROM orders WHERE customer_id = 1 OR total > 5);
-- unordered
SELECT id % 10 = 3, id = 5 FROM customers;
-- unordered
SELECT CASE WHEN id = 5 THEN 1 END FROM customers;
SELECT name FROM customers ORDER BY id = 2, id;
-- unordered
SELECT count(*) FILTER (WHERE id = 5) FROM customers;
