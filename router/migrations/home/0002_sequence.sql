-- Sequences whose values are unique over the cluster because each shard draws from blocks of its own.
-- Values are counted in steps of the increment: step n is the value origin + n * increment.
CREATE TABLE pgweave.sequence (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name    text NOT NULL,
    sequence_name  text NOT NULL,
    origin         bigint NOT NULL,
    increment      bigint NOT NULL CHECK (increment <> 0),
    -- What the sequence allowed before it was divided into blocks.
    minimum        bigint NOT NULL,
    maximum        bigint NOT NULL,
    -- Steps in a block as long as they last a while; the router takes larger ones where they do not.
    block_steps    bigint NOT NULL CHECK (block_steps > 0),
    -- The first step that no block holds.
    next_step      bigint NOT NULL DEFAULT 0 CHECK (next_step >= 0),
    UNIQUE (schema_name, sequence_name)
);

-- Blocks are only ever added: a block that was given out is never given out again, used or not.
CREATE TABLE pgweave.sequence_block (
    sequence     integer NOT NULL REFERENCES pgweave.sequence (id) ON DELETE CASCADE,
    first_step   bigint NOT NULL,
    steps        bigint NOT NULL CHECK (steps > 0),
    shard        integer NOT NULL REFERENCES pgweave.shard (id),
    leased_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (sequence, first_step)
);
CREATE INDEX sequence_block_shard ON pgweave.sequence_block (shard, sequence, first_step);
