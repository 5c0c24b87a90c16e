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
CREATE TABLE sharded (id int PRIMARY KEY, note text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.sharded', 'id')
INSERT INTO sharded VALUES (1, 'a');
INSERT INTO sharded VALUES (2, 'b');
-- differs: the router's own tree
EXPLAIN ANALYZE SELECT * FROM sharded ORDER BY id;
-- differs: the router's own tree
EXPLAIN (VERBOSE, COSTS OFF) SELECT note, count(*) + 1 FROM sharded GROUP BY note;
-- differs: the router's own tree
EXPLAIN (ANALYZE, FORMAT YAML) SELECT id, rank() OVER (ORDER BY note) FROM sharded;
EXPLAIN ANALYZE SELECT 1 / (id - 1) FROM sharded;
-- only simple
EXPLAIN SELECT nothing FROM sharded;
SELECT * FROM sharded ORDER BY id;
BEGIN;
-- differs: the route comes first
EXPLAIN ANALYZE INSERT INTO t VALUES (2);
ROLLBACK;
SELECT * FROM t;
EXPLAIN;
