-- Changes that are decided, and that some shards may not have committed yet. What routers read of those shards'
-- definitions meanwhile is old, so the epoch grows once more when a row goes.
CREATE TABLE pgweave.pending_change (
    gid           text PRIMARY KEY,
    participants  bigint[] NOT NULL,
    decided_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
