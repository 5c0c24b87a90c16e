-- INSERT of rows that lie on several shards.
CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, region text DEFAULT 'none', made timestamptz);
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2), placed date, PRIMARY KEY (customer_id, id));
CREATE TABLE words (word text PRIMARY KEY, n int CHECK (n < 100));
CREATE TABLE serials (k int NOT NULL, s serial, i int GENERATED ALWAYS AS IDENTITY, d int DEFAULT 7, PRIMARY KEY (k, s));
CREATE TABLE pairs (a int, b text, v int, PRIMARY KEY (a, b));
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE notes (id int PRIMARY KEY, body text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.customers', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id', colocate_with => ':schema.customers')
-- setup pgweave: SELECT pgweave.shard_table(':schema.words', 'word')
-- setup pgweave: SELECT pgweave.shard_table(':schema.serials', 'k')
-- setup pgweave: SELECT pgweave.shard_table(':schema.pairs', ARRAY['a', 'b'])
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
INSERT INTO products VALUES (1, 'bolt', 0.10), (2, 'nut', 0.20), (3, 'gear', 12.50);
INSERT INTO notes VALUES (1, 'first'), (2, 'second');
INSERT INTO customers (id, name) VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e'), (6, 'f'), (7, 'g'), (8, 'h');
INSERT INTO customers (id, name) VALUES (11, 'a'), (12, 'b'), (13, 'c'), (14, 'd'), (15, 'e'), (16, 'f') RETURNING id, name, region;
INSERT INTO customers (name, id) VALUES ('x;)', 21), ('y''(', 22), ($$z$$, '23'), (E'\n', 24::bigint), (DEFAULT || 'x', 25);
INSERT INTO customers (name, id, region) VALUES ('x;)', 21), ('y''(', 22);
INSERT INTO customers (name, id, region) VALUES ('x;)', 21, DEFAULT), ('y''(', 22, 'here'), ($$z$$, '23', NULL), (E'\n', 24::bigint, DEFAULT) RETURNING *;
INSERT INTO customers AS values (id, name) VALUES (31, lower('ABC')), (32, 'a' || 'b'), (33, CASE WHEN true THEN 'yes' END), (34, (SELECT name FROM products WHERE id = 3)) RETURNING values.id, values.name || '!' AS called;
INSERT INTO customers (id, name, made) VALUES (41, 'now', now()), (42, 'now', CURRENT_TIMESTAMP), (43, 'now', transaction_timestamp()), (44, 'now', pg_catalog.now());
SELECT count(DISTINCT made), count(*) FROM customers WHERE name = 'now';
INSERT INTO customers (id, name, made) VALUES (51, 'today', CURRENT_DATE), (52, 'today', CURRENT_DATE), (53, 'today', LOCALTIMESTAMP::date);
SELECT count(DISTINCT made), bool_and(made = CURRENT_DATE) FROM customers WHERE name = 'today';
INSERT INTO customers (id, name) VALUES (61, 'r'), (62, random()::text), (63, gen_random_uuid()::text), (64, clock_timestamp()::text);
INSERT INTO customers (id, name) VALUES (71, current_user), (72, current_setting('server_encoding'));
INSERT INTO orders VALUES (1, 1, 1.115, '2024-01-01'), (2, 1, '2', NULL), (3, 1, 3.999, '2024-03-03'), (1, 2, NULL, NULL), (4, 1, -1, 'infinity') RETURNING *;
INSERT INTO words VALUES ('one', 1), ('two', 2), ('three', 3), ('', 4), ('ünf', 5);
INSERT INTO pairs VALUES (1, 'a', 1), (1, 'b', 2), (2, 'a', 3), (2, 'b', 4), (3, 'c', 5) RETURNING *;
INSERT INTO serials (k) VALUES (1), (2), (3), (4), (5);
INSERT INTO serials (k, s, d) VALUES (1, DEFAULT, 1), (2, DEFAULT, DEFAULT), (6, DEFAULT, 3);
SELECT count(*), count(DISTINCT s), count(DISTINCT i), sum(d) FROM serials;

