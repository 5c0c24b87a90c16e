-- What a name means changes with the search path, with SET LOCAL and with temporary tables; so does the shard.
CREATE TABLE items (tenant int NOT NULL, item int NOT NULL, note text);
CREATE SCHEMA other_:schema;
CREATE TABLE other_:schema.items (tenant int NOT NULL, item int NOT NULL, note text);
-- setup pgweave: SELECT pgweave.shard_table(':schema.items', 'tenant')
-- setup pgweave: SELECT pgweave.shard_table('other_:schema.items', 'item')
