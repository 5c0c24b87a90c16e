-- Triggers and rules of tables on one shard: what they reach for must be there.
CREATE TABLE :schema_spread (k int PRIMARY KEY, n int);
-- setup pgweave: SELECT pgweave.shard_table(':schema.:schema_spread', 'k')
CREATE TABLE :schema_copies (id int PRIMARY KEY, n int);
-- setup pgweave: SELECT pgweave.reference_table(':schema.:schema_copies')
CREATE TABLE :schema_whole (a int PRIMARY KEY, b int);
CREATE TABLE :schema_log (a int, what text);
INSERT INTO :schema_spread VALUES (1, 1);
INSERT INTO :schema_spread VALUES (2, 2);
INSERT INTO :schema_spread VALUES (3, 3);
INSERT INTO :schema_copies VALUES (1, 1);
INSERT INTO :schema_whole VALUES (1, 1), (2, 2);
-- What stays on the shard, or in the row.
CREATE FUNCTION :schema_doubled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := NEW.b * 2; RETURN NEW; END $$;
CREATE TRIGGER :schema_doubled BEFORE INSERT OR UPDATE ON :schema_whole FOR EACH ROW EXECUTE FUNCTION :schema_doubled();
CREATE FUNCTION :schema_logged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO :schema.:schema_log VALUES (NEW.a, TG_OP); RETURN NULL; END $$;
CREATE TRIGGER :schema_logged AFTER INSERT OR UPDATE ON :schema_whole FOR EACH ROW EXECUTE FUNCTION :schema_logged();
INSERT INTO :schema_whole VALUES (3, 3) RETURNING b;
UPDATE :schema_whole SET b = b + 1 WHERE a < 3;
SELECT * FROM :schema_whole ORDER BY a;
SELECT * FROM :schema_log ORDER BY a, what;
CREATE RULE noted AS ON DELETE TO :schema_whole DO ALSO INSERT INTO :schema_log VALUES (OLD.a, 'rule');
DELETE FROM :schema_whole WHERE a = 3;
CREATE RULE kept AS ON DELETE TO :schema_log DO INSTEAD NOTHING;
DELETE FROM :schema_log;
SELECT * FROM :schema_log ORDER BY a, what;
COPY :schema_whole FROM STDIN;
7	7
\.
SELECT * FROM :schema_whole WHERE a = 7;
CREATE FUNCTION :schema_add_whole(x int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO :schema.:schema_whole VALUES (x, x); RETURN x; END $$;
-- A trigger that would find the rows of one shard only.
CREATE FUNCTION :schema_swept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM :schema.:schema_spread; RETURN NEW; END $$;
CREATE TRIGGER :schema_swept BEFORE INSERT ON :schema_whole FOR EACH ROW EXECUTE FUNCTION :schema_swept();
-- expect-refusal 0A000
INSERT INTO :schema_whole VALUES (4, 4);
-- expect-refusal 0A000
INSERT INTO :schema_whole SELECT 4, 4;
-- expect-refusal 0A000
WITH x AS (INSERT INTO :schema_whole VALUES (4, 4) RETURNING a) SELECT * FROM x;
-- expect-refusal 0A000
COPY :schema_whole FROM STDIN;
4	4
\.
-- expect-refusal 0A000
SELECT :schema_add_whole(9);
SELECT count(*) FROM :schema_whole;
SELECT * FROM :schema_spread WHERE k = 1;
SELECT * FROM :schema_spread WHERE k = 2;
SELECT * FROM :schema_spread WHERE k = 3;
DROP TRIGGER :schema_swept ON :schema_whole;
INSERT INTO :schema_whole VALUES (4, 4);
-- A function that changes its mind.
CREATE FUNCTION :schema_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER :schema_later BEFORE INSERT ON :schema_whole FOR EACH ROW EXECUTE FUNCTION :schema_later();
INSERT INTO :schema_whole VALUES (5, 5);
CREATE OR REPLACE FUNCTION :schema_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM count(*) FROM :schema.:schema_spread; UPDATE :schema.:schema_copies SET n = n + 1; RETURN NEW; END $$;
-- expect-refusal 0A000
INSERT INTO :schema_whole VALUES (6, 6);
CREATE OR REPLACE FUNCTION :schema_later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE :schema.:schema_copies SET n = n + 1; RETURN NEW; END $$;
-- expect-refusal 0A000
INSERT INTO :schema_whole VALUES (6, 6);
SELECT * FROM :schema_copies;
DROP FUNCTION :schema_later CASCADE;
INSERT INTO :schema_whole VALUES (6, 6);
-- In one transaction.
BEGIN;
CREATE FUNCTION :schema_fresh() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM :schema.:schema_spread; RETURN NEW; END $$;
CREATE TRIGGER :schema_fresh BEFORE INSERT ON :schema_log FOR EACH ROW EXECUTE FUNCTION :schema_fresh();
-- expect-refusal 0A000
INSERT INTO :schema_log VALUES (1, 'x');
ROLLBACK;
INSERT INTO :schema_log VALUES (1, 'x');
-- Rules.
CREATE RULE sweeps AS ON UPDATE TO :schema_whole DO ALSO DELETE FROM :schema_spread;
-- expect-refusal 0A000
UPDATE :schema_whole SET b = 1;
SELECT * FROM :schema_spread WHERE k = 2;
BEGIN;
DROP RULE sweeps ON :schema_whole;
UPDATE :schema_whole SET b = 1 WHERE a = 1;
ROLLBACK;
DROP RULE sweeps ON :schema_whole;
UPDATE :schema_whole SET b = 1 WHERE a = 1;
BEGIN;
CREATE RULE counts AS ON INSERT TO :schema_whole DO ALSO SELECT count(*) FROM :schema_spread;
-- expect-refusal 0A000
INSERT INTO :schema_whole VALUES (10, 10);
ROLLBACK;
CREATE VIEW few AS SELECT * FROM :schema_whole WHERE a < 5;
CREATE RULE elsewhere AS ON DELETE TO few DO INSTEAD DELETE FROM :schema_spread WHERE k = OLD.a;
-- expect-refusal 0A000
DELETE FROM few WHERE a = 1;
SELECT * FROM :schema_spread WHERE k = 1;
DROP RULE elsewhere ON few;
DELETE FROM few WHERE a = 1;
-- expect-refusal 0A000
CREATE RULE r AS ON INSERT TO :schema_spread DO INSTEAD NOTHING;
-- expect-refusal 0A000
CREATE RULE r AS ON INSERT TO :schema_copies DO INSTEAD NOTHING;
-- expect-refusal 0A000
CREATE TRIGGER :schema_swept BEFORE INSERT ON :schema_spread FOR EACH ROW EXECUTE FUNCTION :schema_swept();
-- TRUNCATE has triggers too.
CREATE FUNCTION :schema_emptied() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM :schema.:schema_spread; RETURN NULL; END $$;
CREATE TRIGGER :schema_emptied AFTER TRUNCATE ON :schema_log FOR EACH STATEMENT EXECUTE FUNCTION :schema_emptied();
-- expect-refusal 0A000
TRUNCATE :schema_log;
DROP TRIGGER :schema_emptied ON :schema_log;
TRUNCATE :schema_log;
SELECT * FROM :schema_spread WHERE k = 3;
-- A trigger that changes the key: the row stays on its shard, or is refused.
CREATE TABLE :schema_signs (k int PRIMARY KEY, n int);
-- setup pgweave: SELECT pgweave.shard_table(':schema.:schema_signs', 'k', by => 'range', shards => array['s1', 's2'], bounds => array[0])
CREATE FUNCTION :schema_moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.k := NEW.k + NEW.n; RETURN NEW; END $$;
CREATE TRIGGER :schema_moved BEFORE INSERT OR UPDATE ON :schema_signs FOR EACH ROW EXECUTE FUNCTION :schema_moved();
INSERT INTO :schema_signs VALUES (1, 10) RETURNING k;
INSERT INTO :schema_signs VALUES (-30, 10) RETURNING k;
SELECT * FROM :schema_signs WHERE k = 11;
SELECT * FROM :schema_signs WHERE k = -20;
SELECT * FROM :schema_signs WHERE k = 1;
-- expect-refusal 23514
INSERT INTO :schema_signs VALUES (1, -10);
UPDATE :schema_signs SET n = 5 WHERE k = 11 RETURNING *;
SELECT * FROM :schema_signs WHERE k = 16;
-- expect-refusal 23514
UPDATE :schema_signs SET n = 50 WHERE k = -20;
WITH x AS (UPDATE :schema_signs SET n = 1 WHERE k = 16 RETURNING k) SELECT x.k, s.n FROM x LEFT JOIN :schema_signs s ON s.k = x.k;
WITH x AS (INSERT INTO :schema_signs VALUES (100, 1) RETURNING k) SELECT x.k, s.n FROM x LEFT JOIN :schema_signs s ON s.k = x.k;
INSERT INTO :schema_signs VALUES (99, 2) ON CONFLICT (k) DO UPDATE SET n = 0 RETURNING *;
DROP TRIGGER :schema_moved ON :schema_signs;
-- A default and an identity of the key do not matter where it is given.
ALTER TABLE :schema_signs ALTER COLUMN k SET DEFAULT 7;
INSERT INTO :schema_signs VALUES (8, 8) RETURNING *;
-- expect-refusal 0A000
INSERT INTO :schema_signs (n) VALUES (7);
-- expect-refusal 0A000
INSERT INTO :schema_signs DEFAULT VALUES;
-- expect-refusal 0A000
UPDATE :schema_signs SET k = DEFAULT WHERE k = 8;
