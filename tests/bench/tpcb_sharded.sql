\set bid random(1, :scale)
\set aid (:bid - 1) * 100000 + random(1, 100000)
\set tid (:bid - 1) * 10 + random(1, 10)
\set delta random(-5000, 5000)
BEGIN;
UPDATE sharded_accounts SET abalance = abalance + :delta WHERE aid = :aid AND bid = :bid;
SELECT abalance FROM sharded_accounts WHERE aid = :aid AND bid = :bid;
UPDATE sharded_tellers SET tbalance = tbalance + :delta WHERE tid = :tid AND bid = :bid;
UPDATE sharded_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO sharded_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
