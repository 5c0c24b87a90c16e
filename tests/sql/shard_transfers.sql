-- INSERT … SELECT whose rows are stored elsewhere than they are read.
CREATE TABLE orders (customer_id bigint NOT NULL, id bigint NOT NULL, total numeric(10,2), product int, note text, PRIMARY KEY (customer_id, id));
CREATE TABLE by_product (product int NOT NULL, customer_id bigint, id bigint, total numeric(10,1), made timestamptz DEFAULT '2024-01-01', s serial);
CREATE TABLE sums (product bigint PRIMARY KEY, total numeric CHECK (total < 1000), n bigint, f double precision);
CREATE TABLE words (word varchar(20) PRIMARY KEY, n int, d date, b bytea, a int[]);
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2));
CREATE TABLE notes (id int PRIMARY KEY, body text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.orders', 'customer_id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_product', 'product')
-- setup pgweave: SELECT pgweave.shard_table(':schema.sums', 'product')
-- setup pgweave: SELECT pgweave.shard_table(':schema.words', 'word')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
INSERT INTO products SELECT g, 'product ' || g, g * 1.5 FROM generate_series(1, 6) g;
INSERT INTO notes VALUES (1, 'first'), (2, E'tab\there, back\\slash, line\nbreak'), (3, NULL), (4, '\N');
INSERT INTO orders (customer_id, id, total, product) SELECT g % 10, g, g * 10, g % 6 + 1 FROM generate_series(1, 50) g;
SELECT count(*), sum(total), count(DISTINCT customer_id) FROM orders;
INSERT INTO by_product (product, customer_id, id, total) SELECT product, customer_id, id, total FROM orders;
SELECT product, customer_id, id, total, made FROM by_product ORDER BY id;
SELECT count(DISTINCT s) = count(*) FROM by_product;
INSERT INTO sums SELECT product, sum(total) / 10, count(*), avg(id) FROM orders GROUP BY product;
SELECT * FROM sums ORDER BY product;
INSERT INTO sums SELECT product, 1, 1, 1 FROM orders WHERE product = 3 GROUP BY product;
INSERT INTO sums (product, n) SELECT product + 100, row_number() OVER (ORDER BY product) FROM sums ORDER BY product LIMIT 3;
INSERT INTO sums (product, total) SELECT id + 200, CASE id WHEN 4 THEN 1000 ELSE price END FROM products;
INSERT INTO sums (product, total) SELECT NULLIF(id, 4), 5 FROM products WHERE id > 3;
SELECT * FROM sums ORDER BY product;
INSERT INTO words (word, n) SELECT 'word ' || g, g FROM generate_series(1, 20) g;
INSERT INTO words (word, n, d) SELECT body, id, '2024-02-29' FROM notes WHERE id = 1;
INSERT INTO words (word, n) SELECT body, id FROM notes WHERE id < 2;
INSERT INTO words (word, n) SELECT body, id FROM notes WHERE id <> 2 AND id <> 1;
INSERT INTO words (word, n) SELECT left(body, 15), id FROM notes WHERE id IN (2, 4);
INSERT INTO words (word, b, a) SELECT name, decode(lpad(id::text, 4, '0'), 'hex'), ARRAY[id, NULL, id * 2] FROM products;
-- only simple
INSERT INTO words (word, n) SELECT repeat('x', 21), 1 FROM products WHERE id = 1;
INSERT INTO words (word, n) (SELECT 'union ' || id, id FROM products) UNION ALL (SELECT 'all ' || product, n FROM sums WHERE n IS NOT NULL);
INSERT INTO words (word, d) WITH latest AS (SELECT max(id) AS id FROM orders) SELECT 'latest ' || id, CURRENT_DATE - 10000 FROM latest WHERE false;
INSERT INTO words (word, n) VALUES ('v1', 1), ('v2', 2), ('v3', 3), ('v4', 4) ORDER BY 1 LIMIT 3;
INSERT INTO words SELECT * FROM words WHERE false;
INSERT INTO words (word, n) SELECT word || '+', n + 100 FROM words WHERE n < 5;
SELECT * FROM words ORDER BY word COLLATE "C";
INSERT INTO words (word, nothing) SELECT name, id FROM products;
INSERT INTO words (word, n) SELECT name FROM products;
INSERT INTO words (word, n) SELECT name, id, id FROM products;
INSERT INTO words (word, n) SELECT name, name FROM products;
-- only simple
INSERT INTO words (word, n) SELECT 'z' || id, 1 / (id - 3) FROM products;
INSERT INTO words (word, n) SELECT name, nothing FROM products;
INSERT INTO words (word, d) SELECT 'x' || id, 'no date' FROM products;
-- expect-refusal 0A000
INSERT INTO words (word, n) SELECT 'f' || id, price FROM products;
INSERT INTO words (word, n) SELECT 'f' || id, price::int FROM products;
-- expect-refusal 0A000
INSERT INTO words (word, n) SELECT 'g' || id, id FROM products RETURNING word;
-- expect-refusal 0A000
INSERT INTO words (word, n) SELECT 'f' || id, id FROM products ON CONFLICT DO NOTHING;
SELECT count(*), sum(n) FROM words;

-- Within blocks.
BEGIN;
INSERT INTO orders (customer_id, id, note) SELECT id + 500, id, name FROM products;
INSERT INTO by_product (product, customer_id, id) SELECT id, customer_id, id FROM orders WHERE customer_id > 500;
SELECT product, customer_id, id FROM by_product WHERE customer_id > 500 ORDER BY 1, 2, 3;
SAVEPOINT s;
INSERT INTO words (word, n) SELECT name, id FROM products WHERE id = 3;
ROLLBACK TO s;
INSERT INTO words (word, n) SELECT name || '?', id FROM products;
COMMIT;
BEGIN;
INSERT INTO words (word, n) SELECT name || '??', id FROM products;
ROLLBACK;
SELECT word, n FROM words WHERE word LIKE '%?' ORDER BY 1;
-- only simple
INSERT INTO words (word, n) SELECT 'p' || id, id FROM products; INSERT INTO words (word, n) SELECT 'q' || id, id FROM products; SELECT count(*) FROM words WHERE word LIKE 'q%';

-- Parameters.
-- bind 'a', 3
INSERT INTO words (word, n) SELECT $1 || id, id FROM products WHERE id > $2::int;
-- bind 700, 5
INSERT INTO orders (customer_id, id, note) SELECT id + $1, $2, $2::text FROM products;
-- bind '2024-03-03', 'c'
INSERT INTO words (word, d) SELECT $2::text || id, $1 FROM products;
-- bind 2
INSERT INTO sums (product, n) SELECT customer_id + 1000, count(*) FROM orders WHERE customer_id = $1 GROUP BY customer_id;
PREPARE p (text) AS INSERT INTO words (word, n) SELECT $1 || id, id FROM products WHERE id <> 4;
EXECUTE p ('prepared ');
EXECUTE p ('again ');
DEALLOCATE p;
SELECT * FROM words ORDER BY word COLLATE "C";
SELECT * FROM sums ORDER BY product;
SELECT * FROM orders WHERE customer_id > 500 ORDER BY 1, 2;
-- Values whose text would not be the same value again are not moved.
CREATE TABLE kept (id int PRIMARY KEY, c char(6), t timestamptz, i interval, f double precision, p point, a float8[]);
CREATE TABLE taken (k bigint PRIMARY KEY, c text, v varchar(10), x char(4), t timestamptz, i interval, p point, a float8[]);
-- setup pgweave: SELECT pgweave.shard_table(':schema.kept', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.taken', 'k')
INSERT INTO kept SELECT g, 'ab', '2024-06-01 12:00+00', '1 mon -2 days +03:00', 0.1::float8 + 0.2, point(0.1::float8 + 0.2, 1), ARRAY[0.1::float8 + 0.2] FROM generate_series(1, 6) g;
INSERT INTO taken (k, x) SELECT id + 50, c FROM kept;
-- expect-refusal 0A000
INSERT INTO taken (k, c) SELECT id + 100, c FROM kept;
-- expect-refusal 0A000
INSERT INTO taken (k, v) SELECT id + 100, c FROM kept;
INSERT INTO taken (k, c, v) SELECT id + 100, c::text, c::varchar FROM kept;
INSERT INTO taken (k, t, i, p, a) SELECT id + 200, t, i, p, a FROM kept;
-- expect-refusal 0A000
INSERT INTO taken (k, t) SELECT id + 300, 'now' FROM kept;
SET datestyle = 'SQL, DMY';
SET timezone = 'Asia/Kolkata';
-- expect-refusal 0A000
INSERT INTO taken (k, t) SELECT id + 400, t FROM kept;
-- expect-refusal 0A000
UPDATE kept SET id = id + 1000;
INSERT INTO taken (k, c, t) SELECT id + 450, 'x', '01/02/2024' FROM kept WHERE id < 4;
RESET datestyle;
RESET timezone;
SET intervalstyle = 'sql_standard';
-- expect-refusal 0A000
INSERT INTO taken (k, i) SELECT id + 500, i FROM kept;
RESET intervalstyle;
SET extra_float_digits = -5;
-- expect-refusal 0A000
INSERT INTO taken (k, p) SELECT id + 600, p FROM kept;
-- expect-refusal 0A000
INSERT INTO taken (k, a) SELECT id + 600, a FROM kept;
RESET extra_float_digits;
UPDATE kept SET id = id + 2000 WHERE id < 3;
SELECT * FROM taken ORDER BY k;
SELECT * FROM kept ORDER BY id;