-- What is wrong with one row undoes all of them.
INSERT INTO customers (id, name) VALUES (101, 'x'), (102, NULL), (103, 'x'), (104, 'x');
INSERT INTO customers (id, name) VALUES (101, 'x'), (1, 'twice'), (103, 'x'), (104, 'x');
INSERT INTO customers (id, name) VALUES (101, 'x'), (102, 'x'), (103, 'x'), (NULL, 'x');
INSERT INTO customers (id, name) VALUES (101, 'x'), (102, 'x'), ('no number', 'x'), (104, 'x');
-- only simple
INSERT INTO customers (id, name) VALUES (101, 'x'), (102, 'x'), (103, 1/0), (104, 'x');
INSERT INTO orders VALUES (101, 1, 1, '2024-01-01'), (102, 1, 1, 'no date'), (103, 1, 1, NULL);
INSERT INTO words VALUES ('four', 4), ('five', 5), ('many', 100), ('six', 6);
INSERT INTO words VALUES ('four', 4), ('five', 5), ('six', 6, 7);
INSERT INTO words VALUES ('four', 4), ('five', nothing), ('six', 6);
INSERT INTO words VALUES ('four', 4), ('five', nofunction(1)), ('six', 6);
INSERT INTO words (word, nothing) VALUES ('four', 4), ('five', 5), ('six', 6);
INSERT INTO words VALUES ('four', generate_series(1, 2)), ('five', 5), ('six', 6);
SELECT count(*) FROM customers WHERE id > 100;
SELECT count(*) FROM words;

-- Conflicts.
INSERT INTO customers (id, name) VALUES (1, 'A'), (201, 'n'), (2, 'B'), (202, 'n'), (203, 'n'), (3, 'C'), (204, 'n') ON CONFLICT DO NOTHING RETURNING id;
INSERT INTO customers (id, name) VALUES (252, 'm'), (8, 'H'), (205, 'm'), (7, 'G'), (251, 'm'), (204, 'm'), (6, 'F'), (206, 'm'), (5, 'E'), (250, 'm'), (203, 'm'), (249, 'm'), (4, 'D'), (207, 'm') ON CONFLICT (id) DO NOTHING RETURNING *, id + 1 AS next;
INSERT INTO words VALUES ('zz', 1), ('one', 1), ('yy', 2), ('two', 2), ('xx', 3), ('three', 3), ('ww', 4), ('', 4), ('vv', 5), ('uu', 6) ON CONFLICT (word) DO NOTHING RETURNING(word);
INSERT INTO pairs VALUES (9, 'a', 1), (1, 'b', 2), (8, 'a', 3), (2, 'b', 4), (7, 'c', 5), (6, 'c', 5) ON CONFLICT DO NOTHING RETURNING v, b, a;
INSERT INTO customers (id, name) VALUES (1, 'A'), (211, 'n'), (2, 'B'), (212, 'n'), (213, 'n'), (3, 'C'), (214, 'n') ON CONFLICT (id) DO NOTHING;
INSERT INTO customers (id, name) VALUES (1, 'A'), (221, 'n'), (2, 'B'), (222, 'n'), (223, 'n'), (3, 'C'), (224, 'n') ON CONFLICT (id) DO UPDATE SET name = excluded.name || customers.name, region = 'conflict' RETURNING id, name, region;
INSERT INTO customers AS c (id, name) VALUES (1, 'Z'), (231, 'n'), (2, 'Z'), (3, 'Z') ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE c.id > 1 RETURNING c.*;
INSERT INTO customers (id, name) VALUES (1, 'q'), (2, 'q'), (3, 'q'), (1, 'r') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
INSERT INTO orders VALUES (1, 1, 5, NULL), (2, 1, 6, NULL), (3, 1, 7, NULL), (9, 9, 9, NULL) ON CONFLICT (customer_id, id) DO UPDATE SET total = orders.total + excluded.total;
-- only simple
INSERT INTO orders VALUES (1, 1, 5, NULL), (2, 1, 6, NULL), (3, 1, 7, NULL) ON CONFLICT (total) DO NOTHING;
INSERT INTO customers (id, name) VALUES (1, 'q'), (2, 'q'), (3, 'q') ON CONFLICT (id) DO UPDATE SET made = now();
SELECT count(DISTINCT made) FROM customers WHERE id IN (1, 2, 3);
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (1, 'q'), (2, 'q'), (3, 'q') ON CONFLICT (id) DO UPDATE SET id = excluded.id + 1;

