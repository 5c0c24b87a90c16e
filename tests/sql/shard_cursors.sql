-- Cursors and row limits over several shards. Without ORDER BY rows come in any order, so nearly everything here is ordered.
CREATE TABLE p (id int PRIMARY KEY, t text COLLATE "C", g int, n numeric, f float8);
-- setup pgweave: SELECT pgweave.shard_table(':schema.p', 'id')
INSERT INTO p VALUES (1, 'row 1', 1, 1.5, 0.1);
INSERT INTO p VALUES (2, 'row 2', 0, NULL, 0.2);
INSERT INTO p VALUES (3, 'row 3', 1, 3, NULL);
INSERT INTO p VALUES (4, 'row 4', 0, 4.25, 1e300);
INSERT INTO p VALUES (5, 'row 5', 1, 5, -0.5);
INSERT INTO p VALUES (6, 'row 6', 0, 6, 6);
INSERT INTO p VALUES (7, NULL, 1, 7, 7);
INSERT INTO p VALUES (8, 'row 8', 0, 8, 8);
INSERT INTO p VALUES (9, 'row 9', NULL, 9, 9);
INSERT INTO p VALUES (10, 'row 10', 0, 10, 10);
INSERT INTO p VALUES (11, 'row 11', 1, 11, 11);
INSERT INTO p VALUES (12, 'row 12', 2, 12, 12);
-- limit 5
SELECT id, t FROM p ORDER BY id;
-- limit 1
SELECT id, t FROM p ORDER BY id;
-- limit 12
SELECT id FROM p ORDER BY id DESC;
-- limit 13
SELECT id FROM p ORDER BY id DESC;
-- limit 4
SELECT id FROM p ORDER BY id LIMIT 8;
-- limit 3
SELECT id FROM p ORDER BY id LIMIT 8 OFFSET 3;
-- limit 3
-- bind 8, 3
SELECT id FROM p ORDER BY id LIMIT $1 OFFSET $2;
-- limit 2
SELECT DISTINCT g FROM p ORDER BY g;
-- limit 2
SELECT DISTINCT ON (g) g, id FROM p ORDER BY g, id;
-- limit 2
SELECT g, count(*), sum(n), min(t) FROM p GROUP BY g ORDER BY g;
-- limit 1
SELECT g, avg(n), max(f) FROM p GROUP BY g ORDER BY g;
-- limit 1
SELECT count(*), sum(f) FROM p;
-- limit 2
SELECT id FROM p ORDER BY t DESC NULLS LAST, id;
-- limit 2
SELECT g FROM p ORDER BY g FETCH FIRST 3 ROWS WITH TIES;
-- limit 3
SELECT a.id, b.id FROM p a JOIN p b ON b.id = a.id + 1 ORDER BY a.id;
-- limit 3
SELECT id, row_number() OVER (ORDER BY id DESC) FROM p ORDER BY id;
-- limit 2
-- bind 4::int4
SELECT id, t FROM p WHERE id > $1 ORDER BY id;
-- limit 2
SELECT id FROM p WHERE id > 100 ORDER BY id;
-- limit 2
SELECT 10 / (id - 4) FROM p ORDER BY id;
-- limit 2
SELECT id FROM p WHERE id IN (2, 3, 5, 7) ORDER BY id;
BEGIN;
-- limit 5
SELECT id, t FROM p ORDER BY id;
-- limit 2
SELECT id FROM p WHERE id < 6 ORDER BY id FOR UPDATE;
COMMIT;
-- By SQL.
DECLARE outside CURSOR FOR SELECT id FROM p;
BEGIN;
DECLARE c CURSOR FOR SELECT id, t FROM p ORDER BY id;
FETCH c;
FETCH NEXT FROM c;
FETCH 3 FROM c;
FETCH FORWARD 2 IN c;
MOVE 2 FROM c;
MOVE NEXT FROM c;
FETCH RELATIVE 1 FROM c;
FETCH ALL FROM c;
FETCH c;
FETCH 0 FROM c;
MOVE FORWARD ALL IN c;
CLOSE c;
FETCH c;
ROLLBACK;
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM p ORDER BY id;
FETCH FIRST FROM c;
FETCH ABSOLUTE 4 FROM c;
FETCH BACKWARD 1 FROM c;
ROLLBACK;
BEGIN;
DECLARE c NO SCROLL CURSOR FOR SELECT id FROM p ORDER BY id;
FETCH 2 FROM c;
FETCH 0 FROM c;
ROLLBACK;
-- What happens after DECLARE is not seen.
BEGIN;
DECLARE c CURSOR FOR SELECT id, t FROM p ORDER BY id;
FETCH 2 FROM c;
UPDATE p SET t = 'changed' WHERE id = 3;
DELETE FROM p WHERE id = 4;
INSERT INTO p VALUES (20, 'new', 1, 1, 1);
FETCH 3 FROM c;
SELECT count(*) FROM p;
DECLARE d CURSOR FOR SELECT count(*) FROM p;
FETCH ALL FROM c;
FETCH ALL FROM d;
FETCH ALL FROM d;
DECLARE c CURSOR FOR SELECT 1;
ROLLBACK;
-- Two at once.
BEGIN;
DECLARE a CURSOR FOR SELECT id FROM p ORDER BY id;
DECLARE b CURSOR FOR SELECT t, id FROM p ORDER BY id DESC;
FETCH 2 FROM a;
FETCH 3 FROM b;
SELECT t FROM p WHERE id = 5;
FETCH 2 FROM a;
SELECT sum(id) FROM p;
FETCH 3 FROM b;
CLOSE a;
FETCH 2 FROM b;
CLOSE ALL;
FETCH 2 FROM b;
COMMIT;
-- Savepoints.
BEGIN;
DECLARE old CURSOR FOR SELECT id FROM p ORDER BY id;
FETCH 2 FROM old;
SAVEPOINT s;
DECLARE young CURSOR FOR SELECT id FROM p ORDER BY id;
FETCH 1 FROM young;
FETCH 2 FROM old;
ROLLBACK TO s;
FETCH 2 FROM old;
FETCH 1 FROM young;
ROLLBACK TO s;
DECLARE young CURSOR FOR SELECT id FROM p ORDER BY id DESC;
FETCH 1 FROM young;
RELEASE s;
FETCH 1 FROM young;
SELECT 1 / 0;
ROLLBACK;
FETCH 1 FROM old;
-- An error in the middle.
BEGIN;
SAVEPOINT s;
DECLARE e CURSOR FOR SELECT id, 10 / (id - 10) FROM p ORDER BY id;
FETCH ALL FROM e;
ROLLBACK TO s;
SELECT count(*) FROM p;
COMMIT;
-- The merge session's.
BEGIN;
DECLARE s SCROLL CURSOR FOR SELECT id, t FROM p ORDER BY id;
FETCH LAST FROM s;
FETCH PRIOR FROM s;
FETCH BACKWARD 3 FROM s;
FETCH FIRST FROM s;
FETCH ABSOLUTE -2 FROM s;
FETCH RELATIVE -3 FROM s;
MOVE BACKWARD ALL IN s;
FETCH 2 FROM s;
CLOSE s;
DECLARE w CURSOR FOR SELECT id, rank() OVER (ORDER BY g, id) FROM p ORDER BY id;
FETCH 5 FROM w;
MOVE 2 FROM w;
FETCH ALL FROM w;
COMMIT;
BEGIN;
DECLARE b BINARY CURSOR FOR SELECT id, t FROM p ORDER BY id;
FETCH 2 FROM b;
FETCH 2 FROM b;
COMMIT;
-- Lives on after the transaction.
BEGIN;
DECLARE h CURSOR WITH HOLD FOR SELECT id, t FROM p ORDER BY id;
FETCH 2 FROM h;
UPDATE p SET t = 'later' WHERE id = 5;
COMMIT;
FETCH 3 FROM h;
SELECT t FROM p WHERE id = 5;
BEGIN;
FETCH 1 FROM h;
ROLLBACK;
FETCH 1 FROM h;
CLOSE h;
FETCH h;
DECLARE i CURSOR WITH HOLD FOR SELECT id FROM p ORDER BY id DESC;
FETCH 2 FROM i;
FETCH BACKWARD 1 FROM i;
CLOSE ALL;
FETCH i;
BEGIN;
DECLARE gone CURSOR WITH HOLD FOR SELECT id FROM p ORDER BY id;
ROLLBACK;
FETCH gone;
-- Which shard it is comes from the values.
BEGIN;
DECLARE k CURSOR FOR SELECT id, t FROM p WHERE id = 6;
FETCH ALL FROM k;
DECLARE l CURSOR FOR SELECT id, t FROM p WHERE id IN (1, 6, 8) ORDER BY id;
FETCH 2 FROM l;
FETCH 2 FROM l;
COMMIT;
BEGIN;
-- bind 3::int4
DECLARE v CURSOR FOR SELECT id FROM p WHERE id > $1 ORDER BY id;
FETCH 2 FROM v;
FETCH ALL FROM v;
COMMIT;
BEGIN;
DECLARE o CURSOR FOR SELECT id, no_such_column FROM p ORDER BY id;
ROLLBACK;
BEGIN;
DECLARE "Strange ""name" CURSOR FOR SELECT id FROM p ORDER BY id;
FETCH 2 FROM "Strange ""name";
COMMIT;
BEGIN;
DECLARE m CURSOR FOR SELECT id FROM p ORDER BY id;
MOVE 4 FROM m;
FETCH 2 FROM m;
MOVE ABSOLUTE 9 IN m;
FETCH 2 FROM m;
COMMIT;
BEGIN;
DECLARE here CURSOR FOR SELECT id FROM p ORDER BY id;
FETCH 1 FROM here;
-- expect-refusal 0A000
UPDATE p SET t = 'x' WHERE CURRENT OF here;
ROLLBACK;
-- Prepared by SQL.
PREPARE whole AS SELECT id, t FROM p ORDER BY id LIMIT 3;
EXECUTE whole;
PREPARE over (int, text) AS SELECT id, $2 || id FROM p WHERE id > $1 ORDER BY id LIMIT 3;
EXECUTE over (4, 'x');
EXECUTE over (2 + 3, upper('y'));
EXECUTE over (NULL, 'x');
-- By the extended protocol the arguments are evaluated at Bind, so that these errors come before BindComplete.
-- only simple
EXECUTE over (1);
-- only simple
EXECUTE over (1, 2, 3);
-- only simple
EXECUTE over ('no', 'x');
-- only simple
EXECUTE over (1 / 0, 'x');
PREPARE some (int, int) AS SELECT id, t FROM p WHERE id IN ($1, $2) ORDER BY id;
EXECUTE some (2, 2);
EXECUTE some (2, 9);
EXECUTE some (2 + 1, 10 - 1);
EXECUTE some (6, 5 + 1);
EXECUTE some (NULL, 9);
PREPARE several (int[]) AS SELECT id FROM p WHERE id = ANY ($1) ORDER BY id;
EXECUTE several ('{1,2,3,5}');
EXECUTE several (ARRAY[4, 8, 11]);
EXECUTE several ('{6}');
PREPARE counted AS SELECT g, count(*), avg(n) FROM p WHERE f > $1 GROUP BY g ORDER BY g;
EXECUTE counted (0.05);
EXECUTE counted (1e10::float8 * 2);
PREPARE windowed (date) AS SELECT id, $1 + (rank() OVER (ORDER BY id))::int FROM p ORDER BY id LIMIT 2;
EXECUTE windowed ('2024-02-28');
EXECUTE windowed (date '2024-01-01' + 5);
-- limit 2
EXECUTE over (4, 'x');
BEGIN;
EXECUTE whole;
UPDATE p SET t = 'within' WHERE id = 2;
EXECUTE whole;
ROLLBACK;
PREPARE change (int, text) AS UPDATE p SET t = $2 WHERE id = $1;
EXECUTE change (1 + 1, 'by expression');
EXECUTE some (2, 2);
DEALLOCATE over;
EXECUTE over (4, 'x');
-- It takes back the search_path too.
DECLARE late CURSOR WITH HOLD FOR SELECT id FROM p ORDER BY id;
DISCARD ALL;
FETCH late;
