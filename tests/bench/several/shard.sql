SELECT pgweave.reference_table('regions');
SELECT pgweave.shard_table('accounts', 'id');
SELECT pgweave.shard_table('entries', 'account', colocate_with => 'accounts');
