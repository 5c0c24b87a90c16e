-- Queries that shards answer in parts: merged rows, combined groups, partial aggregates.
CREATE TYPE mood AS ENUM ('low', 'fair', 'high');
CREATE TABLE accounts (id bigint PRIMARY KEY, owner text COLLATE "C", city text, opened timestamptz, balance numeric(12,2), score float8, level int, flags bit(4), active boolean, code uuid, raw bytea, feeling mood, span interval, day date, small smallint, ratio real);
CREATE TABLE entries (account bigint NOT NULL, n int NOT NULL, amount numeric, kind text, at timestamp, PRIMARY KEY (account, n));
CREATE TABLE empty_ones (account bigint PRIMARY KEY, x int);
CREATE TABLE kinds (kind text PRIMARY KEY, title text, weight int);
CREATE TABLE ranges (at int PRIMARY KEY, name text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.accounts', 'id')
-- setup pgweave: SELECT pgweave.shard_table(':schema.entries', 'account', colocate_with => ':schema.accounts')
-- setup pgweave: SELECT pgweave.shard_table(':schema.empty_ones', 'account', colocate_with => ':schema.accounts')
-- setup pgweave: SELECT pgweave.reference_table(':schema.kinds')
INSERT INTO kinds VALUES ('in', 'Incoming', 1), ('out', 'Outgoing', 2), ('fee', 'Fee', NULL);
INSERT INTO accounts VALUES (1, 'Cyd', 'rome', '2023-06-30 23:59:59+02', '-12.50', '-Infinity', 2147483647, NULL, NULL, '00000000-0000-0000-0000-000000000030', NULL, 'low', NULL, NULL, -32768, '3');
INSERT INTO accounts VALUES (2, '10', 'rome', '-infinity', '7', NULL, -5, NULL, NULL, '00000000-0000-0000-0000-00000000001f', NULL, 'low', NULL, '2000-01-01', 1, '-1.25');
INSERT INTO entries VALUES (2, 0, 1, 'fee', '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (2, 1, NULL, 'out', NULL);
INSERT INTO entries VALUES (2, 2, 1e20, 'out', '2024-05-01 12:00');
INSERT INTO accounts VALUES (3, 'Bob', 'Rome', NULL, '0.00', NULL, -5, NULL, true, '00000000-0000-0000-0000-0000000000da', '\xdeadbeef', 'high', '30 days', 'infinity', 1, '0.5');
INSERT INTO entries VALUES (3, 0, -3, NULL, '2024-05-01 12:00');
INSERT INTO entries VALUES (3, 1, NULL, NULL, '2024-05-01 12:00');
INSERT INTO entries VALUES (3, 2, 1e20, 'in', NULL);
INSERT INTO accounts VALUES (4, '9', 'Rome', '-infinity', '7', '-0', 2, NULL, true, NULL, NULL, 'fair', '30 days', 'infinity', 32767, '3');
INSERT INTO accounts VALUES (5, 'a b', 'rome', '2023-06-30 23:59:59+02', 'NaN', '0', NULL, B'0001', false, '00000000-0000-0000-0000-00000000009e', '\x', 'high', '1 year 2 hours', 'infinity', NULL, '3');
INSERT INTO entries VALUES (5, 0, 1, NULL, NULL);
INSERT INTO entries VALUES (5, 1, 2.50, 'fee', NULL);
INSERT INTO entries VALUES (5, 2, NULL, 'out', '2024-05-01 12:00');
INSERT INTO accounts VALUES (6, 'Bob', 'rome', 'infinity', 'NaN', '0', 1, B'1010', true, NULL, '\xdeadbeef', 'fair', '1 year 2 hours', '0044-03-15 BC', 2, '3');
INSERT INTO accounts VALUES (7, 'aa', 'rome', '2024-01-01 10:00:00.5+00', '-12.50', '1.5', 2147483647, NULL, NULL, NULL, '\x', 'fair', NULL, '2024-02-29', -32768, '-1.25');
INSERT INTO entries VALUES (7, 0, 1e20, 'in', '2024-05-01 12:00');
INSERT INTO entries VALUES (7, 1, NULL, NULL, '2024-05-01 12:00');
INSERT INTO entries VALUES (7, 2, 0.001, NULL, NULL);
INSERT INTO accounts VALUES (8, 'Émile', 'Åre', 'infinity', '7', NULL, 1, NULL, NULL, NULL, NULL, 'fair', '-1 day', NULL, NULL, NULL);
INSERT INTO accounts VALUES (9, '9', NULL, '2023-06-30 23:59:59+02', NULL, '0', 1, B'0001', true, '00000000-0000-0000-0000-00000000004c', '\x', 'fair', '29 days 24:00:00', NULL, NULL, '3');
INSERT INTO entries VALUES (9, 0, -3, 'in', NULL);
INSERT INTO entries VALUES (9, 1, 1, 'fee', '2024-05-02 00:00:00.25');
INSERT INTO accounts VALUES (10, 'zoë', 'Oslo', '2023-06-30 23:59:59+02', 'NaN', '-0', -5, NULL, NULL, NULL, NULL, 'fair', '1 year 2 hours', NULL, 2, '-1.25');
INSERT INTO accounts VALUES (11, 'Z', 'Oslo', '-infinity', '100.1', '1.5', -5, NULL, NULL, NULL, '\x00ff', 'high', '30 days', NULL, NULL, '-1.25');
INSERT INTO accounts VALUES (12, 'Z', 'Åre', '1999-12-31 00:00+00', '100.1', '0.25', 2147483647, B'1010', true, NULL, NULL, 'low', '29 days 24:00:00', '2024-02-29', 2, '0.5');
INSERT INTO entries VALUES (12, 0, 1, NULL, '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (12, 1, -3, 'in', '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (12, 2, 1, NULL, '2024-05-02 00:00:00.25');
INSERT INTO accounts VALUES (13, 'Émile', 'Rome', '2024-01-01 10:00:00.5+00', '100.10', '0.25', 1, B'1010', false, NULL, '\xdeadbeef', 'high', '29 days 24:00:00', NULL, 1, '0.5');
INSERT INTO accounts VALUES (14, '10', 'zug', '-infinity', 'NaN', '-0', -5, B'0001', true, NULL, '\x00ff', NULL, NULL, NULL, 32767, '0.5');
INSERT INTO accounts VALUES (15, '10', 'zug', '2024-01-01 10:00:00.5+00', '100.10', NULL, 2, NULL, true, '00000000-0000-0000-0000-00000000007b', '\x', 'high', '1 mon', NULL, 2, '3');
INSERT INTO entries VALUES (15, 0, 2.50, 'out', '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (15, 1, 1e20, 'in', '2024-05-01 12:00');
INSERT INTO entries VALUES (15, 2, 2.50, 'in', NULL);
INSERT INTO accounts VALUES (16, 'cyd', 'Rome', '2024-01-01 10:00:00.5+00', '-12.50', '0.25', -5, B'0001', NULL, '00000000-0000-0000-0000-00000000001f', '\xdeadbeef', NULL, '-1 day', NULL, 1, '0.5');
INSERT INTO accounts VALUES (17, 'cyd', 'Åre', '-infinity', 'NaN', '1e100', NULL, NULL, true, NULL, '\x', 'high', '-1 day', '2000-01-01', -32768, '0.5');
INSERT INTO accounts VALUES (18, 'ada', 'zug', '2024-01-01 10:00:00.5+00', 'NaN', '-0', 3, NULL, true, '00000000-0000-0000-0000-0000000000e2', NULL, 'low', '29 days 24:00:00', NULL, 1, '-1.25');
INSERT INTO accounts VALUES (19, 'a-b', 'Oslo', '1999-12-31 00:00+00', '100.1', '-0', 2, NULL, true, NULL, '\xdeadbeef', 'high', '1 mon', '2024-02-29', 1, '3');
INSERT INTO entries VALUES (19, 0, 2.50, 'fee', '2024-05-01 12:00');
INSERT INTO entries VALUES (19, 1, 1, 'fee', NULL);
INSERT INTO accounts VALUES (20, 'cyd', 'Rome', '2023-06-30 23:59:59+02', 'NaN', '0.25', 2147483647, NULL, true, '00000000-0000-0000-0000-0000000000a9', NULL, NULL, '1 mon', NULL, NULL, '-1.25');
INSERT INTO accounts VALUES (21, 'Cyd', 'Oslo', '2023-06-30 23:59:59+02', '-12.50', '-Infinity', 2147483647, B'1010', true, '00000000-0000-0000-0000-00000000004c', '\x', NULL, '30 days', NULL, 1, '3');
INSERT INTO accounts VALUES (22, 'cyd', 'Åre', '1999-12-31 00:00+00', '0.00', 'NaN', NULL, B'0001', NULL, '00000000-0000-0000-0000-000000000022', NULL, 'high', NULL, 'infinity', 32767, '3');
INSERT INTO accounts VALUES (23, 'zoë', 'Oslo', NULL, '100.10', '0', 1, B'1010', NULL, NULL, '\x', 'fair', '-1 day', '2024-02-29', 2, '3');
INSERT INTO entries VALUES (23, 0, 1, 'fee', NULL);
INSERT INTO accounts VALUES (24, NULL, 'Zug', NULL, NULL, '1e100', -5, NULL, false, NULL, '\xdeadbeef', NULL, '1 year 2 hours', '0044-03-15 BC', -32768, '3');
INSERT INTO accounts VALUES (25, '10', 'rome', '2024-01-01 10:00:00.5+00', '100.1', '1.5', 2147483647, B'0001', false, '00000000-0000-0000-0000-000000000047', '\x', NULL, '1 mon', NULL, NULL, '-1.25');
INSERT INTO accounts VALUES (26, 'Ada', 'Oslo', NULL, '7', '1e100', 2147483647, B'1010', false, '00000000-0000-0000-0000-00000000007c', NULL, 'high', '1 mon', '2024-02-29', 2, '3');
INSERT INTO entries VALUES (26, 0, -3, 'fee', NULL);
INSERT INTO accounts VALUES (27, 'Ada', 'Rome', NULL, '99999999.99', '1.5', 2, NULL, NULL, '00000000-0000-0000-0000-0000000000ab', NULL, 'high', '30 days', '2000-01-01', 1, '0.5');
INSERT INTO entries VALUES (27, 0, 1, 'out', '2024-05-01 12:00');
INSERT INTO accounts VALUES (28, 'Émile', 'Rome', '-infinity', NULL, '-Infinity', NULL, B'1010', true, NULL, '\x00ff', 'high', '30 days', '0044-03-15 BC', 1, '-1.25');
INSERT INTO entries VALUES (28, 0, NULL, NULL, '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (28, 1, NULL, 'out', '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (28, 2, 1e20, 'in', '2024-05-02 00:00:00.25');
INSERT INTO accounts VALUES (29, 'Z', 'Oslo', '-infinity', '100.10', '0', NULL, NULL, NULL, NULL, '\xdeadbeef', 'high', '-1 day', NULL, NULL, '0.5');
INSERT INTO accounts VALUES (30, '9', NULL, 'infinity', '0.00', '1e100', -5, NULL, false, '00000000-0000-0000-0000-000000000021', '\x', NULL, '30 days', '2024-02-29', 1, '0.5');
INSERT INTO entries VALUES (30, 0, 1, NULL, '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (30, 1, -3, 'in', '2024-05-02 00:00:00.25');
INSERT INTO accounts VALUES (31, 'ada', 'Zug', '1999-12-31 00:00+00', '100.10', '0', -5, NULL, true, '00000000-0000-0000-0000-000000000082', '\x00ff', NULL, '29 days 24:00:00', NULL, -32768, '-1.25');
INSERT INTO accounts VALUES (32, 'Z', 'Rome', '1999-12-31 00:00+00', 'NaN', 'NaN', 2147483647, B'0001', true, '00000000-0000-0000-0000-0000000000ed', '\xdeadbeef', NULL, '-1 day', '2024-02-29', 2, NULL);
INSERT INTO entries VALUES (32, 0, 0.001, 'in', '2024-05-02 00:00:00.25');
INSERT INTO accounts VALUES (33, 'ada', 'Zug', 'infinity', '99999999.99', '-Infinity', 1, NULL, NULL, NULL, '\x', 'fair', '1 mon', '2000-01-01', 32767, '-1.25');
INSERT INTO entries VALUES (33, 0, 2.50, NULL, '2024-05-01 12:00');
INSERT INTO accounts VALUES (34, 'ada', 'zug', 'infinity', NULL, '-0', NULL, B'1010', false, '00000000-0000-0000-0000-0000000000e6', '\x', 'low', '29 days 24:00:00', 'infinity', -32768, '-1.25');
INSERT INTO entries VALUES (34, 0, 1, 'fee', '2024-05-01 12:00');
INSERT INTO accounts VALUES (35, 'a b', NULL, '2024-01-01 10:00:00.5+00', '7', '0', 1, B'0001', NULL, '00000000-0000-0000-0000-000000000094', '\x', NULL, '29 days 24:00:00', '0044-03-15 BC', 32767, NULL);
INSERT INTO entries VALUES (35, 0, 1, 'fee', NULL);
INSERT INTO accounts VALUES (36, 'Cyd', 'Rome', NULL, '99999999.99', '-0', 1, B'1010', true, NULL, '\x', 'high', NULL, '0044-03-15 BC', 32767, '0.5');
INSERT INTO entries VALUES (36, 0, 0.001, 'out', '2024-05-02 00:00:00.25');
INSERT INTO entries VALUES (36, 1, -3, NULL, NULL);
INSERT INTO accounts VALUES (37, 'a-b', 'Rome', '-infinity', '-12.50', '-0', 3, B'1010', true, '00000000-0000-0000-0000-000000000090', '\x', 'fair', '29 days 24:00:00', '2024-02-29', 2, '3');
INSERT INTO accounts VALUES (38, 'Bob', 'Rome', '1999-12-31 00:00+00', '-12.50', '0', 1, B'0001', true, '00000000-0000-0000-0000-000000000070', '\x', 'high', '29 days 24:00:00', '2024-02-29', 32767, '0.5');
INSERT INTO accounts VALUES (39, 'cyd', 'Oslo', '2023-06-30 23:59:59+02', '0.00', 'Infinity', 1, B'1010', true, NULL, '\xdeadbeef', 'high', '29 days 24:00:00', '2000-01-01', 1, '3');
INSERT INTO accounts VALUES (40, NULL, 'zug', 'infinity', '99999999.99', 'Infinity', 1, B'0001', false, NULL, '\x', 'low', '29 days 24:00:00', '0044-03-15 BC', -32768, '3');
-- Order: each type both ways, in each format.
SELECT id, owner FROM accounts ORDER BY owner, id;
SELECT id FROM accounts ORDER BY owner DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, opened FROM accounts ORDER BY opened, id;
SELECT id FROM accounts ORDER BY opened DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, balance FROM accounts ORDER BY balance, id;
SELECT id FROM accounts ORDER BY balance DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, score FROM accounts ORDER BY score, id;
SELECT id FROM accounts ORDER BY score DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, level FROM accounts ORDER BY level, id;
SELECT id FROM accounts ORDER BY level DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, flags FROM accounts ORDER BY flags, id;
SELECT id FROM accounts ORDER BY flags DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, active FROM accounts ORDER BY active, id;
SELECT id FROM accounts ORDER BY active DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, code FROM accounts ORDER BY code, id;
SELECT id FROM accounts ORDER BY code DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, raw FROM accounts ORDER BY raw, id;
SELECT id FROM accounts ORDER BY raw DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, feeling FROM accounts ORDER BY feeling, id;
SELECT id FROM accounts ORDER BY feeling DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, span FROM accounts ORDER BY span, id;
SELECT id FROM accounts ORDER BY span DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, day FROM accounts ORDER BY day, id;
SELECT id FROM accounts ORDER BY day DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, small FROM accounts ORDER BY small, id;
SELECT id FROM accounts ORDER BY small DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, ratio FROM accounts ORDER BY ratio, id;
SELECT id FROM accounts ORDER BY ratio DESC NULLS LAST, id DESC LIMIT 7;
SELECT id, city FROM accounts ORDER BY city, id;
SELECT id FROM accounts ORDER BY city DESC NULLS LAST, id DESC LIMIT 7;
SELECT owner FROM accounts ORDER BY 1 NULLS FIRST LIMIT 5 OFFSET 3;
SELECT * FROM accounts ORDER BY id DESC LIMIT 2;
SELECT a.* FROM accounts a ORDER BY a.opened, a.id OFFSET 38;
SELECT id + level AS id FROM accounts ORDER BY id NULLS FIRST;
SELECT id::text FROM accounts ORDER BY id LIMIT 12;
SELECT -id AS x, id AS y FROM accounts ORDER BY x LIMIT 3;
SELECT id FROM accounts ORDER BY level % 2, -id LIMIT 9;
SELECT id FROM accounts ORDER BY lower(owner) COLLATE "C", id;
SELECT id FROM accounts ORDER BY city COLLATE "C" DESC, id;
SELECT id FROM accounts ORDER BY owner || 'x', id LIMIT 4;
SELECT id FROM accounts ORDER BY CASE WHEN active THEN 1 ELSE 2 END, id;
SELECT level FROM accounts ORDER BY level FETCH FIRST 3 ROWS WITH TIES;
SELECT level FROM accounts ORDER BY level DESC OFFSET 2 FETCH FIRST 4 ROWS WITH TIES;
SELECT id FROM accounts ORDER BY id LIMIT 0;
SELECT id FROM accounts ORDER BY id LIMIT NULL OFFSET 35;
SELECT id FROM accounts ORDER BY id LIMIT ALL OFFSET NULL;
SELECT id FROM accounts ORDER BY id LIMIT -1;
SELECT id FROM accounts ORDER BY id OFFSET -1;
SELECT id FROM accounts ORDER BY id LIMIT 2 + 1;
SELECT id FROM accounts ORDER BY id LIMIT '4';
SELECT id FROM accounts ORDER BY id LIMIT 2.5;
SELECT id FROM accounts ORDER BY id LIMIT 9223372036854775807 OFFSET 39;
SELECT count(*) FROM (SELECT id FROM accounts LIMIT 5) s;
SELECT id, nothing FROM accounts;
SELECT id FROM accounts ORDER BY nothing;
SELECT id, id AS x FROM accounts ORDER BY 3;
SELECT id FROM accounts ORDER BY id USING >;
SELECT 10 / (id - 20) FROM accounts ORDER BY id;
-- unordered
SELECT id FROM accounts WHERE 5 / (id - 50) IS NULL OR id < 3;
-- unordered
SELECT * FROM empty_ones;
SELECT x FROM empty_ones ORDER BY x;
SELECT count(*), sum(x), min(x), bool_and(x > 1), avg(x) FROM empty_ones;
SELECT x, count(*) FROM empty_ones GROUP BY x;
-- Distinct.
SELECT DISTINCT owner FROM accounts ORDER BY owner;
SELECT DISTINCT city FROM accounts ORDER BY city;
SELECT DISTINCT level, active FROM accounts ORDER BY active DESC, level;
SELECT DISTINCT balance FROM accounts ORDER BY balance DESC NULLS LAST LIMIT 3;
SELECT DISTINCT score FROM accounts ORDER BY score;
SELECT DISTINCT opened FROM accounts ORDER BY opened OFFSET 1;
SELECT DISTINCT day, small FROM accounts ORDER BY small, day LIMIT 10;
-- unordered
SELECT DISTINCT feeling FROM accounts;
-- unordered
SELECT DISTINCT level % 2 FROM accounts;
-- unordered
SELECT DISTINCT id, level FROM accounts WHERE id < 9;
SELECT DISTINCT ON (level) level, id FROM accounts ORDER BY level, id DESC;
SELECT DISTINCT ON (active, small) small, active, id FROM accounts ORDER BY small, active DESC, id LIMIT 6;
SELECT DISTINCT ON (1) owner, id FROM accounts ORDER BY 1, 2;
SELECT DISTINCT row(level) FROM accounts ORDER BY 1;
-- Groups.
SELECT count(*) FROM accounts;
SELECT count(*), count(level), sum(level), sum(small), sum(id), min(id), max(id) FROM accounts WHERE id > 3 AND level < 1000;
SELECT sum(balance) FROM accounts WHERE balance <> 'NaN';
SELECT sum(balance), min(balance), max(balance) FROM accounts;
SELECT min(opened), max(opened), min(day), max(day), min(owner), max(owner), min(city), max(city) FROM accounts;
SELECT min(score), max(score), min(ratio), sum(ratio), min(span), max(span) FROM accounts;
SELECT sum(amount), avg(amount), min(amount) FROM entries;
SELECT bool_and(active), bool_or(active), every(id > 0), bit_and(level), bit_or(small), bit_xor(id) FROM accounts;
SELECT max(raw), min(code) FROM accounts;
SELECT max(feeling), min(feeling) FROM accounts;
SELECT sum(span), avg(span) FROM accounts WHERE id < 5;
SELECT sum(level) FROM accounts;
SELECT count(*) FROM accounts LIMIT 0;
SELECT count(*) FROM accounts OFFSET 1;
SELECT count(*) FROM accounts WHERE false;
SELECT count(*) AS n, 'x' AS label, 1 + 1 FROM accounts;
SELECT level, count(*) FROM accounts GROUP BY level ORDER BY level;
SELECT level, count(*), sum(id) FROM accounts GROUP BY level ORDER BY level DESC NULLS LAST LIMIT 3 OFFSET 1;
-- unordered
SELECT city, count(*) FROM accounts GROUP BY city;
-- unordered
SELECT owner, min(id), max(level) FROM accounts GROUP BY 1;
-- unordered
SELECT feeling, count(*) FROM accounts GROUP BY feeling;
SELECT feeling, count(*) + 0 AS n FROM accounts GROUP BY feeling ORDER BY feeling;
SELECT active, level, count(*) FROM accounts GROUP BY active, level ORDER BY level, active;
SELECT opened, count(*) FROM accounts GROUP BY opened ORDER BY opened;
SELECT score, sum(id) FROM accounts GROUP BY score ORDER BY score;
SELECT date_trunc('month', at) AS month, count(*), sum(amount) FROM entries GROUP BY month ORDER BY month;
SELECT n % 2, count(*) FROM entries GROUP BY 1 ORDER BY 1;
SELECT kind, count(*) FROM entries GROUP BY kind HAVING count(*) > 2 ORDER BY 2 DESC, 1;
SELECT kind, sum(amount) AS s FROM entries GROUP BY kind ORDER BY s NULLS FIRST LIMIT 2;
SELECT kind || '!' AS k, avg(n), round(avg(amount), 2), count(*) * 2 FROM entries GROUP BY kind ORDER BY kind;
SELECT kind, avg(n) FILTER (WHERE n > 0), count(*) FILTER (WHERE amount > 1) FROM entries GROUP BY kind ORDER BY 1;
SELECT coalesce(sum(x), 0) FROM empty_ones;
SELECT avg(level)::int, avg(balance) FILTER (WHERE balance <> 'NaN'), avg(score) FILTER (WHERE abs(score) < 2), avg(small) FROM accounts;
SELECT avg(ratio), sum(ratio) + 1 FROM accounts;
SELECT count(DISTINCT level), sum(DISTINCT small), min(DISTINCT level) FROM accounts;
SELECT max(DISTINCT level), count(*) FROM accounts;
SELECT level FROM accounts GROUP BY level ORDER BY level;
SELECT DISTINCT count(*) FROM accounts GROUP BY level ORDER BY 1;
SELECT count(*) FROM accounts GROUP BY level ORDER BY count(*) DESC, level LIMIT 2;
SELECT account, count(*), array_agg(n ORDER BY n) FROM entries GROUP BY account ORDER BY count(*) DESC, account LIMIT 4;
SELECT account, sum(amount) FROM entries GROUP BY account HAVING sum(amount) > 1 ORDER BY 2, 1;
SELECT e.kind, k.title, count(*) FROM entries e LEFT JOIN kinds k ON k.kind = e.kind GROUP BY e.kind, k.title ORDER BY 1;
SELECT k.kind, count(*) FROM kinds k JOIN entries e USING (kind) GROUP BY kind ORDER BY kind;
SELECT k.kind, count(e.n) FROM kinds k LEFT JOIN entries e USING (kind) GROUP BY k.kind ORDER BY 1;
SELECT count(*) FROM accounts a JOIN entries e ON e.account = a.id WHERE a.level > 1;
SELECT a.level, sum(e.amount) FROM accounts a LEFT JOIN entries e ON e.account = a.id GROUP BY a.level ORDER BY 1;
SELECT level, level + 1, count(*) FROM accounts GROUP BY level, level + 1 ORDER BY 1;
SELECT level + 1 FROM accounts GROUP BY level ORDER BY level DESC NULLS LAST;
SELECT id, owner FROM accounts GROUP BY id ORDER BY id LIMIT 2;
SELECT level, id FROM accounts GROUP BY level;
SELECT level, count(*) FROM accounts GROUP BY ROLLUP (level) ORDER BY level, 2;
SELECT level, sum(count(*)) OVER (ORDER BY level) FROM accounts GROUP BY level ORDER BY 1;
SELECT stddev(level) > 0, array_agg(id ORDER BY id) = array_agg(id ORDER BY id) FROM accounts WHERE id < 10;
SELECT count(*) FROM accounts HAVING count(*) > 100;
SELECT count(*) FROM accounts HAVING sum(level) IS NOT NULL;
SELECT sum(level::bigint), sum(level::numeric), sum(small::real), sum(id::float8) FROM accounts;
SELECT sum(9223372036854775807) FROM accounts;
SELECT max(id) - min(id), max(owner) || '!' FROM accounts;
SELECT greatest(max(level), 5), CASE WHEN count(*) > 3 THEN 'many' ELSE 'few' END FROM accounts;
SELECT (SELECT max(weight) FROM kinds), count(*) FROM accounts;
SELECT count(*), (SELECT count(*) FROM entries) FROM accounts;
SELECT unnest(ARRAY[1, 2]) AS u, count(*) FROM accounts GROUP BY 1 ORDER BY 1;
-- Joins and subqueries that stay on their shard, and those that do not.
SELECT a.id, e.n FROM accounts a JOIN entries e ON e.account = a.id ORDER BY a.id, e.n LIMIT 5;
SELECT a.id, e.n FROM accounts a LEFT JOIN entries e ON e.account = a.id AND e.n > 0 ORDER BY 1, 2;
SELECT e.n, a.owner FROM entries e RIGHT JOIN accounts a ON a.id = e.account ORDER BY a.id, e.n;
SELECT a.id, e.n FROM accounts a FULL JOIN entries e ON e.account = a.id ORDER BY 1, 2 LIMIT 8;
SELECT a.id FROM accounts a, entries e WHERE a.id = e.account AND e.n = 1 ORDER BY 1;
SELECT a.id FROM accounts a JOIN entries e ON e.n = a.id ORDER BY 1, e.account;
SELECT id FROM accounts a WHERE EXISTS (SELECT FROM entries e WHERE e.account = a.id AND e.kind = 'in') ORDER BY 1;
SELECT id FROM accounts a WHERE NOT EXISTS (SELECT FROM entries e WHERE e.account = a.id) ORDER BY 1;
SELECT id FROM accounts WHERE id IN (SELECT account FROM entries) ORDER BY 1;
SELECT id FROM accounts WHERE id IN (SELECT n FROM entries) ORDER BY 1;
SELECT id, (SELECT count(*) FROM entries e WHERE e.account = a.id) AS n FROM accounts a ORDER BY n DESC, id LIMIT 5;
SELECT id, (SELECT count(*) FROM entries) FROM accounts ORDER BY id LIMIT 2;
SELECT s.account, s.c FROM (SELECT account, count(*) AS c FROM entries GROUP BY account) s JOIN accounts a ON a.id = s.account ORDER BY 1;
SELECT sum(c) FROM (SELECT account, count(*) AS c FROM entries GROUP BY account) s;
SELECT max(c) FROM (SELECT kind, count(*) AS c FROM entries GROUP BY kind) s;
SELECT avg(t) FROM (SELECT account, sum(amount) AS t FROM entries GROUP BY account) s;
WITH e AS (SELECT * FROM entries WHERE n = 0) SELECT a.id, e.kind FROM accounts a JOIN e ON e.account = a.id ORDER BY 1;
WITH e AS (SELECT * FROM entries WHERE n = 0) SELECT x.account FROM e x JOIN e y ON x.account = y.account ORDER BY 1;
WITH e AS (SELECT * FROM entries), f AS (SELECT account, n FROM e WHERE n > 0) SELECT count(*) FROM f;
SELECT l.n, a.id FROM accounts a, LATERAL (SELECT n FROM entries e WHERE e.account = a.id ORDER BY n DESC LIMIT 1) l ORDER BY 2;
SELECT id FROM accounts UNION ALL SELECT account FROM entries ORDER BY 1 LIMIT 20;
SELECT 1 AS id UNION ALL SELECT id FROM accounts ORDER BY 1 LIMIT 4;
SELECT count(*) FROM (SELECT id FROM accounts UNION ALL SELECT account FROM entries) u;
SELECT id, count(*) FROM (SELECT id FROM accounts UNION ALL SELECT account FROM entries) u GROUP BY id ORDER BY 2 DESC, 1 LIMIT 5;
SELECT level FROM accounts UNION SELECT small FROM accounts ORDER BY 1;
SELECT a.id FROM accounts a CROSS JOIN generate_series(1, 2) g WHERE a.id < 4 ORDER BY 1, g;
SELECT count(*) FROM accounts a CROSS JOIN kinds;
SELECT g, count(a.id) FROM generate_series(1, 3) g LEFT JOIN accounts a ON a.level = g GROUP BY g ORDER BY g;
SELECT r.at, a.id FROM ranges r RIGHT JOIN accounts a ON a.level = r.at ORDER BY a.id LIMIT 2;
SELECT count(*) FROM accounts WHERE id IN (1, 2, 3, 4, 5);
SELECT id FROM accounts WHERE id IN (7, 3, 5, 1) ORDER BY id DESC;
SELECT id FROM accounts WHERE id = ANY ('{2,4,6}') AND level IS NULL ORDER BY 1;
-- In a block: one's own rows, and locks.
BEGIN;
INSERT INTO accounts (id, level) VALUES (100, 9);
SELECT count(*), max(level) FILTER (WHERE id >= 100) FROM accounts;
SELECT id FROM accounts ORDER BY id DESC LIMIT 2;
SELECT level, count(*) FROM accounts WHERE level = 9 GROUP BY level HAVING count(*) > 0;
SELECT id FROM accounts WHERE level = 2 ORDER BY id FOR UPDATE;
ROLLBACK;
SELECT count(*) FROM accounts;
BEGIN;
SELECT 1 / (id - 30) FROM accounts ORDER BY id;
SELECT count(*) FROM accounts;
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM accounts;
SELECT owner, count(*) FROM accounts GROUP BY owner ORDER BY owner LIMIT 3;
COMMIT;
CREATE VIEW rich AS SELECT id, owner, balance FROM accounts WHERE balance > 50;
SELECT id FROM rich ORDER BY balance DESC, id LIMIT 3;
SELECT count(*) FROM rich;
SELECT r.id FROM rich r JOIN entries e ON e.account = r.id ORDER BY 1, e.n;
-- Values come as parameters.
-- bind 3, 2
SELECT id FROM accounts ORDER BY id LIMIT $1 OFFSET $2;
-- bind NULL, 38
SELECT id FROM accounts ORDER BY id LIMIT $1 OFFSET $2;
-- bind -1
SELECT id FROM accounts ORDER BY id LIMIT $1;
-- bind 2::int4
SELECT id FROM accounts ORDER BY level NULLS FIRST, id LIMIT $1::int;
-- bind 5, 1
SELECT id FROM accounts WHERE id > $1 ORDER BY 1 LIMIT $2;
-- bind 5
SELECT count(*), sum(level) FROM accounts WHERE id > $1;
-- bind 5, 1
SELECT kind, count(*) + $2, avg(amount) FROM entries WHERE account > $1 GROUP BY kind ORDER BY 1;
-- bind 3, 1
SELECT n % $1::int, count(*) FROM entries GROUP BY 1 ORDER BY 1 LIMIT $2;
-- bind '{3,1,2}'
SELECT id, owner FROM accounts WHERE id = ANY ($1) ORDER BY id;
-- bind '{3,1,2}'
SELECT count(*) FROM accounts WHERE id = ANY ($1);
-- bind 2, 4
SELECT max(id) FROM accounts WHERE id IN ($1, $2);
-- All shards are told one time.
SELECT count(*) FROM accounts WHERE opened < now();
SELECT id, opened < current_timestamp, day < current_date FROM accounts ORDER BY id;
SELECT DISTINCT date_trunc('century', now()) - date_trunc('century', localtimestamp) = interval '0' FROM accounts WHERE id > 3;
SELECT max(opened) FILTER (WHERE isfinite(opened)) < now(), count(*) + 0 FROM accounts WHERE day < current_date + 1;
SELECT level, count(*) FROM accounts WHERE opened < now() - interval '1 day' GROUP BY level ORDER BY level;
SELECT count(*) FROM (SELECT now(), id FROM accounts WHERE id < 10) s WHERE s.now IS NOT NULL;
SELECT opened > now() AS late, count(*) FROM accounts GROUP BY late HAVING count(*) > 0 ORDER BY 1;
-- bind 3, 5
SELECT id FROM accounts WHERE opened < now() AND id > $1 ORDER BY id LIMIT $2 OFFSET 1;
-- bind '2 days', 1
SELECT kind, count(*) + $2 FROM entries WHERE at < now() - $1::interval GROUP BY kind ORDER BY 1;
-- bind 1
SELECT count(*) FROM accounts WHERE id > $1 AND opened < transaction_timestamp();
-- One text, declared in several ways.
-- bind 1::int2
SELECT id, $1 AS x FROM accounts WHERE level > $1 ORDER BY id;
-- bind 1::int8
SELECT id, $1 AS x FROM accounts WHERE level > $1 ORDER BY id;
-- bind 1.5::numeric
SELECT id, $1 AS x FROM accounts WHERE level > $1 ORDER BY id;
-- bind 1
SELECT id, $1 AS x FROM accounts WHERE level > $1 ORDER BY id;
-- bind 1::int2
SELECT level % $1, avg(id) + $1 FROM accounts GROUP BY 1 ORDER BY 1;
-- bind 3::int8
SELECT level % $1, avg(id) + $1 FROM accounts GROUP BY 1 ORDER BY 1;
-- Distinct values of all shards.
SELECT count(DISTINCT level), count(*), sum(DISTINCT small), avg(DISTINCT level), max(DISTINCT id) FROM accounts;
SELECT active, count(DISTINCT level), count(DISTINCT city), count(*), sum(small) FROM accounts GROUP BY active ORDER BY active;
SELECT kind, count(DISTINCT n) + 1 AS c FROM entries GROUP BY kind HAVING count(DISTINCT n) > 1 ORDER BY c DESC, kind;
SELECT count(DISTINCT balance), count(DISTINCT score), count(DISTINCT owner), count(DISTINCT feeling) FROM accounts;
SELECT count(DISTINCT x), sum(DISTINCT x), count(*) FROM empty_ones;
SELECT count(DISTINCT (level, small)) FROM accounts;
SELECT count(DISTINCT level % 3), count(DISTINCT 1) FROM accounts WHERE opened < now();
-- bind 3
SELECT count(DISTINCT level % $1::int) + $1 FROM accounts;
