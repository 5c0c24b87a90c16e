-- Sagas and how far they have come. Whoever carries one on holds the lock of its row meanwhile. The record that a step has taken
-- effect is on the step's own shard, in pgweave.saga_step.
CREATE TABLE pgweave.saga (
    id               uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name             text NOT NULL,
    idempotency_key  text UNIQUE,
    started_by       name NOT NULL,
    search_path      text NOT NULL,
    -- Of each step: shard, sql, parameters, compensation, compensation_parameters.
    steps            jsonb NOT NULL,
    most_tries       integer NOT NULL CHECK (most_tries > 0),
    state            text NOT NULL DEFAULT 'running'
                     CHECK (state IN ('running', 'turning back', 'compensating', 'done', 'compensated')),
    position         integer NOT NULL DEFAULT 0,
    tries            integer NOT NULL DEFAULT 0,
    next_at          timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    error            text,
    started_at       timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ended_at         timestamptz
);
CREATE INDEX saga_due ON pgweave.saga (next_at) WHERE ended_at IS NULL;
