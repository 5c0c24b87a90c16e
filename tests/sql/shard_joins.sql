-- Joins that one shard key ties together.
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
SELECT c.name, o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 1 ORDER BY o.id;
SELECT c.name, o.id FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.customer_id = 1 ORDER BY o.id;
SELECT c.name, o.id FROM customers c, orders o WHERE o.customer_id = c.id AND c.id = 2 ORDER BY o.id;
SELECT c.name, o.id FROM customers c JOIN orders o ON o.customer_id = c.id AND c.id = 2 ORDER BY o.id;
SELECT c.name, o.id, l.n FROM customers c JOIN orders o ON o.customer_id = c.id JOIN lines l ON l.customer_id = o.customer_id AND l.order_id = o.id WHERE c.id = 7 ORDER BY 2, 3;
SELECT c.name, l.n FROM lines l JOIN orders o ON (l.customer_id, l.order_id) = (o.customer_id, o.id) JOIN customers c ON c.id = l.customer_id WHERE o.customer_id = 7 ORDER BY 2;
SELECT o.id, n FROM orders o JOIN lines l USING (customer_id) WHERE customer_id = 2 ORDER BY 1, 2;
SELECT customer_id, count(*) FROM orders NATURAL JOIN (SELECT customer_id FROM lines WHERE customer_id = 2) l GROUP BY 1;
SELECT c.name, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE c.id = 1 ORDER BY 2;
SELECT c.name, o.id FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND o.total > 115 WHERE c.id = 1 ORDER BY 2;
SELECT c.name, o.id FROM orders o RIGHT JOIN customers c ON o.customer_id = c.id WHERE c.id = 1 ORDER BY 2;
SELECT a.name, b.name FROM customers a JOIN customers b ON a.id = b.id WHERE a.id = 3;
SELECT a.name, b.name FROM customers a, customers b WHERE a.id = 2 AND b.id = 2;
SELECT a.name, b.name FROM customers a, customers b WHERE a.id = 2 AND b.id = 3;
SELECT a.name, b.name FROM customers a CROSS JOIN customers b WHERE a.id = 1 AND b.id = 7;
SELECT l.n, p.name, p.price * l.amount AS sum FROM lines l JOIN products p ON p.id = l.product WHERE l.customer_id = 1 ORDER BY l.order_id, l.n;
SELECT l.n, p.name FROM lines l LEFT JOIN products p ON p.id = l.product AND p.price > 1 WHERE l.customer_id = 1 ORDER BY l.order_id, l.n;
SELECT p.name, l.n FROM products p JOIN lines l ON p.id = l.product WHERE l.customer_id = 2 ORDER BY 1, 2;
SELECT p.name, l.n FROM products p LEFT JOIN lines l ON p.id = l.product AND l.customer_id = 2 ORDER BY 1, 2;
SELECT name, total FROM customers c, LATERAL (SELECT total FROM orders o WHERE o.customer_id = c.id ORDER BY total LIMIT 1) t WHERE c.id = 1;
SELECT name, id FROM customers c CROSS JOIN LATERAL (SELECT o.id AS oid FROM orders o WHERE o.customer_id = c.id ORDER BY 1 LIMIT 2) t (x) WHERE c.id = 1 ORDER BY x;
SELECT c.name, v.x FROM customers c JOIN (VALUES (1, 'one'), (2, 'two')) AS v (k, x) ON v.k = c.id WHERE c.id = 2;
SELECT c.name, v.x FROM customers c JOIN (VALUES (2, 'two')) AS v (k, x) ON v.k = c.id AND c.id = 2;
SELECT c.name, g FROM customers c, generate_series(1, 3) g WHERE c.id = 1 ORDER BY g;
SELECT c.name, s.total FROM customers c JOIN (SELECT customer_id, sum(total) AS total FROM orders GROUP BY customer_id) s ON s.customer_id = c.id WHERE c.id = 1;
SELECT c.name, s.n FROM customers c JOIN (SELECT customer_id AS k, count(*) AS n FROM orders WHERE customer_id = 1 GROUP BY 1) s ON s.k = c.id;
SELECT count(*) FROM customers c JOIN orders o ON o.customer_id = c.id AND o.customer_id = 3;
SELECT o.id FROM orders o JOIN customers c ON c.id = o.customer_id WHERE c.id = 1 AND o.placed BETWEEN '2024-01-01' AND '2024-01-31' FOR UPDATE OF o;
SELECT c1.name FROM customers c1 JOIN customers c2 ON c1.id = c2.id JOIN customers c3 ON c2.id = c3.id WHERE c3.id = 7;
SELECT n.body, p.name FROM notes n JOIN products p ON p.id = n.id ORDER BY 1;
SELECT x.id FROM (customers c JOIN orders o ON o.customer_id = c.id) AS x (cid, cname, region, customer_id, id) WHERE x.cid = 2 ORDER BY 1;
-- unordered
SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id;
-- unordered
SELECT * FROM customers c, orders o WHERE c.id = 1;
-- unordered
SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id WHERE o.id = 11;
-- unordered
SELECT * FROM customers c LEFT JOIN orders o ON o.customer_id = c.id AND c.id = 1;
-- unordered
SELECT * FROM customers c FULL JOIN orders o ON o.customer_id = c.id AND c.id = 1 AND o.customer_id = 1;
-- unordered
SELECT * FROM customers a, customers b WHERE a.id = 1 AND b.id = 2;
-- unordered
SELECT * FROM customers c JOIN orders o ON o.id = c.id WHERE c.id = 1;
-- unordered
SELECT * FROM customers c JOIN orders o ON o.customer_id = c.id + 0 WHERE c.id = 1;
-- unordered
SELECT * FROM customers c JOIN orders o ON o.customer_id > c.id WHERE c.id = 1;
-- unordered
SELECT * FROM orders o JOIN notes n ON n.id = o.id WHERE o.customer_id IN (1, 2);
