-- COPY on an unsharded table.
CREATE TABLE t (id int PRIMARY KEY, v text, at date);
COPY t FROM STDIN;
1	one	2024-01-01
2	\N	\N
3	tab\there	2024-02-02
\.
SELECT * FROM t ORDER BY id;
COPY t TO STDOUT;
COPY t (id, v) TO STDOUT;
COPY (SELECT id FROM t ORDER BY id DESC) TO STDOUT;
COPY t TO STDOUT WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'nil');
COPY t TO STDOUT WITH (FORMAT binary);
COPY t (id, v) FROM STDIN WITH (FORMAT csv);
4,four
5,"five, and ""more"""
6,
\.
COPY t FROM STDIN WITH (FORMAT csv, HEADER MATCH);
id,v,at
7,seven,2024-07-07
\.
SELECT * FROM t WHERE id > 3 ORDER BY id;
-- Errors: nothing of the data stays.
COPY t FROM STDIN;
8	eight	2024-01-01
x	nine	2024-01-01
\.
COPY t FROM STDIN;
1	again	2024-01-01
\.
COPY t FROM STDIN;
8	too	2024-01-01	many
\.
COPY t FROM STDIN;
8
\.
COPY nothing FROM STDIN;
1
\.
COPY t (nothing) FROM STDIN;
1
\.
COPY nothing TO STDOUT;
COPY t FROM STDIN;
\.
SELECT count(*) FROM t;
BEGIN;
COPY t (id) FROM STDIN;
20
21
\.
SELECT count(*) FROM t;
ROLLBACK;
SELECT count(*) FROM t;
BEGIN;
COPY t (id) FROM STDIN;
1
\.
SELECT 1;
ROLLBACK;
COPY t (id) FROM STDIN WHERE id > 30;
30
31
\.
SELECT max(id) FROM t;
COPY t (id, v) FROM STDIN (DELIMITER '|', NULL 'x');
40|x
41|y
\.
SELECT id, v FROM t WHERE id >= 40 ORDER BY id;
COPY (SELECT g, repeat('x', 50) FROM generate_series(1, 2000) g) TO STDOUT;
COPY (INSERT INTO t (id) VALUES (50) RETURNING id) TO STDOUT;
COPY (SELECT 1 / 0) TO STDOUT;
COPY (SELECT 1 / (3 - g) FROM generate_series(1, 5) g) TO STDOUT;
-- only simple
COPY t (id) TO STDOUT; SELECT 1;
-- only simple
SELECT 1; COPY (SELECT 2) TO STDOUT; SELECT 3;
