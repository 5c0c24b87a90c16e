-- currval and lastval are a connection's, and connections change hands between transactions.
CREATE TABLE drawn (id serial, v int);
-- expect-refusal 0A000
SELECT lastval();
INSERT INTO drawn (v) VALUES (1) RETURNING id;
-- expect-refusal 0A000
SELECT currval('drawn_id_seq');
-- expect-refusal 0A000
INSERT INTO drawn (v) VALUES (lastval());
BEGIN;
INSERT INTO drawn (v) VALUES (2);
SELECT lastval(), currval('drawn_id_seq');
INSERT INTO drawn (id, v) VALUES (currval('drawn_id_seq') + 100, 3);
COMMIT;
-- only simple
INSERT INTO drawn (v) VALUES (3); SELECT lastval();
SELECT nextval('drawn_id_seq'), lastval(), currval('drawn_id_seq');
-- expect-refusal 0A000
SELECT lastval(), nextval('drawn_id_seq');
SELECT * FROM drawn ORDER BY v, id;
CREATE TABLE spread (k int PRIMARY KEY, id serial);
-- setup pgweave: SELECT pgweave.shard_table(':schema.spread', 'k')
BEGIN;
INSERT INTO spread (k) VALUES (1);
-- differs: shards draw from blocks of their own
SELECT lastval();
COMMIT;
