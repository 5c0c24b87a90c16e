-- Triggers and rules of tables on one shard: what they reach for must be there.
CREATE TABLE spread (k int PRIMARY KEY, n int);
-- setup pgweave: SELECT pgweave.shard_table(':schema.spread', 'k')
CREATE TABLE copies (id int PRIMARY KEY, n int);
-- setup pgweave: SELECT pgweave.reference_table(':schema.copies')
CREATE TABLE whole (a int PRIMARY KEY, b int);
CREATE TABLE log (a int, what text);
INSERT INTO spread VALUES (1, 1);
INSERT INTO spread VALUES (2, 2);
INSERT INTO spread VALUES (3, 3);
INSERT INTO copies VALUES (1, 1);
INSERT INTO whole VALUES (1, 1), (2, 2);
-- What stays on the shard, or in the row.
CREATE FUNCTION doubled() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.b := NEW.b * 2; RETURN NEW; END $$;
CREATE TRIGGER doubled BEFORE INSERT OR UPDATE ON whole FOR EACH ROW EXECUTE FUNCTION doubled();
CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO :schema.log VALUES (NEW.a, TG_OP); RETURN NULL; END $$;
CREATE TRIGGER logged AFTER INSERT OR UPDATE ON whole FOR EACH ROW EXECUTE FUNCTION logged();
INSERT INTO whole VALUES (3, 3) RETURNING b;
UPDATE whole SET b = b + 1 WHERE a < 3;
SELECT * FROM whole ORDER BY a;
SELECT * FROM log ORDER BY a, what;
CREATE RULE noted AS ON DELETE TO whole DO ALSO INSERT INTO log VALUES (OLD.a, 'rule');
DELETE FROM whole WHERE a = 3;
CREATE RULE kept AS ON DELETE TO log DO INSTEAD NOTHING;
DELETE FROM log;
SELECT * FROM log ORDER BY a, what;
COPY whole FROM STDIN;
7	7
\.
SELECT * FROM whole WHERE a = 7;
CREATE FUNCTION add_whole(x int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO :schema.whole VALUES (x, x); RETURN x; END $$;
-- A trigger that would find the rows of one shard only.
CREATE FUNCTION swept() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM :schema.spread; RETURN NEW; END $$;
CREATE TRIGGER swept BEFORE INSERT ON whole FOR EACH ROW EXECUTE FUNCTION swept();
-- expect-refusal 0A000
INSERT INTO whole VALUES (4, 4);
-- expect-refusal 0A000
INSERT INTO whole SELECT 4, 4;
-- expect-refusal 0A000
WITH x AS (INSERT INTO whole VALUES (4, 4) RETURNING a) SELECT * FROM x;
-- expect-refusal 0A000
COPY whole FROM STDIN;
4	4
\.
-- expect-refusal 0A000
SELECT add_whole(9);
SELECT count(*) FROM whole;
SELECT * FROM spread WHERE k = 1;
SELECT * FROM spread WHERE k = 2;
SELECT * FROM spread WHERE k = 3;
DROP TRIGGER swept ON whole;
INSERT INTO whole VALUES (4, 4);
-- A function that changes its mind.
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER later BEFORE INSERT ON whole FOR EACH ROW EXECUTE FUNCTION later();
INSERT INTO whole VALUES (5, 5);
CREATE OR REPLACE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM count(*) FROM :schema.spread; UPDATE :schema.copies SET n = n + 1; RETURN NEW; END $$;
-- expect-refusal 0A000
INSERT INTO whole VALUES (6, 6);
CREATE OR REPLACE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE :schema.copies SET n = n + 1; RETURN NEW; END $$;
-- expect-refusal 0A000
INSERT INTO whole VALUES (6, 6);
SELECT * FROM copies;
DROP FUNCTION later CASCADE;
INSERT INTO whole VALUES (6, 6);
-- In one transaction.
BEGIN;
CREATE FUNCTION fresh() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM :schema.spread; RETURN NEW; END $$;
CREATE TRIGGER fresh BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION fresh();
-- expect-refusal 0A000
INSERT INTO log VALUES (1, 'x');
ROLLBACK;
INSERT INTO log VALUES (1, 'x');
-- Rules.
CREATE RULE sweeps AS ON UPDATE TO whole DO ALSO DELETE FROM spread;
-- expect-refusal 0A000
UPDATE whole SET b = 1;
SELECT * FROM spread WHERE k = 2;
BEGIN;
DROP RULE sweeps ON whole;
UPDATE whole SET b = 1 WHERE a = 1;
ROLLBACK;
DROP RULE sweeps ON whole;
UPDATE whole SET b = 1 WHERE a = 1;
BEGIN;
CREATE RULE counts AS ON INSERT TO whole DO ALSO SELECT count(*) FROM spread;
-- expect-refusal 0A000
INSERT INTO whole VALUES (10, 10);
ROLLBACK;
CREATE VIEW few AS SELECT * FROM whole WHERE a < 5;
CREATE RULE elsewhere AS ON DELETE TO few DO INSTEAD DELETE FROM spread WHERE k = OLD.a;
-- expect-refusal 0A000
DELETE FROM few WHERE a = 1;
SELECT * FROM spread WHERE k = 1;
DROP RULE elsewhere ON few;
DELETE FROM few WHERE a = 1;
-- expect-refusal 0A000
CREATE RULE r AS ON INSERT TO spread DO INSTEAD NOTHING;
-- expect-refusal 0A000
CREATE RULE r AS ON INSERT TO copies DO INSTEAD NOTHING;
-- expect-refusal 0A000
CREATE TRIGGER swept BEFORE INSERT ON spread FOR EACH ROW EXECUTE FUNCTION swept();
-- TRUNCATE has triggers too.
CREATE FUNCTION emptied() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM :schema.spread; RETURN NULL; END $$;
CREATE TRIGGER emptied AFTER TRUNCATE ON log FOR EACH STATEMENT EXECUTE FUNCTION emptied();
-- expect-refusal 0A000
TRUNCATE log;
DROP TRIGGER emptied ON log;
TRUNCATE log;
SELECT * FROM spread WHERE k = 3;
-- A trigger that changes the key: the row stays on its shard, or is refused.
CREATE TABLE signs (k int PRIMARY KEY, n int);
-- setup pgweave: SELECT pgweave.shard_table(':schema.signs', 'k', by => 'range', shards => array['s1', 's2'], bounds => array[0])
CREATE FUNCTION moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.k := NEW.k + NEW.n; RETURN NEW; END $$;
CREATE TRIGGER moved BEFORE INSERT OR UPDATE ON signs FOR EACH ROW EXECUTE FUNCTION moved();
INSERT INTO signs VALUES (1, 10) RETURNING k;
INSERT INTO signs VALUES (-30, 10) RETURNING k;
SELECT * FROM signs WHERE k = 11;
SELECT * FROM signs WHERE k = -20;
SELECT * FROM signs WHERE k = 1;
-- expect-refusal 23514
INSERT INTO signs VALUES (1, -10);
UPDATE signs SET n = 5 WHERE k = 11 RETURNING *;
SELECT * FROM signs WHERE k = 16;
-- expect-refusal 23514
UPDATE signs SET n = 50 WHERE k = -20;
WITH x AS (UPDATE signs SET n = 1 WHERE k = 16 RETURNING k) SELECT x.k, s.n FROM x LEFT JOIN signs s ON s.k = x.k;
WITH x AS (INSERT INTO signs VALUES (100, 1) RETURNING k) SELECT x.k, s.n FROM x LEFT JOIN signs s ON s.k = x.k;
INSERT INTO signs VALUES (99, 2) ON CONFLICT (k) DO UPDATE SET n = 0 RETURNING *;
DROP TRIGGER moved ON signs;
-- A default and an identity of the key do not matter where it is given.
ALTER TABLE signs ALTER COLUMN k SET DEFAULT 7;
INSERT INTO signs VALUES (8, 8) RETURNING *;
-- expect-refusal 0A000
INSERT INTO signs (n) VALUES (7);
-- expect-refusal 0A000
INSERT INTO signs DEFAULT VALUES;
-- expect-refusal 0A000
UPDATE signs SET k = DEFAULT WHERE k = 8;
