-- Integers of all widths share a shard map; each table's own width decides what fits.
CREATE TABLE narrow (k smallint PRIMARY KEY, v text);
CREATE TABLE middle (k int PRIMARY KEY, v text);
CREATE TABLE wide (k bigint PRIMARY KEY, v text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.narrow', 'k', shards => array['s1', 's2'])
-- setup pgweave: SELECT pgweave.shard_table(':schema.middle', 'k', colocate_with => ':schema.narrow')
-- setup pgweave: SELECT pgweave.shard_table(':schema.wide', 'k', colocate_with => ':schema.narrow')
INSERT INTO narrow VALUES (7, 'narrow');
INSERT INTO middle VALUES (7, 'middle');
INSERT INTO wide VALUES (7, 'wide');
INSERT INTO middle VALUES (70000, 'big');
INSERT INTO middle VALUES (70001, 'big');
INSERT INTO middle VALUES (2147483647, 'biggest');
INSERT INTO wide VALUES (70000, 'big');
INSERT INTO wide VALUES (3000000000, 'bigger');
INSERT INTO wide VALUES (3000000001, 'bigger');
INSERT INTO wide VALUES (9223372036854775807, 'biggest');
INSERT INTO wide VALUES ('-9223372036854775808', 'smallest');
INSERT INTO narrow VALUES (70000, 'too big');
INSERT INTO middle VALUES (3000000000, 'too big');
INSERT INTO wide VALUES (9223372036854775808, 'too big');
-- bind '70002', 'text'
INSERT INTO middle VALUES ($1, $2);
-- bind 70003::int8, 'declared'
INSERT INTO middle VALUES ($1, $2);
-- bind 4000000000::int8, 'declared'
INSERT INTO wide VALUES ($1, $2);
-- bind 70000::int8, 'declared'
INSERT INTO narrow VALUES ($1, $2);
SELECT v FROM narrow WHERE k = 70000;
SELECT v FROM middle WHERE k = 70000;
SELECT v FROM middle WHERE k = 70001;
SELECT v FROM middle WHERE k = 2147483647;
SELECT v FROM middle WHERE k = 3000000000;
SELECT v FROM wide WHERE k = 70000;
SELECT v FROM wide WHERE k = 3000000000;
SELECT v FROM wide WHERE k = 3000000001;
SELECT v FROM wide WHERE k = 9223372036854775807;
SELECT v FROM wide WHERE k = '-9223372036854775808';
SELECT v FROM wide WHERE k = -9223372036854775808;
SELECT v FROM wide WHERE k = 9223372036854775808;
-- bind '70002'
SELECT v FROM middle WHERE k = $1;
-- bind 70003::int8
SELECT v FROM middle WHERE k = $1;
-- bind 4000000000::int8
SELECT v FROM wide WHERE k = $1;
-- bind 4000000000::int8
SELECT v FROM middle WHERE k = $1;
-- bind '{3000000000}'::int8[]
SELECT v FROM wide WHERE k = ANY($1);
-- bind 9223372036854775807::int8
SELECT v FROM wide WHERE k = $1;
SELECT w.v, n.v FROM wide w LEFT JOIN narrow n ON n.k = w.k WHERE w.k = 3000000000;
SELECT w.v, m.v FROM wide w JOIN middle m ON m.k = w.k WHERE w.k = 70000;
SELECT w.v, m.v FROM wide w FULL JOIN (SELECT * FROM middle WHERE k = 3000000000) m ON m.k = w.k WHERE w.k = 3000000000;
UPDATE wide SET v = v || '!' WHERE k = 3000000000 RETURNING v;
DELETE FROM wide WHERE k = 9223372036854775807 RETURNING v;
-- only simple
SET pgweave.shard_key = ':schema.wide=3000000000';
-- only simple
SELECT v FROM wide WHERE k = 3000000000;
-- only simple
RESET pgweave.shard_key;
