-- What every shard holds for itself. The schema exists already, it holds the table of applied migrations.
GRANT USAGE ON SCHEMA pgweave TO PUBLIC;

-- Which shard of which cluster this database is. Physical replication copies it to the replicas, so it also tells
-- whether a server is what its address says.
CREATE TABLE pgweave.member (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster    uuid NOT NULL,
    shard      integer NOT NULL CHECK (shard > 0),
    name       text NOT NULL,
    joined_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
COMMENT ON TABLE pgweave.member IS 'The shard of the pgweave cluster that this database is.';
GRANT SELECT ON pgweave.member TO PUBLIC;
