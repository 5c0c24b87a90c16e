-- What a reader must know to tell whether a snapshot shows a transaction over several shards: the transaction's ids on the
-- shards. Its own here is the column's default, which nobody but the owner can replace. Rows from before have none.
ALTER TABLE pgweave.decision
    ADD COLUMN participant_xids xid8[],
    ADD COLUMN xid xid8;
-- Set apart from ADD COLUMN, which would give old rows the id of this transaction.
ALTER TABLE pgweave.decision ALTER COLUMN xid SET DEFAULT pg_catalog.pg_current_xact_id();
CREATE INDEX decision_xid ON pgweave.decision (xid);
GRANT INSERT (participant_xids) ON pgweave.decision TO PUBLIC;
