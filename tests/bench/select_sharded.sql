\set bid random(1, :scale)
\set aid (:bid - 1) * 100000 + random(1, 100000)
SELECT abalance FROM sharded_accounts WHERE aid = :aid AND bid = :bid;
