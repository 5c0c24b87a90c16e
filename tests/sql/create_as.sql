-- Tables made of queries whose rows are on several shards, or elsewhere than the table.
CREATE TABLE sources (id bigint PRIMARY KEY, name varchar(20), price numeric(8,2), tags text[], made timestamptz, c text COLLATE "C", note text);
CREATE TABLE parts (source bigint, n int, at date, PRIMARY KEY (source, n));
CREATE TABLE kinds (id int PRIMARY KEY, title text);
CREATE TABLE single (id int PRIMARY KEY, title text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.sources', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.parts', 'source', colocate_with => ':schema.sources')
-- setup pgweave: SELECT pgweave.reference_table(':schema.kinds')
INSERT INTO sources SELECT i, 'name ' || i, i * 1.25, ARRAY['a', 'b\c', NULL], '2024-01-01 10:00+00'::timestamptz + i * interval '1 day', chr(96 + i), E'tab\there\nand \\N' FROM generate_series(1, 20) i;
INSERT INTO parts SELECT i, n, '2024-01-01'::date + n FROM generate_series(1, 20) i, generate_series(1, 3) n WHERE (i + n) % 2 = 0;
INSERT INTO kinds VALUES (1, 'one'), (2, 'two');
INSERT INTO single VALUES (1, 'uno');
CREATE TABLE copied AS SELECT * FROM sources;
SELECT * FROM copied ORDER BY id;
SELECT attname, format_type(atttypid, atttypmod), attcollation::regcollation, attnotnull FROM pg_attribute WHERE attrelid = 'copied'::regclass AND attnum > 0 ORDER BY attnum;
CREATE TABLE copied AS SELECT * FROM sources;
CREATE TABLE IF NOT EXISTS copied AS SELECT * FROM sources;
SELECT count(*) FROM copied;
CREATE TABLE counted (how_many, kind) AS SELECT count(*), id % 3 FROM sources GROUP BY 2 WITH DATA;
SELECT * FROM counted ORDER BY kind;
CREATE TABLE emptied AS SELECT s.*, p.n, p.at FROM sources s JOIN parts p ON p.source = s.id WITH NO DATA;
SELECT count(*) FROM emptied;
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'emptied'::regclass AND attnum > 0 ORDER BY attnum;
CREATE TABLE IF NOT EXISTS emptied AS SELECT 1 FROM sources WITH NO DATA;
CREATE TABLE joined WITH (fillfactor = 70) AS (SELECT s.name, k.title, avg(p.n) AS a, stddev(s.price) OVER (ORDER BY s.name) AS "with" FROM sources s JOIN parts p ON p.source = s.id JOIN kinds k ON k.id = p.n GROUP BY s.name, k.title, s.price);
SELECT name, title, a, round("with", 3) FROM joined ORDER BY name, title;
CREATE TABLE ranked AS WITH t AS (SELECT id, rank() OVER (ORDER BY price DESC) AS r FROM sources) SELECT * FROM t WHERE r < 5 ORDER BY r;
SELECT * FROM ranked ORDER BY r;
CREATE TABLE one_key AS SELECT * FROM sources WHERE id = 7;
SELECT id, name, note FROM one_key;
CREATE TABLE of_single AS SELECT * FROM single;
SELECT * FROM of_single;
CREATE TABLE united AS SELECT id, name FROM sources WHERE id < 3 UNION ALL SELECT id, title FROM kinds;
SELECT * FROM united ORDER BY id, name;
CREATE TABLE nothing AS SELECT FROM sources WHERE id < 5;
SELECT count(*) FROM nothing;
CREATE TABLE none AS SELECT id, name FROM sources WHERE id > 500;
SELECT count(*) FROM none;
-- Without a result.
CREATE TABLE wrong AS SELECT 1 / (id - 5) FROM sources;
SELECT count(*) FROM pg_class WHERE relname = 'wrong' AND relnamespace = ':schema'::regnamespace;
CREATE TABLE wrong AS SELECT nothing FROM sources;
CREATE TABLE wrong AS SELECT id, id FROM sources;
CREATE TABLE wrong (a, b) AS SELECT id FROM sources;
-- Within a transaction.
BEGIN;
INSERT INTO sources (id, name) VALUES (100, 'new');
CREATE TABLE within AS SELECT id, name FROM sources WHERE id > 18;
SELECT * FROM within ORDER BY id;
INSERT INTO within VALUES (0, 'more');
COMMIT;
SELECT * FROM within ORDER BY id;
BEGIN;
CREATE TABLE undone AS SELECT id FROM sources;
SELECT count(*) FROM undone;
ROLLBACK;
SELECT count(*) FROM pg_class WHERE relname = 'undone' AND relnamespace = ':schema'::regnamespace;
-- Temporary tables.
CREATE TEMP TABLE passing AS SELECT id, name FROM sources WHERE id < 10;
SELECT * FROM passing ORDER BY id;
INSERT INTO passing VALUES (0, 'zero');
SELECT count(*) FROM passing;
CREATE TEMP TABLE IF NOT EXISTS passing AS SELECT id FROM sources;
CREATE TEMP TABLE passing AS SELECT id FROM sources;
CREATE TEMPORARY TABLE short ON COMMIT PRESERVE ROWS AS SELECT count(*) AS n FROM sources;
SELECT * FROM short;
DROP TABLE short;
BEGIN;
CREATE TEMP TABLE brief ON COMMIT DROP AS SELECT max(id) FROM sources;
SELECT * FROM brief;
COMMIT;
SELECT * FROM brief;
DROP TABLE passing;
-- Refused.
-- expect-refusal 0A000
CREATE MATERIALIZED VIEW gathered AS SELECT count(*) FROM sources;
-- expect-refusal 0A000
SELECT id INTO taken FROM sources;
-- What was made can be used like any other table.
DROP TABLE copied, counted, emptied, joined, ranked, one_key, of_single, united, nothing, none, within;
