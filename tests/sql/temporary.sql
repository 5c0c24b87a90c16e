-- Temporary tables belong to a session.
CREATE TEMP TABLE mine (id int PRIMARY KEY, v text);
INSERT INTO mine VALUES (1, 'one');
SELECT * FROM mine;
-- connect b
SELECT * FROM mine;
CREATE TEMPORARY TABLE mine (other int);
INSERT INTO mine VALUES (2);
SELECT * FROM mine;
-- connect a
SELECT * FROM mine;
CREATE TABLE shared (id int);
CREATE TEMP TABLE shared (v text);
INSERT INTO shared VALUES ('temporary');
SELECT * FROM shared;
SELECT * FROM :schema.shared;
-- connect b
SELECT * FROM shared;
-- connect a
DROP TABLE shared;
SELECT * FROM shared;
BEGIN;
CREATE TEMP TABLE gone (a int) ON COMMIT DROP;
INSERT INTO gone VALUES (1);
SELECT * FROM gone;
COMMIT;
SELECT * FROM gone;
BEGIN;
CREATE TEMP TABLE emptied (a int) ON COMMIT DELETE ROWS;
INSERT INTO emptied VALUES (1);
COMMIT;
SELECT count(*) FROM emptied;
BEGIN;
CREATE TEMP TABLE undone (a int);
ROLLBACK;
SELECT * FROM undone;
CREATE TEMP TABLE made AS SELECT g FROM generate_series(1, 3) g;
SELECT sum(g) FROM made;
SELECT 1 AS x INTO TEMP into_temp;
SELECT * FROM into_temp;
CREATE TEMP SEQUENCE s;
SELECT nextval('s'), nextval('s');
CREATE TEMP VIEW tv AS SELECT * FROM mine;
SELECT * FROM tv;
CREATE INDEX ON mine (v);
ALTER TABLE mine ADD COLUMN w int DEFAULT 3;
SELECT * FROM mine;
SELECT * FROM pg_temp.mine;
TRUNCATE mine;
COPY mine (id, v) FROM STDIN;
5	five
\.
SELECT * FROM mine;
UPDATE mine SET v = 'FIVE' WHERE id = 5 RETURNING *;
DELETE FROM mine;
CREATE TABLE pg_temp.explicit (a int);
SELECT * FROM explicit;
DROP TABLE explicit, into_temp;
DISCARD TEMP;
SELECT * FROM mine;
SELECT * FROM made;
-- connect b
SELECT * FROM mine;
-- disconnect b
CREATE TEMP TABLE back AS SELECT 1 AS one;
DISCARD ALL;
SELECT * FROM back;