-- With a query beside the rows.
WITH p AS (SELECT max(price) AS price FROM products) INSERT INTO orders SELECT 77, 1, price, NULL FROM p;
WITH p AS (SELECT max(price) AS price FROM products) INSERT INTO orders VALUES (78, 1, (SELECT price FROM p), NULL), (79, 1, (SELECT price FROM p), NULL), (80, 1, 0, NULL) RETURNING *;
-- expect-refusal 0A000
INSERT INTO orders VALUES (81, 1, (SELECT count(*) FROM customers), NULL), (82, 1, 0, NULL), (83, 1, 0, NULL), (84, 1, 0, NULL);
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (81, (SELECT body FROM notes WHERE id = 1)), (82, 'x'), (83, 'x'), (84, 'x');
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (81, (SELECT random()::text)), (82, 'x'), (83, 'x'), (84, 'x');
-- expect-refusal 0A000
INSERT INTO customers (id, name, made) VALUES (81, 'x', 'now'), (82, 'x', NULL), (83, 'x', NULL), (84, 'x', NULL);
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (81, statement_timestamp()::text), (82, 'x'), (83, 'x'), (84, 'x');
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (81 + 1, 'x'), (82, 'x'), (83, 'x'), (84, 'x');
-- expect-refusal 0A000
INSERT INTO customers (id, name) VALUES (81, 'x'), (DEFAULT, 'x'), (83, 'x'), (84, 'x');

-- Within blocks.
BEGIN;
INSERT INTO customers (id, name) VALUES (301, 'a'), (302, 'b'), (303, 'c'), (304, 'd') RETURNING id;
SELECT count(*) FROM customers WHERE id BETWEEN 301 AND 304;
ROLLBACK;
SELECT count(*) FROM customers WHERE id BETWEEN 301 AND 304;
BEGIN;
INSERT INTO customers (id, name) VALUES (301, 'a'), (302, 'b'), (303, 'c'), (304, 'd');
SAVEPOINT s;
INSERT INTO customers (id, name) VALUES (311, 'a'), (312, 'b'), (313, 'c'), (314, 'd');
ROLLBACK TO SAVEPOINT s;
INSERT INTO customers (id, name) VALUES (321, 'a'), (322, 'b'), (323, 'c'), (301, 'd');
SELECT 1;
ROLLBACK TO SAVEPOINT s;
INSERT INTO customers (id, name) VALUES (331, 'a'), (332, 'b'), (333, 'c'), (334, 'd');
COMMIT;
SELECT id FROM customers WHERE id > 300 ORDER BY id;
BEGIN;
INSERT INTO customers (id, name) VALUES (341, 'a'), (342, 'b'), (343, 'c'), (301, 'd');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO customers (id, name) VALUES (351, 'a'), (352, 'b'), (353, 'c'), (354, 'd');
COMMIT;
BEGIN READ ONLY;
INSERT INTO customers (id, name) VALUES (361, 'a'), (362, 'b'), (363, 'c'), (364, 'd');
ROLLBACK;
SELECT count(*) FROM customers WHERE id > 340;
-- only simple
INSERT INTO customers (id, name) VALUES (401, 'a'), (402, 'b'), (403, 'c'); INSERT INTO customers (id, name) VALUES (411, 'a'), (412, 'b'), (413, 'c') RETURNING id; SELECT count(*) FROM customers WHERE id > 400;
-- only simple
INSERT INTO customers (id, name) VALUES (421, 'a'), (422, 'b'), (423, 'c'); INSERT INTO customers (id, name) VALUES (431, 'a'), (432, 'b'), (401, 'c');
SELECT count(*) FROM customers WHERE id > 420;
-- only simple
SELECT 'é'; INSERT INTO words VALUES ('four', 4), ('five', 'x'), ('six', 6);

