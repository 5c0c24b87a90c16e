-- A decision to commit proves that its writer is the transaction's coordinator: it shows what the fifth part of the gid
-- is the hash of. Others than the owner cannot write the outcome, so they cannot decide to abort either.
-- Rows from before stay as they are; transactions of that time must be finished before routers are replaced. Routers from
-- before cannot commit over several shards from here on: their rows are refused, and their transactions rolled back.
ALTER TABLE pgweave.decision
    ADD COLUMN proof bytea,
    ALTER COLUMN outcome SET DEFAULT 'commit',
    ADD CONSTRAINT decision_proof CHECK (
        outcome = 'abort' OR proof IS NOT NULL
            AND pg_catalog.split_part(gid, '_', 5) = pg_catalog.left(pg_catalog.encode(pg_catalog.sha256(proof), 'hex'), 32)
    ) NOT VALID;
REVOKE INSERT (outcome) ON pgweave.decision FROM PUBLIC;
GRANT INSERT (proof) ON pgweave.decision TO PUBLIC;
