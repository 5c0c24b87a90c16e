-- Transactions over several shards that wait for a lock, as their routers have told: which server processes belong together.
-- From these and the servers' own lists of waits any router finds deadlocks over shards. Nothing is lost with it.
CREATE UNLOGGED TABLE pgweave.waiting (
    router     text NOT NULL,
    session    bigint NOT NULL,
    address    text NOT NULL,
    began      timestamptz NOT NULL,
    -- shard:pid:virtual transaction id
    processes  text[] NOT NULL,
    seen_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (router, session)
);
