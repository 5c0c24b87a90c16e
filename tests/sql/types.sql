-- Types that users make, and tables with all kinds of columns. Their oids differ from server to server, and the binary
-- form of arrays and rows holds them.
-- script only simple text
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE place AS (city text, zip int);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN email AS text NOT NULL CHECK (VALUE LIKE '%@%');
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE wide (i2 int2, i4 int4, i8 int8, n numeric, f4 float4, f8 float8, t text, v varchar(10), c char(4), b bool, ba bytea, d date, ti time, tz timetz, ts timestamp, tsz timestamptz, iv interval, u uuid, j json, jb jsonb, ia int[], ta text[], r int4range, ne inet, m mood, p place, po positive, e email, s span, ma mood[]);
SET TIME ZONE 'UTC';
INSERT INTO wide VALUES (1, 2, 3, 4.5, 5.5, 6.5, 't', 'v', 'c', true, '\x01', '2024-01-01', '01:02:03', '01:02:03+00', '2024-01-01 01:02:03', '2024-01-01 01:02:03+00', '1 day', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a":1}', '{"a":1}', '{1,2}', '{a,b}', '[1,2)', '10.0.0.1', 'ok', '("x y",1)', 7, 'a@b', '[1.5,2.5)', '{sad,happy}');
INSERT INTO wide (e) VALUES ('n@n');
SELECT * FROM wide;
SELECT wide FROM wide WHERE i4 = 2;
SELECT m, (p).city, po + 1, s * '[2,9]'::span, ma[1] FROM wide WHERE m >= 'ok';
SELECT enum_range(NULL::mood), enum_first(NULL::mood), 'sad'::mood < 'happy';
SELECT 'angry'::mood;
SELECT (-1)::positive;
SELECT 'x'::email;
SELECT ROW('a', 1)::place, (ROW('a', 1)::place).zip;
SELECT ARRAY['sad', 'ok']::mood[];
INSERT INTO wide (e, po) VALUES ('a@b', 0);
INSERT INTO wide (e) VALUES (NULL);
UPDATE wide SET p.city = 'z', ia[2] = 9, ma = ma || 'ok'::mood WHERE i4 = 2 RETURNING p, ia, ma;
ALTER TYPE mood ADD VALUE 'ecstatic' AFTER 'happy';
SELECT enum_range(NULL::mood);
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
SELECT ma FROM wide WHERE i4 = 2;
ALTER TYPE place ADD ATTRIBUTE country text CASCADE;
SELECT p FROM wide WHERE i4 = 2;
SELECT json_agg(w.m) FROM wide w;
DROP TYPE mood;
DROP DOMAIN email;
-- bind ok
SELECT count(*) FROM wide WHERE m = $1;
-- bind '(q,2)'
SELECT ($1::place).city;
SET DateStyle = 'German';
SELECT date '2024-01-31', timestamp '2024-01-31 01:02:03';
SET IntervalStyle = 'iso_8601';
SELECT interval '1 year 2 days';
SET extra_float_digits = 0;
SELECT 0.1::float8 + 0.2::float8;
SET bytea_output = 'escape';
SELECT '\x0041ff'::bytea;
