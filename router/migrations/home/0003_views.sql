-- What anybody may look at.
CREATE VIEW pgweave.shards AS
SELECT shard.id,
       shard.name,
       (SELECT server.host || ':' || server.port || '/' || server.dbname
          FROM pgweave.server
         WHERE server.shard = shard.id AND server.role = 'primary') AS primary_server,
       ARRAY(SELECT server.host || ':' || server.port || '/' || server.dbname
               FROM pgweave.server
              WHERE server.shard = shard.id AND server.role = 'replica'
              ORDER BY server.position) AS replica_servers,
       shard.id = cluster.default_shard AS is_default,
       shard.id IS NOT DISTINCT FROM cluster.home_shard AS holds_catalog
  FROM pgweave.shard
 CROSS JOIN pgweave.cluster
 ORDER BY shard.id;

CREATE VIEW pgweave.tables AS
SELECT relation.schema_name,
       relation.table_name,
       relation.kind,
       relation.key_columns AS shard_key,
       colocation_group.method,
       relation.colocation_group,
       CASE relation.kind
            WHEN 'sharded' THEN ARRAY(SELECT shard.name
                                        FROM pgweave.shard
                                       WHERE shard.id IN (SELECT placement.shard FROM pgweave.placement
                                                           WHERE placement.colocation_group = relation.colocation_group)
                                       ORDER BY shard.id)
            WHEN 'reference' THEN ARRAY(SELECT shard.name FROM pgweave.shard ORDER BY shard.id)
            ELSE ARRAY(SELECT shard.name FROM pgweave.shard WHERE shard.id = relation.shard)
       END AS shards
  FROM pgweave.relation
  LEFT JOIN pgweave.colocation_group ON colocation_group.id = relation.colocation_group
 ORDER BY relation.schema_name, relation.table_name;

CREATE VIEW pgweave.placements AS
SELECT colocation_group.id AS colocation_group,
       colocation_group.method,
       colocation_group.key_types,
       ARRAY(SELECT pg_catalog.format('%I.%I', relation.schema_name, relation.table_name)
               FROM pgweave.relation
              WHERE relation.colocation_group = colocation_group.id
              ORDER BY 1) AS tables,
       shard.name AS shard,
       -- Points and bounds as text: [lower_bound, upper_bound), null is unbounded.
       CASE colocation_group.method
            WHEN 'hash' THEN placement.start_point::text
            ELSE pg_catalog.array_to_string(placement.lower_bound, ', ')
       END AS lower_bound,
       CASE colocation_group.method
            WHEN 'hash' THEN (pg_catalog.lead(placement.start_point)
                              OVER (PARTITION BY placement.colocation_group ORDER BY placement.position))::text
            ELSE pg_catalog.array_to_string(placement.upper_bound, ', ')
       END AS upper_bound,
       -- Of a list map; null there: every value that is not listed.
       pg_catalog.array_to_string(placement.value, ', ') AS value
  FROM pgweave.placement
  JOIN pgweave.colocation_group ON colocation_group.id = placement.colocation_group
  JOIN pgweave.shard ON shard.id = placement.shard
 ORDER BY placement.colocation_group, placement.position;

CREATE VIEW pgweave.sequences AS
SELECT sequence.schema_name,
       sequence.sequence_name,
       shard.name AS shard,
       (sequence.origin + block.first_step * sequence.increment) AS first_value,
       (sequence.origin + (block.first_step + block.steps - 1) * sequence.increment) AS last_value,
       block.leased_at
  FROM pgweave.sequence
  JOIN pgweave.sequence_block AS block ON block.sequence = sequence.id
  JOIN pgweave.shard ON shard.id = block.shard;

CREATE VIEW pgweave.routers AS
SELECT router.id, router.address, router.version, router.epoch, router.started_at, router.last_seen
  FROM pgweave.router
 ORDER BY router.address;

GRANT SELECT ON pgweave.shards, pgweave.tables, pgweave.placements, pgweave.sequences, pgweave.routers TO PUBLIC;
