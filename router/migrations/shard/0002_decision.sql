-- The decisions of transactions over several shards that this shard coordinates.
-- Every role may add rows, since the decision is inserted by the transaction's own user; none may read, change or
-- delete them.
CREATE TABLE pgweave.decision (
    gid          text PRIMARY KEY,
    outcome      text NOT NULL CHECK (outcome IN ('commit', 'abort')),
    participants bigint[] NOT NULL DEFAULT '{}',
    decided_at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE pgweave.decision IS 'Outcomes of transactions over several shards that were decided here.';
GRANT INSERT (gid, outcome, participants) ON pgweave.decision TO PUBLIC;
