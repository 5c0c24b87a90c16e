-- List maps: with and without a shard for all other keys, of several columns, and on some shards only.
CREATE TABLE lands (k text NOT NULL, id int NOT NULL, v text, PRIMARY KEY (k, id));
-- setup pgweave: SELECT pgweave.shard_table(':schema.lands', 'k', by => 'list', "values" => array['de', 'fr', 'it', 'ä'], shards => array['s1', 's2', 's1', 's2'])
CREATE TABLE towns (land text NOT NULL, name text NOT NULL, size int, PRIMARY KEY (land, name));
-- setup pgweave: SELECT pgweave.shard_table(':schema.towns', 'land', colocate_with => ':schema.lands')
INSERT INTO lands VALUES ('de', 1, 'one');
INSERT INTO lands VALUES ('fr', 1, 'two');
INSERT INTO lands VALUES ('it', 1, 'three'), ('de', 2, 'four');
INSERT INTO lands VALUES ('ä', 1, 'five');
-- bind 'fr', '2'
INSERT INTO lands VALUES ($1, $2, 'bound');
-- bind 'it'::text, '2'::int
INSERT INTO lands VALUES ($1, $2, 'bound');
INSERT INTO lands VALUES ('fr'::varchar, 3, 'cast');
-- expect-refusal 23514
INSERT INTO lands VALUES ('es', 1, 'unlisted');
-- expect-refusal 23514
INSERT INTO lands VALUES ('DE', 1, 'unlisted');
-- expect-refusal 23514
INSERT INTO lands VALUES ('de ', 1, 'unlisted');
-- expect-refusal 23514
INSERT INTO lands VALUES ('de', 3, 'listed'), ('es', 1, 'unlisted');
-- bind 'es'
-- expect-refusal 23514
INSERT INTO lands VALUES ($1, 1, 'unlisted');
INSERT INTO lands VALUES (NULL, 1, 'null');
INSERT INTO lands VALUES ('de', 1, 'again');
SELECT * FROM lands WHERE k = 'de' ORDER BY id;
SELECT * FROM lands WHERE k = 'fr' ORDER BY id;
SELECT * FROM lands WHERE k = 'ä' ORDER BY id;
SELECT * FROM lands WHERE k IN ('de', 'it') ORDER BY k, id;
SELECT * FROM lands WHERE k = ANY ('{fr,ä}') AND id = 1 ORDER BY v;
-- bind '{de,it}'
SELECT * FROM lands WHERE k = ANY ($1) AND id = 1 ORDER BY v;
-- bind '{de,it}'::text[]
SELECT count(*) FROM lands WHERE k = ANY ($1);
-- unordered
SELECT * FROM lands WHERE k IN ('de', 'fr');
-- expect-refusal 23514
SELECT * FROM lands WHERE k = 'es';
-- expect-refusal 23514
SELECT * FROM lands WHERE k IN ('de', 'es');
-- expect-refusal 23514
SELECT * FROM lands WHERE k = ANY ('{de,es}');
-- bind '{de,es}'::text[]
-- expect-refusal 23514
SELECT * FROM lands WHERE k = ANY ($1);
-- expect-refusal 23514
UPDATE lands SET v = 'x' WHERE k = 'es';
-- expect-refusal 23514
DELETE FROM lands WHERE k = 'es';
SELECT * FROM lands WHERE k = NULL;
SELECT * FROM lands WHERE k IN (NULL, 'ä');
-- bind NULL
SELECT * FROM lands WHERE k = $1;
-- bind '{NULL}'::text[]
SELECT * FROM lands WHERE k = ANY ($1);
UPDATE lands SET v = v || '!' WHERE k = 'de' AND id = 1 RETURNING *;
UPDATE lands SET k = 'de' WHERE k = 'de' AND id = 1 RETURNING *;
UPDATE lands SET k = 'it' WHERE k = 'de';
DELETE FROM lands WHERE k = 'fr' AND id = 3 RETURNING v;
INSERT INTO lands VALUES ('de', 1, 'new') ON CONFLICT (k, id) DO UPDATE SET v = excluded.v RETURNING v;
INSERT INTO towns VALUES ('de', 'Ulm', 1), ('it', 'Rom', 2);
INSERT INTO towns VALUES ('fr', 'Lyon', 3);
SELECT l.v, t.name FROM lands l JOIN towns t ON t.land = l.k WHERE l.k = 'de' AND l.id = 1;
SELECT l.v, t.name FROM lands l JOIN towns t ON t.land = l.k WHERE t.land IN ('de', 'it') AND l.id = 1 ORDER BY 2;
SELECT t.name, (SELECT count(*) FROM lands l WHERE l.k = t.land) FROM towns t WHERE t.land = 'fr';
SELECT land FROM towns WHERE land = 'de' UNION ALL SELECT k FROM lands WHERE k = 'it' ORDER BY 1;
-- unordered
SELECT land FROM towns WHERE land = 'de' UNION ALL SELECT k FROM lands WHERE k = 'fr';
INSERT INTO towns SELECT k, 'of ' || v, id FROM lands WHERE k = 'de' ORDER BY id RETURNING name;
-- unordered
SELECT count(*) FROM lands;
TRUNCATE lands, towns;
SELECT count(*) FROM lands WHERE k = 'de';
SELECT count(*) FROM lands WHERE k = 'fr';
-- A shard for all other keys.
CREATE TABLE rest (k char(2) NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.rest', 'k', by => 'list', "values" => array['de', 'f'], shards => array['s2', 's2'], default_shard => 's1')
INSERT INTO rest VALUES ('de', 'listed');
INSERT INTO rest VALUES ('f ', 'listed');
INSERT INTO rest VALUES ('es', 'other');
INSERT INTO rest VALUES ('', 'other');
INSERT INTO rest VALUES ('xx    ', 'other');
INSERT INTO rest VALUES ('f', 'again');
INSERT INTO rest VALUES (NULL, 'null');
SELECT * FROM rest WHERE k = 'de';
SELECT * FROM rest WHERE k = 'f';
SELECT * FROM rest WHERE k = 'f    ';
SELECT * FROM rest WHERE k = 'es';
SELECT * FROM rest WHERE k = '';
SELECT * FROM rest WHERE k = 'nothing';
SELECT * FROM rest WHERE k IN ('es', 'xx', 'yy') ORDER BY k;
-- unordered
SELECT * FROM rest WHERE k IN ('es', 'de');
UPDATE rest SET v = 'x' WHERE k = 'yy';
DELETE FROM rest WHERE k = 'xx';
-- bind 'f '::bpchar
SELECT * FROM rest WHERE k = $1;
-- On the second shard only, the others having no such table.
CREATE TABLE second (k int NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.second', 'k', by => 'list', "values" => array[1, -1], shards => array['s2', 's2'])
INSERT INTO second VALUES (1, 'one'), (-1, 'minus one');
-- expect-refusal 23514
INSERT INTO second VALUES (0, 'zero');
SELECT * FROM second WHERE k = 1;
SELECT * FROM second WHERE k = -1;
SELECT * FROM second WHERE k = '-1';
SELECT * FROM second WHERE k = 1.0;
SELECT * FROM second WHERE k = NULL;
SELECT * FROM second WHERE k = ANY ('{}');
SELECT * FROM second WHERE k = 1.5;
-- bind NULL::int
UPDATE second SET v = 'x' WHERE k = $1;
DELETE FROM second WHERE k = NULL;
SELECT * FROM second WHERE k IN (1, -1) ORDER BY k;
-- Truth values, bytes and dates.
CREATE TABLE flags (k bool NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.flags', 'k', by => 'list', "values" => array['true', 'false'], shards => array['s1', 's2'])
INSERT INTO flags VALUES (true, 'yes');
INSERT INTO flags VALUES ('no', 'no');
SELECT * FROM flags WHERE k = true;
SELECT * FROM flags WHERE k = 'f';
SELECT * FROM flags WHERE k = '1';
-- unordered
SELECT * FROM flags WHERE k;
-- unordered
SELECT * FROM flags WHERE NOT k;
-- unordered
SELECT * FROM flags WHERE k IS TRUE;
-- bind 'true'::bool
SELECT * FROM flags WHERE k = $1;
CREATE TABLE bytes (k bytea NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.bytes', 'k', by => 'list', "values" => array['\x00', 'abc'], shards => array['s1', 's2'], default_shard => 's2')
INSERT INTO bytes VALUES ('\x00', 'zero');
INSERT INTO bytes VALUES ('\x616263', 'abc');
INSERT INTO bytes VALUES ('\xff', 'other');
SELECT v FROM bytes WHERE k = '\x00';
SELECT v FROM bytes WHERE k = 'abc';
SELECT v FROM bytes WHERE k = '\xFF';
-- bind '\xff'::bytea
SELECT v FROM bytes WHERE k = $1;
CREATE TABLE days (k date NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.days', 'k', by => 'list', "values" => array['infinity', '2024-02-29'], shards => array['s1', 's2'])
INSERT INTO days VALUES ('infinity', 'never');
INSERT INTO days VALUES ('2024-02-29', 'leap');
-- expect-refusal 23514
INSERT INTO days VALUES ('-infinity', 'unlisted');
SELECT v FROM days WHERE k = 'infinity';
-- unordered
SELECT v FROM days WHERE k = '20240229';
SELECT v FROM days WHERE k = '2024-02-29'::date;
-- bind '2024-02-29'::date
SELECT v FROM days WHERE k = $1;
-- Several columns.
CREATE TABLE pairs (a int NOT NULL, b varchar(2) NOT NULL, v text, PRIMARY KEY (a, b));
-- setup pgweave: SELECT pgweave.shard_table(':schema.pairs', 'a, b', by => 'list', "values" => array[array['1', 'x'], array['-1', 'y ']], shards => array['s1', 's2'])
INSERT INTO pairs VALUES (1, 'x', 'one');
INSERT INTO pairs VALUES (-1, 'y     ', 'two') RETURNING *;
-- expect-refusal 23514
INSERT INTO pairs VALUES (-1, 'y', 'unlisted');
-- expect-refusal 23514
INSERT INTO pairs VALUES (1, 'y ', 'unlisted');
SELECT * FROM pairs WHERE a = 1 AND b = 'x';
SELECT * FROM pairs WHERE (a, b) = (-1, 'y ');
-- expect-refusal 23514
SELECT * FROM pairs WHERE a = -1 AND b = 'y';
-- expect-refusal 23514
SELECT * FROM pairs WHERE a IN (1, -1) AND b = 'x';
-- bind '1'::int, 'x'
SELECT * FROM pairs WHERE a = $1 AND b = $2;
UPDATE pairs SET v = 'changed' WHERE a = -1 AND b = 'y ' RETURNING v;
DELETE FROM pairs WHERE a = 1 AND b = 'x' RETURNING v;
