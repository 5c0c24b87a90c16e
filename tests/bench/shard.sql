SELECT pgweave.shard_table('sharded_branches', 'bid');
SELECT pgweave.shard_table('sharded_tellers', 'bid', colocate_with => 'sharded_branches');
SELECT pgweave.shard_table('sharded_accounts', 'bid', colocate_with => 'sharded_branches');
SELECT pgweave.shard_table('sharded_history', 'bid', colocate_with => 'sharded_branches');
