-- Rows of several shards that are locked with LIMIT.
CREATE TABLE jobs (tenant int NOT NULL, id int NOT NULL, state text NOT NULL, due timestamptz, PRIMARY KEY (tenant, id));
CREATE TABLE marks (k text COLLATE "C" PRIMARY KEY, n int);
CREATE TABLE loose (k int NOT NULL, n int);
-- setup pgweave: SELECT pgweave.shard_table(':schema.jobs', 'tenant')
-- setup pgweave: SELECT pgweave.shard_table(':schema.marks', 'k')
-- setup pgweave: SELECT pgweave.shard_table(':schema.loose', 'k')
INSERT INTO jobs VALUES (1, 1, 'queued', '2024-01-01 10:00+00');
INSERT INTO jobs VALUES (2, 2, 'queued', '2024-01-01 09:00+00');
INSERT INTO jobs VALUES (3, 3, 'queued', '2024-01-02 09:00+00');
INSERT INTO jobs VALUES (4, 4, 'done', '2024-01-01 08:00+00');
INSERT INTO jobs VALUES (5, 5, 'queued', NULL);
INSERT INTO jobs VALUES (6, 6, 'queued', '2024-01-01 11:00+00');
INSERT INTO jobs VALUES (7, 7, 'queued', '2024-01-05 11:00+00');
INSERT INTO jobs VALUES (8, 8, 'queued', '2099-01-05 11:00+00');
INSERT INTO marks VALUES ('a', 1);
INSERT INTO marks VALUES ('b "quoted"', 2);
INSERT INTO marks VALUES ('c\', 3);
INSERT INTO marks VALUES ('d''', 4);
INSERT INTO loose VALUES (1, 1);
INSERT INTO loose VALUES (2, 2);
INSERT INTO loose VALUES (3, 3);
SELECT id FROM jobs WHERE state = 'queued' ORDER BY due, id LIMIT 3 FOR UPDATE;
SELECT * FROM jobs WHERE state = 'queued' ORDER BY due DESC NULLS LAST, id LIMIT 3 OFFSET 2 FOR NO KEY UPDATE;
SELECT id AS number FROM jobs ORDER BY number DESC LIMIT 2 FOR SHARE;
SELECT id, state FROM jobs ORDER BY 2 DESC, 1 LIMIT 4 FOR KEY SHARE;
SELECT id FROM jobs ORDER BY id LIMIT 0 FOR UPDATE;
SELECT id FROM jobs ORDER BY id LIMIT 100 FOR UPDATE;
SELECT id FROM jobs ORDER BY id OFFSET 6 FOR UPDATE;
SELECT id FROM jobs ORDER BY id LIMIT ALL FOR UPDATE;
SELECT id FROM jobs WHERE due <= now() ORDER BY due, id LIMIT 2 FOR UPDATE SKIP LOCKED;
SELECT j.id FROM jobs j WHERE j.due <= now() ORDER BY j.due LIMIT 1 FOR UPDATE OF j NOWAIT;
SELECT id FROM jobs WHERE id > 100 ORDER BY id LIMIT 2 FOR UPDATE;
SELECT count(*) FROM (SELECT 1) x;
-- unordered
SELECT id FROM jobs WHERE state = 'done' LIMIT 2 FOR UPDATE;
-- unordered
SELECT id FROM jobs LIMIT 8 FOR UPDATE;
SELECT id FROM jobs LIMIT 0 FOR UPDATE;
SELECT k, n FROM marks ORDER BY k LIMIT 3 FOR UPDATE;
SELECT k, n FROM marks ORDER BY n DESC LIMIT 3 FOR UPDATE;
SELECT n FROM marks WHERE n > 1 AND k <> 'x' OR n = 1 ORDER BY k LIMIT 3 FOR UPDATE;
SELECT id FROM jobs j WHERE EXISTS (SELECT FROM jobs i WHERE i.tenant = j.tenant AND i.state = 'done') ORDER BY id LIMIT 3 FOR UPDATE;
-- bind 2
SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT $1 FOR UPDATE;
-- bind 'queued', 2, 1
SELECT id, due FROM jobs WHERE state = $1 ORDER BY id LIMIT $2 OFFSET $3 FOR UPDATE;
-- bind 'queued'
SELECT id, due FROM jobs WHERE state = $1 AND due < now() ORDER BY due, id LIMIT 2 FOR UPDATE;
-- bind 'queued', 20
-- unordered
SELECT id, due FROM jobs WHERE state = $1 LIMIT $2 FOR UPDATE;
-- bind NULL::int8
SELECT id FROM jobs ORDER BY id LIMIT $1 FOR UPDATE;
-- Without a primary key rows cannot be told apart.
-- expect-refusal 0A000
SELECT n FROM loose ORDER BY n LIMIT 2 FOR UPDATE;
-- unordered
SELECT n FROM loose LIMIT 3 FOR UPDATE;
-- Each worker gets its own.
BEGIN;
SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED;
-- connect b
BEGIN;
SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED;
SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 1 FOR UPDATE NOWAIT;
ROLLBACK;
-- connect a
SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 4 FOR UPDATE SKIP LOCKED;
-- connect b
SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 2 FOR UPDATE SKIP LOCKED;
-- connect a
UPDATE jobs SET state = 'done' WHERE tenant = 1;
UPDATE jobs SET state = 'done' WHERE tenant = 2;
SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 2 FOR UPDATE;
COMMIT;
SELECT id, state FROM jobs ORDER BY id;
BEGIN;
-- expect-refusal 0A000
DECLARE c CURSOR FOR SELECT id FROM jobs ORDER BY id LIMIT 3 FOR UPDATE;
ROLLBACK;
SELECT 1 / (id - 3) FROM jobs ORDER BY id LIMIT 4 FOR UPDATE;
SELECT nothing FROM jobs ORDER BY id LIMIT 1 FOR UPDATE;
-- expect-refusal 0A000
SELECT generate_series(1, 2), id FROM jobs ORDER BY id LIMIT 4 FOR UPDATE;
