-- The catalog: what all routers must agree on. Read as one snapshot, changed under an advisory lock and a new epoch.
GRANT USAGE ON SCHEMA pgweave TO PUBLIC;

CREATE TABLE pgweave.shard (
    id    integer PRIMARY KEY CHECK (id > 0),
    name  text NOT NULL UNIQUE CHECK (name <> '')
);

CREATE TABLE pgweave.cluster (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id             uuid NOT NULL,
    -- Version of the meaning of these tables. A router that does not know it refuses to start.
    format         integer NOT NULL,
    epoch          bigint NOT NULL CHECK (epoch > 0),
    -- Where relations live that the catalog does not list.
    default_shard  integer REFERENCES pgweave.shard (id),
    -- The shard whose database holds this schema; null if it is a database of its own.
    home_shard     integer REFERENCES pgweave.shard (id),
    created_at     timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);

CREATE TABLE pgweave.server (
    host      text NOT NULL,
    port      integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    dbname    text NOT NULL,
    shard     integer NOT NULL REFERENCES pgweave.shard (id),
    role      text NOT NULL CHECK (role IN ('primary', 'replica')),
    -- Order among the replicas of a shard.
    position  integer NOT NULL,
    PRIMARY KEY (host, port, dbname)
);
CREATE UNIQUE INDEX server_one_primary ON pgweave.server (shard) WHERE role = 'primary';

CREATE TABLE pgweave.colocation_group (
    id             integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    method         text NOT NULL CHECK (method IN ('hash', 'range', 'list')),
    -- Types of the key columns, as the catalog crate names them.
    key_types      text[] NOT NULL CHECK (cardinality(key_types) > 0),
    -- How a hash map was laid out, for adding shards later.
    layout         text CHECK (layout IN ('even', 'consistent')),
    -- Tables sharded without further wishes by keys of these types join this group.
    is_default     boolean NOT NULL DEFAULT false,
    CHECK ((method = 'hash') = (layout IS NOT NULL)),
    CHECK (method = 'hash' OR NOT is_default)
);
CREATE UNIQUE INDEX colocation_group_default ON pgweave.colocation_group (key_types) WHERE is_default;

-- One row per key range. hash: from start_point to the next row's. range: [lower_bound, upper_bound), null is
-- unbounded. list: one value, or null for all that are not listed. Bounds and values have one item per key column.
CREATE TABLE pgweave.placement (
    colocation_group  integer NOT NULL REFERENCES pgweave.colocation_group (id) ON DELETE CASCADE,
    position          integer NOT NULL,
    start_point       bigint,
    lower_bound       text[],
    upper_bound       text[],
    value             text[],
    shard             integer NOT NULL REFERENCES pgweave.shard (id),
    PRIMARY KEY (colocation_group, position)
);

CREATE TABLE pgweave.relation (
    id                integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    schema_name       text NOT NULL,
    table_name        text NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('sharded', 'reference', 'unsharded')),
    key_columns       text[],
    colocation_group  integer REFERENCES pgweave.colocation_group (id),
    shard             integer REFERENCES pgweave.shard (id),
    UNIQUE (schema_name, table_name),
    CHECK ((kind = 'sharded') = (key_columns IS NOT NULL)),
    CHECK ((kind = 'sharded') = (colocation_group IS NOT NULL)),
    CHECK ((kind = 'unsharded') = (shard IS NOT NULL))
);

CREATE TABLE pgweave.auto_shard (
    column_name       text PRIMARY KEY,
    -- Null until the first table with the column exists.
    colocation_group  integer REFERENCES pgweave.colocation_group (id)
);

CREATE TABLE pgweave.router (
    id          text PRIMARY KEY,
    address     text NOT NULL,
    version     text NOT NULL,
    epoch       bigint NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    last_seen   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