-- Parameters.
-- bind 501, 'a', 502, 'b', 503, 'c', 504, 'd'
INSERT INTO customers (id, name) VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8) RETURNING id, name;
-- bind 511::int8, 'a'::text, 512::int8, 'b'::text, 513::int8, 'c'::text
INSERT INTO customers (id, name) VALUES ($1, $2), ($3, $4), ($5, $6) RETURNING id, name;
-- bind 521::int4, 'same', 522::int4, 523::int4
INSERT INTO customers (id, name, region) VALUES ($1, $2, $2), ($3, $2, 'own'), ($4, $2, $2) RETURNING id, name, region;
-- bind 531, NULL, 532, 'b', 533, 'c'
INSERT INTO customers (id, region, name) VALUES ($1, $2, 'n'), ($3, $4, 'n'), ($5, $6, 'n') RETURNING id, region;
-- bind NULL, 'a', 541, 'b', 542, 'c', 543, 'd'
INSERT INTO customers (id, name) VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8) RETURNING id, name;
-- bind 501, 'a', 541, 'b', 542, 'c', 543, 'd'
INSERT INTO customers (id, name) VALUES ($1, $2), ($3, $4), ($5, $6), ($7, $8) RETURNING id, name;
-- bind 701, 1, 702, 2, 703, 3, 704, 4
INSERT INTO customers (id, name) VALUES ($1, 'x'), ($2, 'x'), ($3, 'x'), ($4, 'x'), ($5, 'x'), ($6, 'x'), ($7, 'x'), ($8, 'x') ON CONFLICT DO NOTHING RETURNING name, id;
-- bind 551, 552, 553, 'x', 'late'
INSERT INTO customers (id, name, made) VALUES ($1, $4, now()), ($2, $4, now()), ($3, $4, now()) ON CONFLICT (id) DO UPDATE SET name = $5 RETURNING id, name;
-- bind 551, 552, 554, 'x', 'late'
INSERT INTO customers (id, name, made) VALUES ($1, $4, now()), ($2, $4, now()), ($3, $4, now()) ON CONFLICT (id) DO UPDATE SET name = $5 RETURNING id, name;
-- bind 1, '10.5', '2024-05-05', 2, '11.5', NULL, 3, NULL, '2024-05-06'
INSERT INTO orders (id, customer_id, total, placed) VALUES (600, $1, $2, $3), (600, $4, $5, $6), (600, $7, $8, $9) RETURNING *;
SELECT count(*), count(DISTINCT made) FROM customers WHERE id BETWEEN 551 AND 570;

-- Prepared by SQL.
PREPARE many (bigint, bigint, bigint, text) AS INSERT INTO customers (id, name) VALUES ($1, $4), ($2, $4), ($3, $4);
EXECUTE many (601, 602, 603, 'p');
EXECUTE many (611, 611 + 1, 613, 'p');
EXECUTE many (621, 601, 623, 'p');
PREPARE returning_many AS INSERT INTO customers (id, name) VALUES ($1, $4), ($2, $4), ($3, $4) RETURNING id, name;
EXECUTE returning_many (631, 632, 633, 'p');
DEALLOCATE ALL;
SELECT id FROM customers WHERE name = 'p' ORDER BY id;
SELECT id, name, region FROM customers WHERE name NOT LIKE '%-%' AND name NOT LIKE '0.%' ORDER BY id;
SELECT * FROM orders ORDER BY customer_id, id;
SELECT * FROM words ORDER BY n, word COLLATE "C";
