-- Transactions: tags, states, what is seen and what is undone.
CREATE TABLE ledger (id int PRIMARY KEY, amount int);
BEGIN;
INSERT INTO ledger VALUES (1, 100);
SELECT * FROM ledger;
COMMIT;
BEGIN;
INSERT INTO ledger VALUES (2, 200);
ROLLBACK;
SELECT * FROM ledger;
START TRANSACTION;
DELETE FROM ledger;
ABORT;
BEGIN WORK;
END WORK;
BEGIN TRANSACTION;
END TRANSACTION;
BEGIN;
COMMIT AND NO CHAIN;
SELECT * FROM ledger;
-- Warnings, not errors.
COMMIT;
ROLLBACK;
BEGIN;
BEGIN;
COMMIT;
-- A failed transaction.
BEGIN;
INSERT INTO ledger VALUES (3, 300);
SELECT 1 / 0;
SELECT 1;
INSERT INTO ledger VALUES (4, 400);
SHOW work_mem;
SET work_mem = '5MB';
BEGIN;
COMMIT;
SELECT * FROM ledger ORDER BY id;
BEGIN;
SELECT nothing;
ROLLBACK;
BEGIN;
SELEC 1;
SELECT 1;
ROLLBACK;
-- Chains.
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
SELECT count(*) FROM ledger;
COMMIT AND CHAIN;
SHOW transaction_isolation;
SHOW transaction_read_only;
INSERT INTO ledger VALUES (5, 500);
ROLLBACK AND CHAIN;
SHOW transaction_isolation;
SELECT 1 / 0;
ROLLBACK AND CHAIN;
SHOW transaction_read_only;
ROLLBACK;
SHOW transaction_isolation;
COMMIT AND CHAIN;
ROLLBACK AND CHAIN;
-- Modes.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SHOW transaction_isolation;
SELECT count(*) FROM ledger;
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
ROLLBACK;
BEGIN;
SET TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SHOW transaction_isolation;
SHOW transaction_deferrable;
SELECT count(*) FROM ledger;
COMMIT;
SET TRANSACTION READ ONLY;
BEGIN READ ONLY;
UPDATE ledger SET amount = 0;
COMMIT;
BEGIN READ WRITE, ISOLATION LEVEL READ COMMITTED;
COMMIT;
BEGIN ISOLATION LEVEL NONSENSE;
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;
INSERT INTO ledger VALUES (6, 600);
BEGIN READ WRITE;
INSERT INTO ledger VALUES (6, 600);
COMMIT;
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE;
SET default_transaction_isolation = 'repeatable read';
BEGIN;
SHOW transaction_isolation;
COMMIT;
RESET default_transaction_isolation;
-- One session does not see what another has not committed.
BEGIN;
INSERT INTO ledger VALUES (7, 700);
-- connect b
SELECT * FROM ledger ORDER BY id;
-- connect a
COMMIT;
-- connect b
SELECT * FROM ledger ORDER BY id;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM ledger;
-- connect a
UPDATE ledger SET amount = amount + 1 WHERE id = 7;
-- connect b
SELECT * FROM ledger ORDER BY id;
UPDATE ledger SET amount = amount + 1 WHERE id = 7;
ROLLBACK;
SELECT * FROM ledger ORDER BY id;
BEGIN;
UPDATE ledger SET amount = 0 WHERE id = 7;
-- connect a
SET lock_timeout = '20ms';
UPDATE ledger SET amount = 1 WHERE id = 7;
SELECT * FROM ledger WHERE id = 7 FOR UPDATE NOWAIT;
SELECT * FROM ledger ORDER BY id FOR UPDATE SKIP LOCKED;
-- connect b
ROLLBACK;
-- disconnect b
RESET lock_timeout;
-- Constraints checked at the end.
CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, other int REFERENCES ledger DEFERRABLE INITIALLY IMMEDIATE);
BEGIN;
INSERT INTO late VALUES (1, 1), (1, 1);
COMMIT;
BEGIN;
SET CONSTRAINTS ALL IMMEDIATE;
INSERT INTO late VALUES (1, 1);
INSERT INTO late VALUES (1, 1);
ROLLBACK;
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO late VALUES (2, 99);
INSERT INTO ledger VALUES (99, 0);
COMMIT;
SELECT * FROM late;
-- Time stands still.
BEGIN;
SELECT now() = statement_timestamp(), now() = transaction_timestamp();
SELECT now() = statement_timestamp(), now() = transaction_timestamp();
COMMIT;
LOCK TABLE ledger;
BEGIN;
LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE;
LOCK ledger IN SHARE MODE NOWAIT;
COMMIT;
BEGIN;
VACUUM ledger;
ROLLBACK;
VACUUM ledger;
ANALYZE ledger;
CHECKPOINT;
