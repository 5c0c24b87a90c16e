CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL);
PREPARE one AS SELECT * FROM t WHERE id = $1;
EXECUTE one(1);
EXECUTE one(2);
EXECUTE one('3');
EXECUTE one(1 + 1);
EXECUTE one;
EXECUTE one(1, 2);
EXECUTE one('x');
EXECUTE nothing(1);
PREPARE one AS SELECT 2;
PREPARE typed (int, text) AS SELECT $1 + 1, $2 || '!';
EXECUTE typed(41, 'a');
EXECUTE typed(NULL, NULL);
PREPARE ins (int, text) AS INSERT INTO t VALUES ($1, $2) RETURNING *;
EXECUTE ins(4, 'four');
EXECUTE ins(4, 'four');
PREPARE upd AS UPDATE t SET v = $2 WHERE id = $1;
EXECUTE upd(4, 'FOUR');
EXECUTE upd(400, 'x');
PREPARE del AS DELETE FROM t WHERE id = $1;
EXECUTE del(4);
-- differs: the router names them
SELECT name, parameter_types, from_sql FROM pg_prepared_statements ORDER BY name;
DEALLOCATE one;
EXECUTE one(1);
DEALLOCATE one;
DEALLOCATE PREPARE typed;
PREPARE bad AS SELECT nothing;
PREPARE bad AS SELEC 1;
PREPARE twice AS SELECT 1;
BEGIN;
PREPARE inside AS SELECT 'inside';
EXECUTE inside;
ROLLBACK;
EXECUTE inside;
BEGIN;
SELECT 1 / 0;
EXECUTE inside;
ROLLBACK;
-- expect-refusal 0A000
CREATE TABLE made AS EXECUTE twice;
-- differs: the route comes first
EXPLAIN (COSTS OFF) EXECUTE twice;
-- The definition changes under it.
PREPARE star AS SELECT * FROM t ORDER BY id;
EXECUTE star;
ALTER TABLE t ADD COLUMN w int;
EXECUTE star;
DEALLOCATE star;
PREPARE star AS SELECT * FROM t ORDER BY id;
EXECUTE star;
-- Plans depend on the search path at execution.
CREATE SCHEMA :schema_other;
CREATE TABLE :schema_other.t (id int, v text);
INSERT INTO :schema_other.t VALUES (1, 'other');
PREPARE where_am_i AS SELECT id, v FROM t WHERE id = 1;
EXECUTE where_am_i;
SET search_path = :schema_other;
EXECUTE where_am_i;
SET search_path = :schema, public;
EXECUTE where_am_i;
DEALLOCATE ALL;
EXECUTE where_am_i;
-- differs: a pooled connection keeps others' too
SELECT count(*) FROM pg_prepared_statements;
PREPARE again AS SELECT 1;
DISCARD PLANS;
EXECUTE again;
DISCARD ALL;
EXECUTE again;
-- Prepared in one session, unknown in another.
PREPARE mine AS SELECT 'mine';
-- connect b
EXECUTE mine;
PREPARE mine AS SELECT 'theirs';
EXECUTE mine;
-- connect a
EXECUTE mine;
-- disconnect b
EXECUTE mine;
PREPARE "Odd; name" AS SELECT 1;
EXECUTE "Odd; name";
PREPARE vals AS VALUES (1), (2);
EXECUTE vals;
PREPARE many (int[], jsonb, date) AS SELECT $1, $2, $3;
EXECUTE many('{1,2}', '{"a":1}', '2024-01-01');
