-- COPY into sharded and reference tables.
CREATE TABLE t (id bigint PRIMARY KEY, v text, at date, n int CHECK (n < 100));
CREATE TABLE words (n int, word text PRIMARY KEY);
CREATE TABLE pairs (a int, b text, v int DEFAULT 7, s serial, PRIMARY KEY (a, b));
CREATE TABLE days (day date PRIMARY KEY, v int);
CREATE TABLE uuids (u uuid PRIMARY KEY, b bytea);
CREATE TABLE products (id int PRIMARY KEY, name text, price numeric(10,2), made timestamptz DEFAULT now());
CREATE TABLE generated (twice int GENERATED ALWAYS AS (k * 2) STORED, k int PRIMARY KEY);
-- setup pgweave: SELECT pgweave.shard_table(':schema.t', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.words', 'word')
-- setup pgweave: SELECT pgweave.shard_table(':schema.pairs', ARRAY['a', 'b'])
-- setup pgweave: SELECT pgweave.shard_table(':schema.days', 'day')
-- setup pgweave: SELECT pgweave.shard_table(':schema.uuids', 'u')
-- setup pgweave: SELECT pgweave.shard_table(':schema.generated', 'k')
-- setup pgweave: SELECT pgweave.reference_table(':schema.products')
COPY t FROM STDIN;
1	one	2024-01-01	1
2	\N	\N	\N
3	tab\there	2024-02-02	3
4	line\nbreak	\N	4
5	back\\slash	\N	5
6		\N	6
7	seven	\N	7
8	acht	\N	8
\.
SELECT * FROM t ORDER BY id;
COPY t (v, id) FROM STDIN WITH (FORMAT csv);
four,14
"five, and ""more""",15
"two
lines",16
,17
"",18
x,"19"
\.
COPY t (n, id) FROM STDIN (FORMAT csv, HEADER, DELIMITER ';', NULL 'nil', QUOTE '''');
n;id
1;21
nil;'22'
'3';23
4;24
\.
COPY t (id, v) FROM STDIN WITH (FORMAT csv, HEADER MATCH);
id,v
31,seven
32,eight
33,nine
\.
COPY t (id, v) FROM STDIN WITH CSV HEADER;
id,v
41,seven
42,eight
43,nine
\.
COPY t (id, v) FROM STDIN DELIMITER '|' NULL '';
51|x
52|
53|y\|z
54|\x41\102
\.
COPY t (id, v) FROM STDIN WHERE id > 62;
61	x
62	x
63	x
64	x
\.
SELECT * FROM t WHERE id > 10 ORDER BY id;
COPY words (n, word) FROM STDIN;
1	one
2	two
3	ünf
4	\\N
5	a\tb
6	
7	\x37
\.
COPY words FROM STDIN (FORMAT csv);
11,"o""ne"
12,"zwei"
13,"-"
\.
COPY words FROM STDIN (FORMAT csv, ESCAPE '\');
21,"o\"ne"
22,"t\\wo"
23,x\y
\.
SELECT * FROM words ORDER BY n;
COPY pairs (v, b, a) FROM STDIN;
1	a	1
2	b	1
3	a	2
4	b	2
\.
COPY pairs (a, b) FROM STDIN;
5	a
6	b
7	c
\.
SELECT a, b, v FROM pairs ORDER BY a, b;
SELECT count(DISTINCT s) FROM pairs;
COPY days FROM STDIN;
2024-01-01	1
2024-02-29	2
infinity	3
1999-12-31	4
\.
SELECT * FROM days ORDER BY day;
COPY uuids FROM STDIN;
00000000-0000-0000-0000-000000000001	\\x00ff
A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11	\\x
{b0eebc999c0b4ef8bb6d6bb9bd380a11}	\N
\.
SELECT * FROM uuids ORDER BY u;

-- Errors: nothing of the data stays.
COPY t FROM STDIN;
101	x	2024-01-01	1
102	x	2024-01-01	1
x	nine	2024-01-01	1
104	x	2024-01-01	1
\.
COPY t FROM STDIN;
101	x	2024-01-01	1
102	x	2024-01-01	1
103	x	2024-01-01	1
104	x	no date	1
105	x	2024-01-01	1
\.
COPY t FROM STDIN;
101	x	2024-01-01	1
102	x	2024-01-01	1
103	x	2024-01-01	100
104	x	2024-01-01	1
\.
COPY t FROM STDIN;
101	x	2024-01-01	1
102	x	2024-01-01	1
1	again	2024-01-01	1
104	x	2024-01-01	1
\.
COPY t FROM STDIN;
101	x	2024-01-01	1
102	x	2024-01-01	1
103	x	2024-01-01	1	many
104	x	2024-01-01	1
\.
COPY t FROM STDIN;
101	x	2024-01-01	1
102	x	2024-01-01	1
103
104	x	2024-01-01	1
\.
COPY t FROM STDIN;
101	x	2024-01-01	1
\N	x	2024-01-01	1
103	x	2024-01-01	1
\.
COPY t FROM STDIN;

101	x	2024-01-01	1
\.
COPY t (id, v) FROM STDIN (FORMAT csv);
101,x
102,"two
lines"
103,x
104,"x
105,y
\.
COPY t (id, v, n) FROM STDIN (FORMAT csv);
101,x,1
102,"two
lines",2
103,x,x
104,x,4
\.
COPY t (id, v) FROM STDIN WITH (FORMAT csv, HEADER MATCH);
id,nothing
101,x
102,y
\.
COPY t (nothing) FROM STDIN;
1
\.
COPY t (id, id) FROM STDIN;
1	1
\.
COPY t FROM STDIN (FORMAT nothing);
1
\.
COPY t FROM STDIN (DELIMITER 'xx');
1
\.
COPY t FROM STDIN;
\.
SELECT count(*) FROM t WHERE id > 100;
-- expect-refusal 0A000
COPY t (v) FROM STDIN;
1
\.
-- expect-refusal 0A000
COPY t FROM '/tmp/nothing';
-- expect-refusal 0A000
COPY t FROM STDIN (ENCODING 'latin1');
1
\.
-- expect-refusal 0A000
COPY generated FROM STDIN;
1
\.
COPY generated (k) FROM STDIN;
1
2
3
4
\.
SELECT * FROM generated ORDER BY k;

-- Within blocks.
BEGIN;
COPY t (id) FROM STDIN;
201
202
203
204
\.
SELECT count(*) FROM t WHERE id > 200;
SAVEPOINT s;
COPY t (id) FROM STDIN;
211
212
213
201
\.
SELECT 1;
ROLLBACK TO s;
COPY t (id) FROM STDIN;
221
222
223
\.
COMMIT;
BEGIN;
COPY t (id) FROM STDIN;
231
232
233
\.
ROLLBACK;
SELECT id FROM t WHERE id > 200 ORDER BY id;
-- only simple
COPY t (id) FROM STDIN; SELECT count(*) FROM t WHERE id > 300;
301
302
303
\.

-- Reference tables.
COPY products (id, name, price, made) FROM STDIN;
1	bolt	0.10	2024-01-01 00:00:00+00
2	nut	0.20	\N
\.
COPY products (id, name, price, made) FROM STDIN (FORMAT csv);
3,gear,12.5,
4,"a
b",1,
\.
COPY products (id, name, price, made) FROM STDIN;
5	x	1	\N
6	x	y	\N
\.
COPY products (id, name, price, made) FROM STDIN;
5	x	1	\N
1	x	1	\N
\.
-- expect-refusal 0A000
COPY products (id) FROM STDIN;
1
\.
SELECT id, name, price FROM products ORDER BY id;
SELECT count(*) FROM t JOIN products p ON p.id = t.id;
