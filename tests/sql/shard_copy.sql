-- COPY TO STDOUT of rows of several shards.
CREATE TABLE notes (id int PRIMARY KEY, body text COLLATE "C", at timestamptz, price numeric(10,2), flags bool[], raw bytea);
CREATE TABLE plain (k int NOT NULL, v text COLLATE "C");
CREATE TABLE nothing_there (k int PRIMARY KEY, v text);
CREATE TABLE fixed (id int PRIMARY KEY, name text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.notes', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.plain', 'k')
-- setup pgweave: SELECT pgweave.shard_table(':schema.nothing_there', 'k')
-- setup pgweave: SELECT pgweave.reference_table(':schema.fixed')
INSERT INTO fixed VALUES (1, 'one'), (2, 'two');
INSERT INTO notes VALUES (1, E'tab\there', '2024-01-01 10:00+00', 1.50, '{t,f}', '\x00ff');
INSERT INTO notes VALUES (2, E'line\nfeed', NULL, NULL, '{}', NULL);
INSERT INTO notes VALUES (3, 'comma, "quoted"', '2024-01-01 11:00+00', 3, NULL, '\x5c');
INSERT INTO notes VALUES (4, E'back\\slash\r', '-infinity', 4, '{NULL}', '');
INSERT INTO notes VALUES (5, '\N', NULL, 5, NULL, NULL);
INSERT INTO notes VALUES (6, '', NULL, 'NaN', NULL, NULL);
INSERT INTO notes VALUES (7, '\.', NULL, 7, NULL, NULL);
INSERT INTO notes VALUES (8, E'\b\f\v\x01|é', NULL, 8, NULL, NULL);
INSERT INTO notes VALUES (9, NULL, '2024-01-01 09:00+00', 9, NULL, NULL);
INSERT INTO notes VALUES (10, 'nil', NULL, 9, NULL, NULL);
INSERT INTO plain VALUES (1, 'a');
INSERT INTO plain VALUES (2, 'b');
INSERT INTO plain VALUES (3, NULL);
-- Each shard's own stream.
-- unordered
COPY notes TO STDOUT;
-- unordered
COPY notes (price, id) TO STDOUT WITH (FORMAT csv, DELIMITER ';', NULL 'nil', FORCE_QUOTE (price));
-- unordered
COPY plain TO STDOUT WITH (FORMAT csv);
-- unordered
COPY (SELECT id, upper(body) FROM notes WHERE id > 1) TO STDOUT;
-- unordered
COPY plain TO STDOUT WITH (ENCODING 'UTF8');
-- unordered
COPY (SELECT id FROM notes WHERE id IN (1, 2, 3)) TO STDOUT;
-- unordered
COPY (SELECT k FROM plain FOR UPDATE) TO STDOUT;
COPY nothing_there TO STDOUT;
COPY nothing_there TO STDOUT CSV HEADER;
COPY nothing_there TO STDOUT BINARY;
COPY (SELECT * FROM notes WHERE id = 1) TO STDOUT (FORMAT csv, HEADER);
COPY (SELECT * FROM notes WHERE id < 0) TO STDOUT (FORMAT csv, HEADER);
-- Rows that the router merges.
COPY (SELECT * FROM notes ORDER BY id) TO STDOUT;
COPY (SELECT * FROM notes ORDER BY id) TO STDOUT CSV;
COPY (SELECT * FROM notes ORDER BY id DESC LIMIT 3 OFFSET 1) TO STDOUT CSV HEADER;
COPY (SELECT * FROM notes ORDER BY id) TO STDOUT BINARY;
COPY (SELECT * FROM notes ORDER BY id) TO STDOUT (FORMAT csv, FORCE_QUOTE *, NULL 'nil');
COPY (SELECT * FROM notes ORDER BY id) TO STDOUT (FORMAT csv, FORCE_QUOTE (at, id), QUOTE '''', ESCAPE '\', DELIMITER '|', HEADER on);
COPY (SELECT * FROM notes ORDER BY id) TO STDOUT (DELIMITER '|', NULL '');
COPY (SELECT * FROM notes ORDER BY id) TO STDOUT (DELIMITER E'\x01');
COPY (SELECT body FROM notes ORDER BY id) TO STDOUT (FORMAT csv);
COPY (SELECT body FROM notes ORDER BY id) TO STDOUT (FORMAT csv, NULL 'nil');
COPY (SELECT body FROM notes ORDER BY id) TO STDOUT (FORMAT csv, ESCAPE '''');
COPY (SELECT id AS "Odd, name", body FROM notes ORDER BY price, id) TO STDOUT (FORMAT csv, HEADER true);
COPY (SELECT body AS "\." FROM notes ORDER BY id LIMIT 1) TO STDOUT (FORMAT csv, HEADER);
COPY (SELECT id, at FROM notes ORDER BY at, id) TO STDOUT BINARY;
COPY (SELECT body, id FROM notes ORDER BY at NULLS FIRST, id DESC) TO STDOUT;
COPY (SELECT DISTINCT price FROM notes ORDER BY price) TO STDOUT;
COPY (SELECT id FROM notes WHERE at < now() ORDER BY id) TO STDOUT;
COPY (SELECT at IS NULL AS missing, count(*), sum(price) FROM notes GROUP BY 1 ORDER BY 1) TO STDOUT CSV HEADER;
COPY (SELECT at IS NULL, count(*), min(body) FROM notes GROUP BY 1 ORDER BY 1) TO STDOUT BINARY;
COPY (SELECT count(*), max(price) FROM notes) TO STDOUT;
COPY (SELECT FROM notes ORDER BY id) TO STDOUT;
COPY (SELECT id FROM notes LIMIT 0) TO STDOUT CSV HEADER;
-- Rows of one server.
COPY (SELECT avg(price), count(DISTINCT body) FROM notes WHERE id < 6) TO STDOUT CSV HEADER;
COPY (SELECT id, row_number() OVER (ORDER BY id DESC) FROM notes ORDER BY id) TO STDOUT;
COPY (SELECT a.id, b.k, b.v FROM notes a JOIN plain b ON a.price = b.k ORDER BY 1, 2) TO STDOUT BINARY;
COPY (WITH n AS (SELECT id, body FROM notes ORDER BY id LIMIT 4) SELECT n.id, f.name FROM n LEFT JOIN fixed f USING (id) ORDER BY 1) TO STDOUT (FORMAT csv, HEADER);
COPY (SELECT avg(price) FROM notes WHERE at < now() AND id < 6) TO STDOUT;
COPY (TABLE plain UNION ALL SELECT id, name FROM fixed ORDER BY 1, 2) TO STDOUT;
COPY (SELECT body FROM notes WHERE id < 3 ORDER BY body COLLATE "default") TO STDOUT;
-- Settings are seen.
SET datestyle = 'SQL, DMY';
SET bytea_output = 'escape';
COPY (SELECT id, at, raw FROM notes ORDER BY id) TO STDOUT;
-- unordered
COPY notes TO STDOUT;
RESET datestyle;
RESET bytea_output;
-- What a block has done is seen.
BEGIN;
INSERT INTO plain VALUES (4, 'new');
-- unordered
COPY plain TO STDOUT;
COPY (SELECT * FROM plain ORDER BY k) TO STDOUT;
COPY (SELECT count(DISTINCT v) FROM plain) TO STDOUT;
ROLLBACK;
-- unordered
COPY plain TO STDOUT;
-- Errors.
COPY (SELECT nothing FROM notes ORDER BY id) TO STDOUT;
COPY notes (nothing) TO STDOUT;
COPY (SELECT 1 / (k - k) FROM plain WHERE k = k) TO STDOUT;
COPY (SELECT k, 1 / (k - 2) FROM plain WHERE k = 2 OR false ORDER BY k) TO STDOUT;
COPY (SELECT count(DISTINCT v) / 0 FROM plain) TO STDOUT;
COPY (SELECT k FROM plain ORDER BY k) TO STDOUT (FORMAT csv, FORCE_QUOTE (other));
COPY (SELECT k FROM plain ORDER BY k) TO STDOUT (FORMAT nonsense);
COPY (SELECT k FROM plain ORDER BY k) TO STDOUT (DELIMITER 'ab');
COPY (SELECT k FROM plain ORDER BY k) TO STDOUT (DELIMITER 'a');
COPY (SELECT k FROM plain ORDER BY k) TO STDOUT (QUOTE 'a');
-- expect-refusal 0A000
COPY plain TO '/tmp/plain';
SELECT count(*) FROM plain;
COPY (SELECT k FROM plain ORDER BY k) TO STDOUT; SELECT count(*) FROM plain; COPY (SELECT max(k) FROM plain) TO STDOUT;
