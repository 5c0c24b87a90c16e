-- Tables that are sharded because they have a registered column.
CREATE TABLE seed (k int NOT NULL);
-- setup pgweave: SELECT pgweave.shard_table(':schema.seed', 'k')
-- setup pgweave: SELECT pgweave.auto_shard('tenant_key')
CREATE TABLE tenants (tenant_key int PRIMARY KEY, name text NOT NULL);
CREATE TABLE items (tenant_key bigint NOT NULL, id int NOT NULL, label text DEFAULT 'none', PRIMARY KEY (tenant_key, id), FOREIGN KEY (tenant_key) REFERENCES tenants (tenant_key) ON DELETE CASCADE);
CREATE TABLE IF NOT EXISTS items (tenant_key bigint);
CREATE TABLE other (id int PRIMARY KEY);
INSERT INTO tenants VALUES (1, 'one');
INSERT INTO tenants VALUES (2, 'two');
INSERT INTO tenants VALUES (-3, 'minus three');
INSERT INTO tenants VALUES (NULL, 'null');
INSERT INTO items VALUES (1, 1, 'a'), (1, 2, 'b');
INSERT INTO items (tenant_key, id) VALUES (2, 1) RETURNING *;
-- bind '-3'::bigint, '1'
INSERT INTO items VALUES ($1, $2, 'bound') RETURNING *;
INSERT INTO items VALUES (4, 1);
INSERT INTO other VALUES (1);
-- expect-refusal 0A000
INSERT INTO items (id) VALUES (1);
-- expect-refusal 0A000
INSERT INTO items VALUES (DEFAULT, 1);
SELECT t.name, i.id, i.label FROM tenants t JOIN items i USING (tenant_key) WHERE tenant_key = 1 ORDER BY i.id;
SELECT t.name, count(i.id) FROM tenants t LEFT JOIN items i USING (tenant_key) WHERE t.tenant_key = -3 GROUP BY t.name;
SELECT * FROM items WHERE tenant_key = 2;
-- bind '1'
SELECT * FROM items WHERE tenant_key = $1 ORDER BY id;
-- unordered
SELECT count(*) FROM items;
UPDATE items SET label = upper(label) WHERE tenant_key = 1 AND id = 2 RETURNING *;
DELETE FROM tenants WHERE tenant_key = 1;
SELECT count(*) FROM items WHERE tenant_key = 1;
-- In a transaction, with the data at once.
BEGIN;
CREATE TABLE later (tenant_key int NOT NULL, day date NOT NULL, n int, PRIMARY KEY (tenant_key, day));
INSERT INTO later VALUES (1, '2024-01-01', 1);
INSERT INTO later VALUES (2, '2024-01-01', 2);
SELECT * FROM later WHERE tenant_key = 1;
SELECT l.n, t.name FROM later l JOIN tenants t USING (tenant_key) WHERE tenant_key = 2;
COMMIT;
SELECT * FROM later WHERE tenant_key = 2;
BEGIN;
CREATE TABLE undone (tenant_key int, n int);
INSERT INTO undone VALUES (1, 1);
ROLLBACK;
SELECT * FROM undone WHERE tenant_key = 1;
CREATE TABLE undone (tenant_key int, n int);
INSERT INTO undone VALUES (1, 1);
SELECT * FROM undone WHERE tenant_key = 1;
DROP TABLE undone;
SELECT * FROM undone WHERE tenant_key = 1;
-- The column may come by LIKE; whatever else LIKE brings, rows go where they belong.
CREATE TABLE copied (LIKE items INCLUDING ALL);
INSERT INTO copied VALUES (1, 1, 'x');
INSERT INTO copied VALUES (2, 1, 'y');
INSERT INTO copied VALUES (3, 1, 'y');
INSERT INTO copied VALUES (4, 1, 'y');
INSERT INTO copied VALUES (1, 1, 'again');
SELECT * FROM copied WHERE tenant_key = 2;
CREATE TABLE whole (key int, LIKE other INCLUDING ALL);
INSERT INTO whole VALUES (1, 1);
-- What cannot hold over shards.
-- expect-refusal 0A000
CREATE TABLE bad (tenant_key int, id int PRIMARY KEY);
-- expect-refusal 0A000
CREATE TABLE bad (tenant_key int, id int UNIQUE);
-- expect-refusal 0A000
CREATE TABLE bad (tenant_key text, id int);
-- expect-refusal 0A000
CREATE TABLE bad (tenant_key numeric, id int);
-- expect-refusal 0A000
CREATE TABLE bad (id int, tenant_key int GENERATED ALWAYS AS (id + 1) STORED);
-- expect-refusal 0A000
CREATE TABLE bad (tenant_key int, id int REFERENCES other);
-- expect-refusal 0A000
CREATE TABLE bad (tenant_key int, id int) PARTITION BY RANGE (id);
-- expect-refusal 0A000
CREATE TABLE bad (more int) INHERITS (items);
SELECT * FROM bad;
-- What becomes of the key.
-- expect-refusal 0A000
ALTER TABLE items DROP COLUMN tenant_key;
-- expect-refusal 0A000
ALTER TABLE items DROP COLUMN tenant_key CASCADE;
-- expect-refusal 0A000
ALTER TABLE items RENAME COLUMN tenant_key TO tenant;
-- expect-refusal 0A000
ALTER TABLE items ALTER COLUMN tenant_key TYPE int;
-- expect-refusal 0A000
ALTER TABLE items ALTER COLUMN tenant_key DROP NOT NULL;
-- expect-refusal 0A000
ALTER TABLE items DROP CONSTRAINT pgweave_placement;
-- expect-refusal 0A000
ALTER TABLE items RENAME CONSTRAINT pgweave_placement TO other;
-- expect-refusal 0A000
ALTER TABLE items DROP CONSTRAINT pgweave_placement, ADD CONSTRAINT pgweave_placement CHECK (true);
-- expect-refusal 0A000
CREATE RULE r AS ON INSERT TO items DO INSTEAD NOTHING;
ALTER TABLE items ALTER COLUMN tenant_key SET DEFAULT 2;
-- expect-refusal 0A000
INSERT INTO items (id) VALUES (7);
ALTER TABLE items ALTER COLUMN tenant_key DROP DEFAULT;
ALTER TABLE items ADD COLUMN extra text DEFAULT 'extra';
SELECT * FROM items WHERE tenant_key = 2;
ALTER TABLE items ADD CONSTRAINT positive CHECK (id > 0);
INSERT INTO items VALUES (2, -1);
ALTER TABLE items RENAME TO things;
SELECT count(*) FROM things WHERE tenant_key = 2;
SELECT count(*) FROM items WHERE tenant_key = 2;
INSERT INTO things VALUES (2, 2, 'renamed');
ALTER TABLE things RENAME TO items;
SELECT id, label FROM items WHERE tenant_key = 2 ORDER BY id;
TRUNCATE tenants CASCADE;
SELECT count(*) FROM items WHERE tenant_key = 2;
SELECT count(*) FROM tenants WHERE tenant_key = 2;
DROP TABLE tenants;
DROP TABLE tenants CASCADE;
INSERT INTO items VALUES (9, 9);
SELECT id FROM items WHERE tenant_key = 9;
DROP TABLE items, later, copied;
-- A trigger may change the row, but not where it belongs.
CREATE TABLE watched (tenant_key int NOT NULL, n int, PRIMARY KEY (tenant_key));
CREATE FUNCTION double_n() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := NEW.n * 2; RETURN NEW; END $$;
CREATE TRIGGER t BEFORE INSERT OR UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION double_n();
INSERT INTO watched VALUES (1, 1), (1, 2) ON CONFLICT DO NOTHING RETURNING n;
INSERT INTO watched VALUES (2, 5) RETURNING n;
UPDATE watched SET n = 7 WHERE tenant_key = 2 RETURNING n;
-- An identity column that the key is: its values are not known in time.
CREATE TABLE numbered (tenant_key int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, n int);
-- expect-refusal 0A000
INSERT INTO numbered (n) VALUES (1);
INSERT INTO numbered VALUES (5, 1) RETURNING *;
INSERT INTO numbered OVERRIDING SYSTEM VALUE VALUES (6, 1) RETURNING *;
-- expect-refusal 0A000
INSERT INTO numbered OVERRIDING USER VALUE VALUES (7, 1) RETURNING *;
CREATE TABLE always (tenant_key int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int);
INSERT INTO always VALUES (5, 1);
INSERT INTO always OVERRIDING SYSTEM VALUE VALUES (5, 1) RETURNING *;
-- LIKE a sharded table makes an ordinary one, until it is sharded itself.
CREATE TABLE loose (LIKE seed INCLUDING ALL);
INSERT INTO loose VALUES (1), (2), (3), (4), (5), (6);
SELECT * FROM loose ORDER BY k;
TRUNCATE loose;
-- setup pgweave: SELECT pgweave.shard_table(':schema.loose', 'k')
INSERT INTO loose VALUES (1);
INSERT INTO loose VALUES (2);
SELECT * FROM loose WHERE k = 2;
CREATE TABLE copied (id int GENERATED BY DEFAULT AS IDENTITY, LIKE seed INCLUDING ALL);
INSERT INTO copied (k) VALUES (1), (2) RETURNING *;
DROP TABLE copied;
-- Nothing is a sharded table's parent or child, wherever it is.
CREATE TABLE alone (k int NOT NULL, n int);
-- setup pgweave: SELECT pgweave.shard_table(':schema.alone', 'k', shards => array['s1'])
CREATE TABLE kin (k int NOT NULL, n int);
-- expect-refusal 0A000
ALTER TABLE kin INHERIT alone;
-- expect-refusal 0A000
ALTER TABLE alone INHERIT kin;
-- expect-refusal 0A000
CREATE TABLE child () INHERITS (alone);
CREATE TABLE parted (k int NOT NULL, n int) PARTITION BY RANGE (k);
-- expect-refusal 0A000
ALTER TABLE parted ATTACH PARTITION alone DEFAULT;
CREATE TABLE part PARTITION OF parted FOR VALUES FROM (1) TO (10);
ALTER TABLE parted DETACH PARTITION part;
ALTER TABLE parted ATTACH PARTITION part FOR VALUES FROM (1) TO (10);
INSERT INTO parted VALUES (5, 5);
SELECT * FROM part;
INSERT INTO alone VALUES (5, 5);
SELECT * FROM alone WHERE k = 5;
-- expect-refusal 0A000
CREATE TABLE forged (k int, CONSTRAINT pgweave_placement CHECK (k > 0));
-- expect-refusal 0A000
ALTER TABLE kin ADD CONSTRAINT pgweave_placement CHECK (k > 0);
-- The copies of a reference table draw no values of their own.
CREATE TABLE copies (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, v text);
-- setup pgweave: SELECT pgweave.reference_table(':schema.copies')
-- expect-refusal 0A000
INSERT INTO copies (id, v) OVERRIDING USER VALUE VALUES (5, 'five');
-- expect-refusal 0A000
INSERT INTO copies (v) VALUES ('five');
INSERT INTO copies (id, v) OVERRIDING SYSTEM VALUE VALUES (5, 'five');
SELECT * FROM copies;
