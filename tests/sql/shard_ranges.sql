-- Range maps: open and closed ends, some shards only, several columns, joins, and keys that no range covers.
SET TIME ZONE 'UTC';
CREATE TABLE numbers (k int NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.numbers', 'k', by => 'range', shards => array['s1', 's2'], bounds => array[0])
CREATE TABLE parts (k bigint NOT NULL, part int NOT NULL, v numeric, PRIMARY KEY (k, part));
-- setup pgweave: SELECT pgweave.shard_table(':schema.parts', 'k', colocate_with => ':schema.numbers')
CREATE TABLE names (id int PRIMARY KEY, name text);
-- setup pgweave: SELECT pgweave.reference_table(':schema.names')
INSERT INTO names VALUES (1, 'one'), (2, 'two');
INSERT INTO numbers VALUES (-2147483648, 'least');
INSERT INTO numbers VALUES (-1, 'minus one');
INSERT INTO numbers VALUES (0, 'zero');
INSERT INTO numbers VALUES (1, 'one');
-- expect-refusal 0A000
INSERT INTO numbers VALUES (+1, 'sign');
INSERT INTO numbers VALUES ('2', 'two');
INSERT INTO numbers VALUES (2147483647, 'greatest');
INSERT INTO numbers VALUES ('-3'::int, 'cast');
-- expect-refusal 0A000
INSERT INTO numbers VALUES (-3::int, 'sign of a cast');
INSERT INTO numbers VALUES ('-4'::int, 'cast');
INSERT INTO numbers VALUES (CAST('-5' AS bigint), 'cast');
-- bind '-6'
INSERT INTO numbers VALUES ($1, 'bound');
-- bind '7'::int
INSERT INTO numbers VALUES ($1, 'bound');
-- bind '-8'::smallint
INSERT INTO numbers VALUES ($1, 'bound');
-- bind '9'::bigint
INSERT INTO numbers VALUES ($1, 'bound');
INSERT INTO numbers VALUES (10, 'a'), (11, 'b'), (12, 'c');
INSERT INTO numbers VALUES (-10, 'a'), (-11, 'b'), (-12, 'c');
INSERT INTO numbers VALUES (2147483648, 'beyond');
INSERT INTO numbers VALUES (1, 'again');
INSERT INTO numbers VALUES (-1, 'again') ON CONFLICT (k) DO UPDATE SET v = excluded.v || ' and ' || numbers.v RETURNING *;
SELECT * FROM numbers WHERE k = -2147483648;
SELECT * FROM numbers WHERE k = -1;
SELECT * FROM numbers WHERE k = 0;
SELECT * FROM numbers WHERE k = -0;
SELECT * FROM numbers WHERE k = 1;
SELECT * FROM numbers WHERE k = 2.0;
SELECT * FROM numbers WHERE k = 2.5;
SELECT * FROM numbers WHERE k = '-3';
SELECT * FROM numbers WHERE k = '-4'::bigint;
SELECT * FROM numbers WHERE -5 = k;
SELECT * FROM numbers WHERE k = 2147483648;
SELECT * FROM numbers WHERE k = -9223372036854775808;
SELECT * FROM numbers WHERE k IN (10, 11, 2147483647) ORDER BY k;
SELECT * FROM numbers WHERE k IN (-10, -11) ORDER BY k;
SELECT * FROM numbers WHERE k IN (-10, 10) ORDER BY k;
SELECT * FROM numbers WHERE k = ANY ('{10,11,12}') ORDER BY k;
SELECT * FROM numbers WHERE k = ANY (ARRAY[-10, -11]) ORDER BY k;
SELECT * FROM numbers WHERE k = ANY ('{}');
SELECT * FROM numbers WHERE k = ANY ('{NULL,10}');
-- bind '{-10,-12}'
SELECT * FROM numbers WHERE k = ANY ($1) ORDER BY k;
-- bind '{10,12}'::int[]
SELECT * FROM numbers WHERE k = ANY ($1) ORDER BY k;
-- bind NULL
SELECT * FROM numbers WHERE k = $1;
SELECT * FROM numbers WHERE k = NULL;
-- unordered
SELECT * FROM numbers WHERE k > 5;
-- unordered
SELECT * FROM numbers WHERE k BETWEEN 10 AND 12;
SELECT * FROM numbers WHERE k = 10 AND k > 5;
SELECT * FROM numbers WHERE k = 10 AND k < 5;
-- unordered
SELECT * FROM numbers WHERE k = 10 OR k = -10;
INSERT INTO numbers VALUES (NULL, 'null');
-- bind NULL
INSERT INTO numbers VALUES ($1, 'null');
UPDATE numbers SET v = v || '!' WHERE k = -3 RETURNING *;
UPDATE numbers SET v = v || '!' WHERE k IN (10, 11, 12);
UPDATE numbers SET k = k + 1 WHERE k = 10;
UPDATE numbers SET k = 10, v = 'same' WHERE k = 10 RETURNING *;
-- bind '11', 'bound'
UPDATE numbers SET v = $2 WHERE k = $1 RETURNING *;
DELETE FROM numbers WHERE k = -12 RETURNING v;
INSERT INTO parts VALUES (-1, 1, 1.5), (-1, 2, 2.5);
INSERT INTO parts VALUES (1, 1, 10), (1, 2, 20), (2, 1, 30);
SELECT n.v, p.part, p.v FROM numbers n JOIN parts p ON p.k = n.k WHERE n.k = 1 ORDER BY part;
SELECT n.v, sum(p.v) FROM numbers n LEFT JOIN parts p USING (k) WHERE n.k = -1 GROUP BY n.v;
SELECT n.v, p.part, m.name FROM numbers n JOIN parts p USING (k) JOIN names m ON m.id = p.part WHERE k = 1 ORDER BY 2;
SELECT k, (SELECT max(part) FROM parts p WHERE p.k = n.k) FROM numbers n WHERE k = 1;
SELECT count(*) FROM parts WHERE k IN (1, 2);
WITH x AS (SELECT k FROM numbers WHERE k = 1) SELECT * FROM x JOIN parts USING (k) ORDER BY part;
UPDATE parts SET v = parts.v + 1 FROM numbers n WHERE n.k = parts.k AND n.k = 1 RETURNING parts.part, parts.v, n.v;
DELETE FROM parts USING numbers n WHERE n.k = parts.k AND n.k = 2 RETURNING parts.k;
INSERT INTO parts SELECT k, 9, 9 FROM numbers WHERE k = -1 RETURNING *;
ALTER TABLE parts ADD FOREIGN KEY (k) REFERENCES numbers (k) ON DELETE CASCADE;
INSERT INTO parts VALUES (77, 1, 1);
DELETE FROM numbers WHERE k = 1;
SELECT count(*) FROM parts WHERE k = 1;
BEGIN;
INSERT INTO numbers VALUES (100, 'on one'), (101, 'on one');
INSERT INTO numbers VALUES (-100, 'on the other');
SELECT v FROM numbers WHERE k = 100;
SELECT v FROM numbers WHERE k = -100;
ROLLBACK;
SELECT v FROM numbers WHERE k = 100;
-- Closed ends: keys outside are on no shard.
CREATE TABLE closed (k int NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.closed', 'k', by => 'range', shards => array['s1', 's2'], bounds => array[-100, 0, 100])
INSERT INTO closed VALUES (-100, 'first');
INSERT INTO closed VALUES (99, 'last');
-- expect-refusal 23514
INSERT INTO closed VALUES (100, 'outside');
-- expect-refusal 23514
INSERT INTO closed VALUES (-101, 'outside');
-- expect-refusal 23514
INSERT INTO closed VALUES (1, 'inside'), (100, 'outside');
-- expect-refusal 23514
SELECT * FROM closed WHERE k = 100;
-- expect-refusal 23514
UPDATE closed SET v = 'x' WHERE k = 100;
-- expect-refusal 23514
DELETE FROM closed WHERE k = -101;
-- expect-refusal 23514
SELECT * FROM closed WHERE k IN (99, 100);
-- expect-refusal 23514
SELECT * FROM closed WHERE k = ANY ('{99,100}');
-- expect-refusal 23514
SELECT * FROM closed WHERE k = ANY (ARRAY[99, 100]);
-- bind '100'
-- expect-refusal 23514
SELECT * FROM closed WHERE k = $1;
-- bind '{99,100}'::int[]
-- expect-refusal 23514
SELECT * FROM closed WHERE k = ANY ($1);
-- bind '100'::int
-- expect-refusal 23514
INSERT INTO closed VALUES ($1, 'outside');
-- expect-refusal 23514
SELECT 1 WHERE EXISTS (SELECT FROM closed WHERE k = 100);
SELECT * FROM closed WHERE k = NULL;
SELECT * FROM closed WHERE k IN (NULL, 99);
-- bind NULL
SELECT * FROM closed WHERE k = $1;
-- bind NULL::int[]
SELECT * FROM closed WHERE k = ANY ($1);
SELECT * FROM closed WHERE k = 99.5;
SELECT * FROM closed WHERE k = 99999999999;
INSERT INTO closed VALUES (NULL, 'null');
INSERT INTO closed VALUES (1, 'one'), (NULL, 'null');
SELECT * FROM closed WHERE k = 99;
SELECT * FROM closed WHERE k = -100;
BEGIN;
-- expect-refusal 23514
INSERT INTO closed VALUES (100, 'outside');
SELECT 1;
ROLLBACK;
BEGIN;
SAVEPOINT s;
-- expect-refusal 23514
INSERT INTO closed VALUES (100, 'outside');
ROLLBACK TO s;
INSERT INTO closed VALUES (50, 'inside');
COMMIT;
SELECT * FROM closed WHERE k = 50;
-- On the second shard only.
CREATE TABLE second (k int NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.second', 'k', by => 'range', shards => array['s2'], bounds => array[NULL, 1000])
INSERT INTO second VALUES (-5, 'minus five'), (5, 'five'), (999, 'last');
-- expect-refusal 23514
INSERT INTO second VALUES (1000, 'outside');
SELECT * FROM second WHERE k = 5;
SELECT * FROM second WHERE k IN (-5, 999) ORDER BY k;
SELECT * FROM second WHERE k = NULL;
SELECT count(*) FROM second WHERE k = ANY ('{}');
-- bind NULL
SELECT * FROM second WHERE k = $1;
SELECT * FROM second WHERE k = 5.5;
INSERT INTO second VALUES (NULL, 'null');
SELECT s.v, n.name FROM second s, names n WHERE s.k = 5 AND n.id = 1;
UPDATE second SET v = 'changed' WHERE k = 5 RETURNING *;
DELETE FROM second WHERE k IN (5, -5);
TRUNCATE second;
SELECT * FROM second WHERE k = 999;
ALTER TABLE second ADD COLUMN w int DEFAULT 7;
INSERT INTO second (k) VALUES (1) RETURNING *;
CREATE INDEX ON second (v);
DROP TABLE second;
-- Dates, times, texts and uuids by range.
CREATE TABLE days (k date NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.days', 'k', by => 'range', shards => array['s1', 's2'], bounds => array['2024-01-01'])
INSERT INTO days VALUES ('2023-12-31', 1);
INSERT INTO days VALUES ('2024-01-01', 2);
INSERT INTO days VALUES ('infinity', 3);
INSERT INTO days VALUES ('-infinity', 4);
INSERT INTO days VALUES ('0001-01-01 BC', 5);
SELECT * FROM days WHERE k = '2023-12-31';
SELECT * FROM days WHERE k = '2024-01-01'::date;
SELECT * FROM days WHERE k = 'infinity';
SELECT * FROM days WHERE k = '-infinity';
SELECT * FROM days WHERE k IN ('2023-12-31', '-infinity', '0001-01-01 BC') ORDER BY k;
-- bind '2024-01-01'::date
SELECT * FROM days WHERE k = $1;
CREATE TABLE stamps (k timestamptz(0) NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.stamps', 'k', by => 'range', shards => array['s1', 's2'], bounds => array['2024-01-01 00:00:00+00'])
INSERT INTO stamps VALUES ('2023-12-31 23:59:59+00', 1);
INSERT INTO stamps VALUES ('2023-12-31 23:59:59.7+00', 2) RETURNING k;
INSERT INTO stamps VALUES ('2024-01-01 00:30:00+01', 3) RETURNING k;
INSERT INTO stamps VALUES ('2023-12-31 23:30:00-01', 4) RETURNING k;
INSERT INTO stamps VALUES ('infinity', 5);
INSERT INTO stamps VALUES ('-infinity', 6);
-- bind '2023-12-31 23:59:58.6+00'::timestamptz
INSERT INTO stamps VALUES ($1, 7);
SELECT n FROM stamps WHERE k = '2024-01-01 00:00:00+00';
SELECT n FROM stamps WHERE k = '2023-12-31 23:30:00+00';
SELECT n FROM stamps WHERE k = '2024-01-01T00:30:00Z';
SELECT n FROM stamps WHERE k = 'infinity';
SELECT n FROM stamps WHERE k = '-infinity';
CREATE TABLE words (k text NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.words', 'k', by => 'range', shards => array['s1', 's2'], bounds => array['a'])
INSERT INTO words VALUES ('B', 1);
INSERT INTO words VALUES ('a', 2);
INSERT INTO words VALUES ('ä', 3);
INSERT INTO words VALUES ('', 4);
INSERT INTO words VALUES ('Zebra', 5);
INSERT INTO words VALUES ('_', 6);
INSERT INTO words VALUES ('𝄞', 7);
SELECT n FROM words WHERE k = 'B';
SELECT n FROM words WHERE k = 'a';
SELECT n FROM words WHERE k = 'ä';
SELECT n FROM words WHERE k = '';
SELECT n FROM words WHERE k IN ('B', 'Zebra', '_', '') ORDER BY n;
-- bind '𝄞'
SELECT n FROM words WHERE k = $1;
CREATE TABLE ids (k uuid NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.ids', 'k', by => 'range', shards => array['s1', 's2'], bounds => array['80000000-0000-0000-0000-000000000000'])
INSERT INTO ids VALUES ('00000000-0000-0000-0000-000000000000', 1);
INSERT INTO ids VALUES ('80000000-0000-0000-0000-000000000000', 2);
INSERT INTO ids VALUES ('{FFFFFFFF-ffff-ffff-ffff-ffffffffffff}', 3);
SELECT n FROM ids WHERE k = '00000000000000000000000000000000';
SELECT n FROM ids WHERE k = '80000000-0000-0000-0000-000000000000'::uuid;
-- bind 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid
SELECT n FROM ids WHERE k = $1;
CREATE TABLE codes (k varchar(3) NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.codes', 'k', by => 'range', shards => array['s1', 's2'], bounds => array['a   '])
INSERT INTO codes VALUES ('a', 1);
INSERT INTO codes VALUES ('a     ', 2) RETURNING length(k);
SELECT n FROM codes WHERE k = 'a';
SELECT n FROM codes WHERE k = 'a  ';
SELECT n FROM codes WHERE k = 'a     ';
-- Several columns: the first decides unless it is the bound's own.
CREATE TABLE grid (x text NOT NULL, y int NOT NULL, v text, PRIMARY KEY (x, y));
-- setup pgweave: SELECT pgweave.shard_table(':schema.grid', 'x, y', by => 'range', shards => array['s1', 's2'], bounds => array[array['m', '10']])
INSERT INTO grid VALUES ('a', 100, 'one');
INSERT INTO grid VALUES ('m', 9, 'one');
INSERT INTO grid VALUES ('m', 10, 'two');
INSERT INTO grid VALUES ('m', -10, 'one');
INSERT INTO grid VALUES ('z', -100, 'two');
INSERT INTO grid (v, y, x) VALUES ('two', 11, 'm');
SELECT * FROM grid WHERE x = 'm' AND y = 9;
SELECT * FROM grid WHERE x = 'm' AND y = 10;
SELECT * FROM grid WHERE (x, y) = ('m', -10);
SELECT * FROM grid WHERE x = 'm' AND y IN (10, 11) ORDER BY y;
SELECT * FROM grid WHERE x IN ('n', 'z') AND y IN (-100, 11) ORDER BY y;
-- unordered
SELECT * FROM grid WHERE x = 'm' AND y IN (9, 10);
-- unordered
SELECT * FROM grid WHERE x = 'm';
-- unordered
SELECT * FROM grid WHERE (x, y) IN (('m', 9));
-- bind 'm', '9'
SELECT * FROM grid WHERE x = $1 AND y = $2;
-- bind 'm'::text, '{10,11}'::int[]
SELECT * FROM grid WHERE x = $1 AND y = ANY ($2) ORDER BY y;
SELECT * FROM grid WHERE x = 'm' AND y = NULL;
-- bind NULL, '9'
SELECT * FROM grid WHERE x = $1 AND y = $2;
UPDATE grid SET v = v || '!' WHERE x = 'm' AND y = 10 RETURNING *;
DELETE FROM grid WHERE x = 'z' AND y = -100;
SELECT a.v, b.v FROM grid a JOIN grid b ON a.x = b.x AND a.y = b.y WHERE a.x = 'm' AND b.y = 10;
-- A key given for the whole session.
-- only simple
-- expect-refusal 22023
SET pgweave.shard_key = '5';
SELECT v FROM numbers WHERE k = 2;
