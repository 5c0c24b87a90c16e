-- Keys whose column changes what is given to it: lengths, precisions, blanks; dates and times in all their spellings.
SET TIME ZONE 'UTC';
-- Blanks beyond the length of a varchar(n) are cut off before the row is stored.
CREATE TABLE short (k varchar(5) NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.short', 'k', colocate_with => 'none')
INSERT INTO short VALUES ('a', 1);
INSERT INTO short VALUES ('b         ', 2);
INSERT INTO short VALUES ('c         ', 3);
INSERT INTO short VALUES ('d         '::text, 4);
INSERT INTO short VALUES ('e         '::varchar, 5);
INSERT INTO short VALUES ('äöüß€     ', 6) RETURNING k, length(k);
INSERT INTO short VALUES ('f         ', 7), ('f   ', 8);
INSERT INTO short (n, k) SELECT 9, 'g         ' RETURNING length(k);
INSERT INTO short (n, k) SELECT 10, 'h         '::text RETURNING length(k);
-- bind 'i         '
INSERT INTO short VALUES ($1, 11) RETURNING length(k);
-- bind 'j         '::text
INSERT INTO short VALUES ($1, 12) RETURNING length(k);
-- bind 'k         '::varchar
INSERT INTO short VALUES ($1, 13) RETURNING length(k);
-- bind 'l         '
INSERT INTO short VALUES ($1::text, 14) RETURNING length(k);
INSERT INTO short VALUES ('b    ', 15);
INSERT INTO short VALUES ('b             ', 15) ON CONFLICT (k) DO UPDATE SET n = short.n + 100 RETURNING n;
INSERT INTO short VALUES ('toolong', 16);
INSERT INTO short VALUES ('too lo ', 16);
INSERT INTO short VALUES (E'tab  \t', 16);
-- bind 'toolong'
INSERT INTO short VALUES ($1, 16);
SELECT k, length(k), n FROM short WHERE k = 'a';
SELECT k, length(k), n FROM short WHERE k = 'b    ';
SELECT k, length(k), n FROM short WHERE k = 'b         ';
SELECT k, length(k), n FROM short WHERE k = 'c    ';
SELECT n FROM short WHERE k = 'c';
SELECT n FROM short WHERE k = 'd    ';
SELECT n FROM short WHERE k = 'e    '::text;
SELECT n FROM short WHERE k = 'äöüß€';
SELECT n FROM short WHERE k = 'f    ';
SELECT n FROM short WHERE k = 'f   ';
SELECT n FROM short WHERE k = 'g    ';
SELECT n FROM short WHERE k = 'h    ';
-- bind 'i    '
SELECT n FROM short WHERE k = $1;
-- bind 'j    '::text
SELECT n FROM short WHERE k = $1;
-- bind 'l    '::varchar
SELECT n FROM short WHERE k = $1;
-- bind 'l         '::varchar
SELECT n FROM short WHERE k = $1;
SELECT n FROM short WHERE k = 'toolong';
-- unordered
SELECT n FROM short WHERE k = 'c         '::varchar(5);
-- expect-refusal 0A000
INSERT INTO short VALUES ('m         '::varchar(3), 1);
UPDATE short SET n = n + 1 WHERE k = 'c    ' RETURNING n;
DELETE FROM short WHERE k = 'c' RETURNING n;
DELETE FROM short WHERE k = 'c    ' RETURNING n;
WITH made AS (INSERT INTO short VALUES ('w         ', 20) RETURNING k) SELECT length(made.k), (SELECT count(*) FROM short s WHERE s.k = made.k) FROM made;
WITH made AS (INSERT INTO short VALUES ('x         ', 20) RETURNING k) SELECT length(made.k), s.n FROM made LEFT JOIN short s ON s.k = made.k;
INSERT INTO short SELECT k || '!', n FROM short WHERE false;
-- Another table of the group, keyed by text: equal values meet.
CREATE TABLE long (k text NOT NULL, m int);
-- setup pgweave: SELECT pgweave.shard_table(':schema.long', 'k', colocate_with => ':schema.short')
INSERT INTO long VALUES ('b    ', 1);
INSERT INTO long VALUES ('b', 2);
SELECT short.n, long.m FROM short JOIN long ON short.k = long.k WHERE long.k = 'b    ';
SELECT short.n, long.m FROM short JOIN long USING (k) WHERE k = 'b';
WITH made AS (INSERT INTO short VALUES ('y         ', 20) RETURNING k) SELECT length(made.k), long.m FROM made LEFT JOIN long ON long.k = made.k;
INSERT INTO short SELECT k, m FROM long WHERE k = 'b' RETURNING k, n;
-- A value that one table keeps and the other cuts off.
INSERT INTO long VALUES ('z         ', 3);
INSERT INTO long VALUES ('z    ', 4);
SELECT m FROM long WHERE k = 'z         ';
-- differs: both shards may be needed
INSERT INTO short SELECT k, m FROM long WHERE k = 'z         ' RETURNING length(k), n;
-- char(n): trailing blanks do not count.
CREATE TABLE fixed (k char(4) NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.fixed', 'k', colocate_with => 'none')
INSERT INTO fixed VALUES ('a', 1);
INSERT INTO fixed VALUES ('b       ', 2);
INSERT INTO fixed VALUES ('', 3);
INSERT INTO fixed VALUES ('äöü', 4) RETURNING k, octet_length(k);
INSERT INTO fixed VALUES (' lead', 5);
INSERT INTO fixed VALUES (' lea', 5);
INSERT INTO fixed VALUES ('a   ', 6);
INSERT INTO fixed VALUES ('abcde', 7);
-- bind 'c      '
INSERT INTO fixed VALUES ($1, 8);
-- bind 'd      '::bpchar
INSERT INTO fixed VALUES ($1, 9);
-- bind 'e      '::text
INSERT INTO fixed VALUES ($1, 10);
SELECT k, n FROM fixed WHERE k = 'a';
SELECT k, n FROM fixed WHERE k = 'a        ';
SELECT k, n FROM fixed WHERE k = 'b';
SELECT k, n FROM fixed WHERE k = '';
SELECT k, n FROM fixed WHERE k = '      ';
SELECT k, n FROM fixed WHERE k = ' lea';
SELECT k, n FROM fixed WHERE k IN ('c', 'c  ', 'c         ');
SELECT n FROM fixed WHERE k = ANY ('{d,"d  "}');
-- bind 'd  '
SELECT n FROM fixed WHERE k = $1;
-- bind 'd  '::bpchar
SELECT n FROM fixed WHERE k = $1;
-- bind 'e'::text
SELECT n FROM fixed WHERE k = $1;
-- bind 'e  '::text
SELECT n FROM fixed WHERE k = $1;
-- unordered
SELECT n FROM fixed WHERE k = 'e'::text;
SELECT n FROM fixed WHERE k = 'e  '::bpchar;
SELECT n FROM fixed WHERE k LIKE 'a%' AND k = 'a';
UPDATE fixed SET n = n + 1 WHERE k = 'c ' RETURNING k, n;
DELETE FROM fixed WHERE k = 'd     ' RETURNING n;
-- timestamp(p): rounded before it is stored.
CREATE TABLE seconds (k timestamp(0) NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.seconds', 'k', colocate_with => 'none')
INSERT INTO seconds VALUES ('2024-02-29 12:00:00', 1);
INSERT INTO seconds VALUES ('2024-02-29 12:00:01.4999', 2) RETURNING k;
INSERT INTO seconds VALUES ('2024-02-29 12:00:02.5', 3) RETURNING k;
INSERT INTO seconds VALUES ('2024-02-29 23:59:59.9', 4) RETURNING k;
INSERT INTO seconds VALUES ('1999-12-31 23:59:58.5', 5) RETURNING k;
INSERT INTO seconds VALUES ('1999-12-31 23:59:59.6', 6) RETURNING k;
INSERT INTO seconds VALUES ('1970-01-01 00:00:00.5', 7) RETURNING k;
INSERT INTO seconds VALUES ('infinity', 8) RETURNING k;
INSERT INTO seconds VALUES ('-infinity', 9) RETURNING k;
INSERT INTO seconds VALUES ('2024-03-01 00:00:00', 10);
INSERT INTO seconds VALUES ('2024-03-02 10:00:00.7'::timestamp, 11) RETURNING k;
INSERT INTO seconds SELECT '2024-03-03 10:00:00.7'::timestamp, 12 RETURNING k;
-- bind '2024-03-04 10:00:00.7'
INSERT INTO seconds VALUES ($1, 13) RETURNING k;
-- bind '2024-03-05 10:00:00.7'::timestamp
INSERT INTO seconds VALUES ($1, 14) RETURNING k;
-- bind '2024-03-06 10:00:00.499999'::timestamp
INSERT INTO seconds VALUES ($1, 15) RETURNING k;
INSERT INTO seconds VALUES ('2024-03-07 10:00:00.5', 16), ('2024-03-07 10:00:01.4', 17);
INSERT INTO seconds VALUES ('2024-03-07 10:00:00.6', 16), ('2024-03-07 10:00:01.4', 17) ON CONFLICT DO NOTHING;
SELECT * FROM seconds WHERE k = '2024-02-29 12:00:01';
SELECT * FROM seconds WHERE k = '2024-02-29 12:00:01.4999';
SELECT * FROM seconds WHERE k = '2024-02-29 12:00:03';
SELECT * FROM seconds WHERE k = '2024-02-29 12:00:02.5';
SELECT * FROM seconds WHERE k = '2024-03-01';
SELECT * FROM seconds WHERE k = '1999-12-31 23:59:59';
SELECT * FROM seconds WHERE k = '1999-12-31 23:59:58';
SELECT * FROM seconds WHERE k = '2000-01-01';
SELECT * FROM seconds WHERE k = '1970-01-01 00:00:00';
SELECT * FROM seconds WHERE k = '1970-01-01 00:00:01';
SELECT * FROM seconds WHERE k = 'infinity';
SELECT * FROM seconds WHERE k = '-infinity';
SELECT n FROM seconds WHERE k = '2024-03-02 10:00:01';
SELECT n FROM seconds WHERE k = '2024-03-03 10:00:01'::timestamp;
-- bind '2024-03-04 10:00:01'
SELECT n FROM seconds WHERE k = $1;
-- bind '2024-03-05 10:00:01'::timestamp
SELECT n FROM seconds WHERE k = $1;
-- bind '2024-03-05 10:00:00.7'::timestamp
SELECT n FROM seconds WHERE k = $1;
-- bind '2024-03-06 10:00:00'::timestamp
UPDATE seconds SET n = n + 1 WHERE k = $1 RETURNING n;
-- unordered
SELECT n FROM seconds WHERE k = '2024-03-06 10:00:00.3'::timestamp(0);
WITH made AS (INSERT INTO seconds VALUES ('2024-04-01 00:00:00.9', 20) RETURNING k) SELECT made.k, s.n FROM made LEFT JOIN seconds s ON s.k = made.k;
-- timestamptz(p), with offsets.
CREATE TABLE instants (k timestamptz(3) NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.instants', 'k', colocate_with => 'none')
INSERT INTO instants VALUES ('2024-02-29 12:00:00.12345+00', 1) RETURNING k;
INSERT INTO instants VALUES ('2024-02-29 12:00:00.1236+02', 2) RETURNING k;
INSERT INTO instants VALUES ('2024-02-29 12:00:00.9999-05:30', 3) RETURNING k;
INSERT INTO instants VALUES ('infinity', 4);
INSERT INTO instants VALUES ('-infinity', 5);
INSERT INTO instants VALUES ('2024-02-29T12:00:00Z', 6);
-- bind '2024-02-29 13:00:00.0005+01'
INSERT INTO instants VALUES ($1, 7) RETURNING k;
-- bind '2024-02-29 14:00:00.0005+01'::timestamptz
INSERT INTO instants VALUES ($1, 8) RETURNING k;
SELECT n FROM instants WHERE k = '2024-02-29 12:00:00.123+00';
SELECT n FROM instants WHERE k = '2024-02-29 13:00:00.123+01';
SELECT n FROM instants WHERE k = '2024-02-29 12:00:00.12345+00';
SELECT n FROM instants WHERE k = '2024-02-29 10:00:00.124+00';
SELECT n FROM instants WHERE k = '2024-02-29 17:30:01+00';
SELECT n FROM instants WHERE k = 'infinity';
SELECT n FROM instants WHERE k = '-infinity'::timestamptz;
SELECT n FROM instants WHERE k = '2024-02-29 12:00:00.001+00';
-- bind '2024-02-29 13:00:00.001+00'::timestamptz
SELECT n FROM instants WHERE k = $1;
SELECT n FROM instants WHERE k = '2024-02-29 07:00:00-05';
SET TIME ZONE 'America/New_York';
SELECT k, n FROM instants WHERE k = '2024-02-29 07:00:00-05';
SELECT k, n FROM instants WHERE k = '2024-02-29 12:00:00+00';
-- unordered
SELECT n FROM instants WHERE k = '2024-02-29 07:00:00';
-- expect-refusal 0A000
INSERT INTO instants VALUES ('2024-02-29 07:00:00', 9);
-- unordered
SELECT n FROM instants WHERE k = 'now';
-- unordered
SELECT n FROM instants WHERE k = now();
SET TIME ZONE 'UTC';
-- Dates.
CREATE TABLE days (k date NOT NULL, n int, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.days', 'k', colocate_with => 'none')
INSERT INTO days VALUES ('2024-02-29', 1);
INSERT INTO days VALUES ('2024-02-30', 2);
-- expect-refusal 0A000
INSERT INTO days VALUES ('20240301', 3);
INSERT INTO days VALUES ('2024-03-01', 3);
INSERT INTO days VALUES ('0044-03-15 BC', 4);
INSERT INTO days VALUES ('infinity', 5);
INSERT INTO days VALUES ('-infinity', 6);
-- expect-refusal 0A000
INSERT INTO days VALUES ('epoch', 7);
INSERT INTO days VALUES ('1970-01-01', 7);
INSERT INTO days VALUES ('12024-01-01', 8);
INSERT INTO days VALUES ('5874897-12-31', 9);
INSERT INTO days VALUES ('4713-11-24 BC', 10);
SELECT * FROM days WHERE k = '2024-02-29';
SELECT * FROM days WHERE k = date '2024-03-01';
SELECT * FROM days WHERE k = '0044-03-15 BC';
SELECT * FROM days WHERE k = 'infinity';
SELECT * FROM days WHERE k = '-infinity'::date;
SELECT * FROM days WHERE k = '1970-01-01';
SELECT * FROM days WHERE k = '12024-01-01';
SELECT * FROM days WHERE k IN ('2024-02-29', '2024-02-29');
-- bind '2024-02-29'
SELECT * FROM days WHERE k = $1;
-- bind '2024-03-01'::date
SELECT * FROM days WHERE k = $1;
-- bind 'infinity'::date
SELECT * FROM days WHERE k = $1;
-- bind '-infinity'::date
UPDATE days SET n = n + 1 WHERE k = $1 RETURNING n;
-- unordered
SELECT * FROM days WHERE k = '03/01/2024';
-- unordered
SELECT * FROM days WHERE k = 'today';
-- unordered
SELECT * FROM days WHERE k = '2024-03-01'::timestamp;
SET DateStyle = 'SQL, DMY';
SELECT * FROM days WHERE k = '2024-03-01';
-- bind '2024-03-01'::date
SELECT * FROM days WHERE k = $1;
RESET DateStyle;
-- Keys of several columns, each with a form of its own.
CREATE TABLE mixed (a varchar(3) NOT NULL, b timestamp(0) NOT NULL, c char(2) NOT NULL, n int, PRIMARY KEY (a, b, c));
-- setup pgweave: SELECT pgweave.shard_table(':schema.mixed', 'a, b, c', colocate_with => 'none')
INSERT INTO mixed VALUES ('x     ', '2024-01-01 00:00:00.6', 'y    ', 1) RETURNING *;
INSERT INTO mixed VALUES ('x', '2024-01-01 00:00:01', 'y', 2);
-- bind 'z     ', '2024-01-01 00:00:01.5'::timestamp, 'q   '
INSERT INTO mixed VALUES ($1, $2, $3, 3) RETURNING *;
SELECT n FROM mixed WHERE a = 'x  ' AND b = '2024-01-01 00:00:01' AND c = 'y';
SELECT n FROM mixed WHERE a = 'x' AND b = '2024-01-01 00:00:01' AND c = 'y      ';
SELECT n FROM mixed WHERE (a, b, c) = ('z  ', '2024-01-01 00:00:02', 'q');
SELECT n FROM mixed WHERE a = 'z  ' AND b = '2024-01-01 00:00:02' AND c = ANY ('{q}');
DELETE FROM mixed WHERE a = 'x  ' AND b = '2024-01-01 00:00:01' AND c = 'y' RETURNING n;
