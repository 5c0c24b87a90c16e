-- Shard keys of every type, and of several columns.
SET TIME ZONE 'UTC';
CREATE TABLE by_smallint (k smallint NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_smallint', 'k')
INSERT INTO by_smallint VALUES (1, 'value 0');
INSERT INTO by_smallint VALUES (-5, 'value 1');
INSERT INTO by_smallint VALUES ('7', 'value 2');
INSERT INTO by_smallint VALUES (32767, 'value 3');
SELECT * FROM by_smallint WHERE k = 1;
UPDATE by_smallint SET v = v || '+' WHERE k = 1 RETURNING v;
-- bind '1'
SELECT v FROM by_smallint WHERE k = $1;
-- bind '1'::smallint
DELETE FROM by_smallint WHERE k = $1;
INSERT INTO by_smallint VALUES (1, 'back');
SELECT * FROM by_smallint WHERE k = -5;
UPDATE by_smallint SET v = v || '+' WHERE k = -5 RETURNING v;
-- bind '-5'
SELECT v FROM by_smallint WHERE k = $1;
-- bind '-5'::smallint
DELETE FROM by_smallint WHERE k = $1;
INSERT INTO by_smallint VALUES (-5, 'back');
SELECT * FROM by_smallint WHERE k = '7';
UPDATE by_smallint SET v = v || '+' WHERE k = '7' RETURNING v;
-- bind '7'
SELECT v FROM by_smallint WHERE k = $1;
-- bind '7'::smallint
DELETE FROM by_smallint WHERE k = $1;
INSERT INTO by_smallint VALUES ('7', 'back');
SELECT * FROM by_smallint WHERE k = 32767;
UPDATE by_smallint SET v = v || '+' WHERE k = 32767 RETURNING v;
-- bind '32767'
SELECT v FROM by_smallint WHERE k = $1;
-- bind '32767'::smallint
DELETE FROM by_smallint WHERE k = $1;
INSERT INTO by_smallint VALUES (32767, 'back');
CREATE TABLE by_int (k int NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_int', 'k')
INSERT INTO by_int VALUES (1, 'value 0');
INSERT INTO by_int VALUES (-5, 'value 1');
INSERT INTO by_int VALUES ('7', 'value 2');
INSERT INTO by_int VALUES (2147483647, 'value 3');
SELECT * FROM by_int WHERE k = 1;
UPDATE by_int SET v = v || '+' WHERE k = 1 RETURNING v;
-- bind '1'
SELECT v FROM by_int WHERE k = $1;
-- bind '1'::int
DELETE FROM by_int WHERE k = $1;
INSERT INTO by_int VALUES (1, 'back');
SELECT * FROM by_int WHERE k = -5;
UPDATE by_int SET v = v || '+' WHERE k = -5 RETURNING v;
-- bind '-5'
SELECT v FROM by_int WHERE k = $1;
-- bind '-5'::int
DELETE FROM by_int WHERE k = $1;
INSERT INTO by_int VALUES (-5, 'back');
SELECT * FROM by_int WHERE k = '7';
UPDATE by_int SET v = v || '+' WHERE k = '7' RETURNING v;
-- bind '7'
SELECT v FROM by_int WHERE k = $1;
-- bind '7'::int
DELETE FROM by_int WHERE k = $1;
INSERT INTO by_int VALUES ('7', 'back');
SELECT * FROM by_int WHERE k = 2147483647;
UPDATE by_int SET v = v || '+' WHERE k = 2147483647 RETURNING v;
-- bind '2147483647'
SELECT v FROM by_int WHERE k = $1;
-- bind '2147483647'::int
DELETE FROM by_int WHERE k = $1;
INSERT INTO by_int VALUES (2147483647, 'back');
CREATE TABLE by_bigint (k bigint NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_bigint', 'k')
INSERT INTO by_bigint VALUES (1, 'value 0');
INSERT INTO by_bigint VALUES (-5, 'value 1');
INSERT INTO by_bigint VALUES (9223372036854775807, 'value 2');
INSERT INTO by_bigint VALUES ('-9223372036854775808', 'value 3');
SELECT * FROM by_bigint WHERE k = 1;
UPDATE by_bigint SET v = v || '+' WHERE k = 1 RETURNING v;
-- bind '1'
SELECT v FROM by_bigint WHERE k = $1;
-- bind '1'::bigint
DELETE FROM by_bigint WHERE k = $1;
INSERT INTO by_bigint VALUES (1, 'back');
SELECT * FROM by_bigint WHERE k = -5;
UPDATE by_bigint SET v = v || '+' WHERE k = -5 RETURNING v;
-- bind '-5'
SELECT v FROM by_bigint WHERE k = $1;
-- bind '-5'::bigint
DELETE FROM by_bigint WHERE k = $1;
INSERT INTO by_bigint VALUES (-5, 'back');
SELECT * FROM by_bigint WHERE k = 9223372036854775807;
UPDATE by_bigint SET v = v || '+' WHERE k = 9223372036854775807 RETURNING v;
-- bind '9223372036854775807'
SELECT v FROM by_bigint WHERE k = $1;
-- bind '9223372036854775807'::bigint
DELETE FROM by_bigint WHERE k = $1;
INSERT INTO by_bigint VALUES (9223372036854775807, 'back');
SELECT * FROM by_bigint WHERE k = '-9223372036854775808';
UPDATE by_bigint SET v = v || '+' WHERE k = '-9223372036854775808' RETURNING v;
-- bind '-9223372036854775808'
SELECT v FROM by_bigint WHERE k = $1;
-- bind '-9223372036854775808'::bigint
DELETE FROM by_bigint WHERE k = $1;
INSERT INTO by_bigint VALUES ('-9223372036854775808', 'back');
CREATE TABLE by_text (k text NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_text', 'k')
INSERT INTO by_text VALUES ('a', 'value 0');
INSERT INTO by_text VALUES ('', 'value 1');
INSERT INTO by_text VALUES ('ä€𝄞', 'value 2');
INSERT INTO by_text VALUES ('it''s', 'value 3');
INSERT INTO by_text VALUES (E'x\ty', 'value 4');
SELECT * FROM by_text WHERE k = 'a';
UPDATE by_text SET v = v || '+' WHERE k = 'a' RETURNING v;
-- bind 'a'
SELECT v FROM by_text WHERE k = $1;
-- bind 'a'::text
DELETE FROM by_text WHERE k = $1;
INSERT INTO by_text VALUES ('a', 'back');
SELECT * FROM by_text WHERE k = '';
UPDATE by_text SET v = v || '+' WHERE k = '' RETURNING v;
-- bind ''
SELECT v FROM by_text WHERE k = $1;
-- bind ''::text
DELETE FROM by_text WHERE k = $1;
INSERT INTO by_text VALUES ('', 'back');
SELECT * FROM by_text WHERE k = 'ä€𝄞';
UPDATE by_text SET v = v || '+' WHERE k = 'ä€𝄞' RETURNING v;
-- bind 'ä€𝄞'
SELECT v FROM by_text WHERE k = $1;
-- bind 'ä€𝄞'::text
DELETE FROM by_text WHERE k = $1;
INSERT INTO by_text VALUES ('ä€𝄞', 'back');
SELECT * FROM by_text WHERE k = 'it''s';
UPDATE by_text SET v = v || '+' WHERE k = 'it''s' RETURNING v;
SELECT * FROM by_text WHERE k = E'x\ty';
UPDATE by_text SET v = v || '+' WHERE k = E'x\ty' RETURNING v;
CREATE TABLE by_varchar (k varchar(20) NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_varchar', 'k')
INSERT INTO by_varchar VALUES ('a', 'value 0');
INSERT INTO by_varchar VALUES ('b  ', 'value 1');
INSERT INTO by_varchar VALUES ('ä', 'value 2');
SELECT * FROM by_varchar WHERE k = 'a';
UPDATE by_varchar SET v = v || '+' WHERE k = 'a' RETURNING v;
-- bind 'a'
SELECT v FROM by_varchar WHERE k = $1;
SELECT * FROM by_varchar WHERE k = 'b  ';
UPDATE by_varchar SET v = v || '+' WHERE k = 'b  ' RETURNING v;
-- bind 'b  '
SELECT v FROM by_varchar WHERE k = $1;
SELECT * FROM by_varchar WHERE k = 'ä';
UPDATE by_varchar SET v = v || '+' WHERE k = 'ä' RETURNING v;
-- bind 'ä'
SELECT v FROM by_varchar WHERE k = $1;
CREATE TABLE by_char (k char(5) NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_char', 'k')
INSERT INTO by_char VALUES ('a', 'value 0');
INSERT INTO by_char VALUES ('ab   ', 'value 1');
INSERT INTO by_char VALUES ('abcde', 'value 2');
SELECT * FROM by_char WHERE k = 'a';
UPDATE by_char SET v = v || '+' WHERE k = 'a' RETURNING v;
-- bind 'a'
SELECT v FROM by_char WHERE k = $1;
SELECT * FROM by_char WHERE k = 'ab   ';
UPDATE by_char SET v = v || '+' WHERE k = 'ab   ' RETURNING v;
-- bind 'ab   '
SELECT v FROM by_char WHERE k = $1;
SELECT * FROM by_char WHERE k = 'abcde';
UPDATE by_char SET v = v || '+' WHERE k = 'abcde' RETURNING v;
-- bind 'abcde'
SELECT v FROM by_char WHERE k = $1;
CREATE TABLE by_uuid (k uuid NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_uuid', 'k')
INSERT INTO by_uuid VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'value 0');
INSERT INTO by_uuid VALUES ('{A0EEBC999C0B4EF8BB6D6BB9BD380A12}', 'value 1');
SELECT * FROM by_uuid WHERE k = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11';
UPDATE by_uuid SET v = v || '+' WHERE k = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' RETURNING v;
-- bind 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'
SELECT v FROM by_uuid WHERE k = $1;
-- bind 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid
DELETE FROM by_uuid WHERE k = $1;
INSERT INTO by_uuid VALUES ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'back');
SELECT * FROM by_uuid WHERE k = '{A0EEBC999C0B4EF8BB6D6BB9BD380A12}';
UPDATE by_uuid SET v = v || '+' WHERE k = '{A0EEBC999C0B4EF8BB6D6BB9BD380A12}' RETURNING v;
-- bind '{A0EEBC999C0B4EF8BB6D6BB9BD380A12}'
SELECT v FROM by_uuid WHERE k = $1;
-- bind '{A0EEBC999C0B4EF8BB6D6BB9BD380A12}'::uuid
DELETE FROM by_uuid WHERE k = $1;
INSERT INTO by_uuid VALUES ('{A0EEBC999C0B4EF8BB6D6BB9BD380A12}', 'back');
CREATE TABLE by_date (k date NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_date', 'k')
INSERT INTO by_date VALUES ('2024-02-29', 'value 0');
INSERT INTO by_date VALUES ('1999-12-31', 'value 1');
INSERT INTO by_date VALUES ('0044-03-15 BC', 'value 2');
SELECT * FROM by_date WHERE k = '2024-02-29';
UPDATE by_date SET v = v || '+' WHERE k = '2024-02-29' RETURNING v;
-- bind '2024-02-29'
SELECT v FROM by_date WHERE k = $1;
-- bind '2024-02-29'::date
DELETE FROM by_date WHERE k = $1;
INSERT INTO by_date VALUES ('2024-02-29', 'back');
SELECT * FROM by_date WHERE k = '1999-12-31';
UPDATE by_date SET v = v || '+' WHERE k = '1999-12-31' RETURNING v;
-- bind '1999-12-31'
SELECT v FROM by_date WHERE k = $1;
-- bind '1999-12-31'::date
DELETE FROM by_date WHERE k = $1;
INSERT INTO by_date VALUES ('1999-12-31', 'back');
SELECT * FROM by_date WHERE k = '0044-03-15 BC';
UPDATE by_date SET v = v || '+' WHERE k = '0044-03-15 BC' RETURNING v;
-- bind '0044-03-15 BC'
SELECT v FROM by_date WHERE k = $1;
-- bind '0044-03-15 BC'::date
DELETE FROM by_date WHERE k = $1;
INSERT INTO by_date VALUES ('0044-03-15 BC', 'back');
CREATE TABLE by_timestamp (k timestamp NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_timestamp', 'k')
INSERT INTO by_timestamp VALUES ('2024-02-29 01:02:03.456789', 'value 0');
INSERT INTO by_timestamp VALUES ('2024-02-29', 'value 1');
SELECT * FROM by_timestamp WHERE k = '2024-02-29 01:02:03.456789';
UPDATE by_timestamp SET v = v || '+' WHERE k = '2024-02-29 01:02:03.456789' RETURNING v;
-- bind '2024-02-29 01:02:03.456789'
SELECT v FROM by_timestamp WHERE k = $1;
-- bind '2024-02-29 01:02:03.456789'::timestamp
DELETE FROM by_timestamp WHERE k = $1;
INSERT INTO by_timestamp VALUES ('2024-02-29 01:02:03.456789', 'back');
SELECT * FROM by_timestamp WHERE k = '2024-02-29';
UPDATE by_timestamp SET v = v || '+' WHERE k = '2024-02-29' RETURNING v;
-- bind '2024-02-29'
SELECT v FROM by_timestamp WHERE k = $1;
-- bind '2024-02-29'::timestamp
DELETE FROM by_timestamp WHERE k = $1;
INSERT INTO by_timestamp VALUES ('2024-02-29', 'back');
CREATE TABLE by_timestamptz (k timestamptz NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_timestamptz', 'k')
INSERT INTO by_timestamptz VALUES ('2024-02-29 01:02:03+00', 'value 0');
INSERT INTO by_timestamptz VALUES ('2024-02-29 03:02:04+02', 'value 1');
SELECT * FROM by_timestamptz WHERE k = '2024-02-29 01:02:03+00';
UPDATE by_timestamptz SET v = v || '+' WHERE k = '2024-02-29 01:02:03+00' RETURNING v;
-- bind '2024-02-29 01:02:03+00'
SELECT v FROM by_timestamptz WHERE k = $1;
SELECT * FROM by_timestamptz WHERE k = '2024-02-29 03:02:04+02';
UPDATE by_timestamptz SET v = v || '+' WHERE k = '2024-02-29 03:02:04+02' RETURNING v;
-- bind '2024-02-29 03:02:04+02'
SELECT v FROM by_timestamptz WHERE k = $1;
CREATE TABLE by_boolean (k boolean NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_boolean', 'k')
INSERT INTO by_boolean VALUES (true, 'value 0');
INSERT INTO by_boolean VALUES ('f', 'value 1');
SELECT * FROM by_boolean WHERE k = true;
UPDATE by_boolean SET v = v || '+' WHERE k = true RETURNING v;
-- bind 'true'
SELECT v FROM by_boolean WHERE k = $1;
SELECT * FROM by_boolean WHERE k = 'f';
UPDATE by_boolean SET v = v || '+' WHERE k = 'f' RETURNING v;
-- bind 'f'
SELECT v FROM by_boolean WHERE k = $1;
CREATE TABLE by_bytea (k bytea NOT NULL, v text, PRIMARY KEY (k));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_bytea', 'k')
INSERT INTO by_bytea VALUES ('\x00ff', 'value 0');
INSERT INTO by_bytea VALUES ('abc', 'value 1');
SELECT * FROM by_bytea WHERE k = '\x00ff';
UPDATE by_bytea SET v = v || '+' WHERE k = '\x00ff' RETURNING v;
-- bind '\x00ff'
SELECT v FROM by_bytea WHERE k = $1;
SELECT * FROM by_bytea WHERE k = 'abc';
UPDATE by_bytea SET v = v || '+' WHERE k = 'abc' RETURNING v;
-- bind 'abc'
SELECT v FROM by_bytea WHERE k = $1;
CREATE TABLE by_two (a int NOT NULL, b text NOT NULL, v text, PRIMARY KEY (a, b));
-- setup pgweave: SELECT pgweave.shard_table(':schema.by_two', array['a', 'b'])
INSERT INTO by_two VALUES (1, 'x', 'one');
INSERT INTO by_two VALUES (1, 'x', 'one');
INSERT INTO by_two VALUES (2, 'y', 'two');
INSERT INTO by_two VALUES (3, 'z', 'three');
SELECT * FROM by_two WHERE a = 1 AND b = 'x';
SELECT * FROM by_two WHERE (a, b) = (2, 'y');
SELECT * FROM by_two WHERE b = 'z' AND a = 3;
SELECT * FROM by_two WHERE b = 'z' AND a = 4;
-- bind 2, y
SELECT * FROM by_two WHERE a = $1 AND b = $2;
-- bind y, 2::int8
UPDATE by_two SET v = 'found' WHERE b = $1 AND a = $2 RETURNING v;
-- unordered
SELECT * FROM by_two WHERE a = 1;
-- unordered
SELECT * FROM by_two WHERE b = 'x';
