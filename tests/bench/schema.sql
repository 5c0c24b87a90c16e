CREATE TABLE pgbench_branches (bid int NOT NULL PRIMARY KEY, bbalance int, filler char(88)) WITH (fillfactor = 100);
CREATE TABLE pgbench_tellers (tid int NOT NULL PRIMARY KEY, bid int, tbalance int, filler char(84)) WITH (fillfactor = 100);
CREATE TABLE pgbench_accounts (aid int NOT NULL PRIMARY KEY, bid int, abalance int, filler char(84)) WITH (fillfactor = 100);
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
CREATE TABLE sharded_branches (bid int NOT NULL PRIMARY KEY, bbalance int, filler char(88)) WITH (fillfactor = 100);
CREATE TABLE sharded_tellers (tid int NOT NULL, bid int NOT NULL, tbalance int, filler char(84), PRIMARY KEY (tid, bid)) WITH (fillfactor = 100);
CREATE TABLE sharded_accounts (aid int NOT NULL, bid int NOT NULL, abalance int, filler char(84), PRIMARY KEY (aid, bid)) WITH (fillfactor = 100);
CREATE TABLE sharded_history (tid int, bid int NOT NULL, aid int, delta int, mtime timestamp, filler char(22));
