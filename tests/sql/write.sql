-- Writing to unsharded tables.
CREATE TABLE stock (id int PRIMARY KEY, what text UNIQUE, amount int NOT NULL DEFAULT 10, at timestamp, twice int GENERATED ALWAYS AS (amount * 2) STORED);
INSERT INTO stock (id, what) VALUES (1, 'bolt'), (2, 'nut'), (3, 'gear');
INSERT INTO stock DEFAULT VALUES;
INSERT INTO stock (id, what, amount) VALUES (4, 'cog', DEFAULT) RETURNING *;
INSERT INTO stock (id, what) SELECT g, 'part ' || g FROM generate_series(10, 14) g RETURNING id, what;
INSERT INTO stock (id, what, twice) VALUES (5, 'x', 1);
INSERT INTO stock (id, what) VALUES (1, 'bolt') ON CONFLICT DO NOTHING;
INSERT INTO stock (id, what) VALUES (1, 'bolt') ON CONFLICT (id) DO NOTHING RETURNING id;
INSERT INTO stock AS s (id, what, amount) VALUES (1, 'bolt', 5) ON CONFLICT (id) DO UPDATE SET amount = s.amount + excluded.amount RETURNING s.*;
INSERT INTO stock (id, what) VALUES (99, 'bolt') ON CONFLICT (id) DO UPDATE SET what = 'y';
INSERT INTO stock (id, what) VALUES (7, 'a'), (7, 'b') ON CONFLICT (id) DO UPDATE SET what = excluded.what;
UPDATE stock SET amount = amount + 1 WHERE id <= 2;
UPDATE stock SET amount = amount + 1, what = upper(what) WHERE id = 1 RETURNING id, what, amount, twice;
UPDATE stock SET (amount, at) = (SELECT 77, timestamp '2024-01-01') WHERE id = 2 RETURNING *;
UPDATE stock s SET amount = v.n FROM (VALUES (3, 33), (4, 44)) v (i, n) WHERE s.id = v.i RETURNING s.id, v.n;
UPDATE stock SET amount = DEFAULT WHERE id = 3;
UPDATE stock SET id = id WHERE false;
UPDATE stock SET amount = 1 WHERE id = 1000;
DELETE FROM stock WHERE id = 14 RETURNING what;
DELETE FROM stock USING (VALUES (13)) v (i) WHERE id = v.i;
DELETE FROM stock WHERE id = 1000;
WITH gone AS (DELETE FROM stock WHERE id >= 10 RETURNING *), back AS (INSERT INTO stock (id, what) SELECT id + 10, what FROM gone RETURNING id) SELECT (SELECT count(*) FROM gone), (SELECT min(id) FROM back);
WITH changed AS (UPDATE stock SET amount = 0 WHERE id = 1 RETURNING *) INSERT INTO stock (id, what) SELECT 100, what || '!' FROM changed;
MERGE INTO stock s USING (VALUES (1, 'one'), (200, 'two hundred')) v (id, what) ON s.id = v.id WHEN MATCHED THEN UPDATE SET what = v.what WHEN NOT MATCHED THEN INSERT (id, what) VALUES (v.id, v.what);
MERGE INTO stock s USING (VALUES (200)) v (id) ON s.id = v.id WHEN MATCHED AND s.amount > 5 THEN DELETE WHEN MATCHED THEN DO NOTHING;
SELECT * FROM stock ORDER BY id;
TRUNCATE stock;
SELECT count(*) FROM stock;
INSERT INTO stock (id, what) VALUES (1, 'again');
TRUNCATE TABLE stock RESTART IDENTITY CASCADE;
-- bind 1::int4, bolt, 3::int4
INSERT INTO stock (id, what, amount) VALUES ($1, $2, $3) RETURNING *;
-- bind 2, nut
INSERT INTO stock (id, what) VALUES ($1, $2);
-- bind 2::int8, NULL::text
UPDATE stock SET what = $2 WHERE id = $1;
-- bind '2024-05-06 07:08:09'::timestamp
UPDATE stock SET at = $1 RETURNING at;
-- bind 1
DELETE FROM stock WHERE id = $1;
SELECT * FROM stock ORDER BY id;
