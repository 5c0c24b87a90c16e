-- Advisory locks, LISTEN, LOAD, DO and what else belongs to a session.
SELECT pg_advisory_lock(hashtext(':schema'));
-- connect b
SELECT pg_try_advisory_lock(hashtext(':schema'));
SELECT pg_try_advisory_lock(hashtext(':schema') + 1);
-- connect a
SELECT pg_advisory_unlock(hashtext(':schema'));
SELECT pg_advisory_unlock(hashtext(':schema'));
-- connect b
SELECT pg_try_advisory_lock(hashtext(':schema'));
SELECT pg_advisory_unlock_all();
-- connect a
BEGIN;
SELECT pg_advisory_xact_lock(hashtext(':schema') + 2);
-- connect b
SELECT pg_try_advisory_xact_lock(hashtext(':schema') + 2);
-- connect a
COMMIT;
-- connect b
SELECT pg_try_advisory_lock(hashtext(':schema') + 2);
-- disconnect b
SELECT 1;
LISTEN :schema_channel;
NOTIFY :schema_channel;
NOTIFY :schema_channel, 'with a payload';
SELECT pg_notify(':schema_channel', 'by function');
SELECT * FROM pg_listening_channels();
BEGIN;
NOTIFY :schema_channel, 'twice';
NOTIFY :schema_channel, 'twice';
NOTIFY :schema_channel, 'once';
COMMIT;
BEGIN;
NOTIFY :schema_channel, 'never';
ROLLBACK;
UNLISTEN :schema_channel;
NOTIFY :schema_channel, 'unheard';
UNLISTEN *;
SELECT count(*) FROM pg_listening_channels();
DO $$ BEGIN PERFORM set_config('work_mem', '9MB', false); END $$;
SHOW work_mem;
DO LANGUAGE plpgsql $$ BEGIN EXECUTE 'SET work_mem = ''10MB'''; END $$;
SHOW work_mem;
RESET work_mem;
SELECT lastval();
CREATE SEQUENCE sq;
SELECT currval('sq');
SELECT nextval('sq');
SELECT currval('sq'), lastval();
SELECT nextval('sq'), currval('sq');
DISCARD SEQUENCES;
SELECT lastval();
DISCARD PLANS;
DISCARD TEMP;
DISCARD TEMPORARY;
BEGIN;
DISCARD ALL;
ROLLBACK;
SELECT setseed(0.5);
SELECT txid_current_if_assigned() IS NULL;
BEGIN;
SELECT txid_current() = txid_current();
SELECT pg_current_xact_id_if_assigned() IS NOT NULL;
COMMIT;
SELECT lo_create(0) > 0;
SELECT pg_is_in_recovery();
-- expect-refusal 0A000
PREPARE TRANSACTION 'nothing';
