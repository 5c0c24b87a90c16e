-- Steps of sagas that have taken effect here, or never will: written in the step's own transaction, so that it happens once.
CREATE TABLE pgweave.saga_step (
    saga       uuid NOT NULL,
    step       integer NOT NULL,
    direction  text NOT NULL CHECK (direction IN ('forward', 'back')),
    outcome    text NOT NULL CHECK (outcome IN ('done', 'abandoned')),
    at         timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (saga, step, direction)
);
