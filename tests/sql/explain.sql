-- EXPLAIN runs; its text begins with the route, so only what it leaves behind is compared.
CREATE TABLE t (id int PRIMARY KEY);
-- differs: the route comes first
EXPLAIN SELECT * FROM t;
-- differs: the route comes first
EXPLAIN (COSTS OFF) SELECT * FROM t WHERE id = 1;
-- differs: the route comes first
EXPLAIN ANALYZE INSERT INTO t VALUES (1);
SELECT * FROM t;
-- differs: the route comes first
EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) DELETE FROM t;
SELECT * FROM t;
-- only simple
EXPLAIN SELECT * FROM nothing;
EXPLAIN SELEC 1;
EXPLAIN (NONSENSE) SELECT 1;
BEGIN;
-- differs: the route comes first
EXPLAIN ANALYZE INSERT INTO t VALUES (2);
ROLLBACK;
SELECT * FROM t;
EXPLAIN;
