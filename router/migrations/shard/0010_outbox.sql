-- Messages that commit with the transaction that publishes them. Each shard keeps those of its own transactions; the router's
-- pgweave.outbox_* functions go over all shards.
CREATE TABLE pgweave.outbox (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic         text NOT NULL,
    -- Messages of one key are given in the order in which their transactions committed; null: in any order.
    key           text,
    payload       jsonb,
    published_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    published_by  name NOT NULL DEFAULT SESSION_USER,
    -- Not given before.
    available_at  timestamptz NOT NULL,
    tries         integer NOT NULL DEFAULT 0,
    -- Given to somebody, who has until then to acknowledge it.
    leased_until  timestamptz,
    -- Given too often; kept for people to look at.
    dead_at       timestamptz,
    error         text
);
CREATE INDEX outbox_waiting ON pgweave.outbox (topic, id) WHERE dead_at IS NULL;
CREATE INDEX outbox_order ON pgweave.outbox (topic, key, id) WHERE dead_at IS NULL AND key IS NOT NULL;
CREATE INDEX outbox_dead ON pgweave.outbox (topic, id) WHERE dead_at IS NOT NULL;

-- May be called on a shard by triggers too. The lock makes the order of a key's messages that of their commits.
CREATE FUNCTION pgweave.outbox_publish(topic text, key text, payload jsonb, delay interval DEFAULT '0')
RETURNS text LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE number bigint;
BEGIN
    IF topic IS NULL OR topic = '' THEN
        RAISE EXCEPTION 'a message needs a topic' USING ERRCODE = '22023';
    END IF;
    IF key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(topic || E'\n' || key, 7304863));
    END IF;
    INSERT INTO pgweave.outbox (topic, key, payload, available_at)
    VALUES ($1, $2, $3, clock_timestamp() + coalesce($4, '0')) RETURNING id INTO number;
    RETURN (SELECT member.shard FROM pgweave.member) || '-' || number;
END $$;

-- What could be given now, as far as this shard knows.
CREATE FUNCTION pgweave.outbox_heads(topic text, most integer)
RETURNS TABLE (id bigint, key text, published_us bigint) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT m.id, m.key, (extract(epoch FROM m.published_at) * 1000000)::bigint
      FROM pgweave.outbox AS m
     WHERE m.topic = $1 AND m.dead_at IS NULL AND m.available_at <= clock_timestamp()
       AND (m.leased_until IS NULL OR m.leased_until <= clock_timestamp())
       AND (m.key IS NULL OR NOT EXISTS (
               SELECT FROM pgweave.outbox AS earlier
                WHERE earlier.topic = m.topic AND earlier.key = m.key AND earlier.id < m.id AND earlier.dead_at IS NULL))
     ORDER BY m.id LIMIT $2
$$;

-- The oldest message of each key that is not acknowledged, given or not.
CREATE FUNCTION pgweave.outbox_oldest(topic text, keys text[])
RETURNS TABLE (key text, published_us bigint) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT m.key, (extract(epoch FROM min(m.published_at)) * 1000000)::bigint
      FROM pgweave.outbox AS m
     WHERE m.topic = $1 AND m.key = ANY ($2) AND m.dead_at IS NULL
     GROUP BY m.key
$$;

-- Gives messages to the caller for some time; what has been given too often is laid aside.
CREATE FUNCTION pgweave.outbox_lease(ids bigint[], lease interval, most_tries integer)
RETURNS TABLE (id bigint, topic text, key text, payload jsonb, published_at timestamptz, tries integer)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH locked AS MATERIALIZED (
        SELECT m.id FROM pgweave.outbox AS m
         WHERE m.id = ANY ($1) AND m.dead_at IS NULL AND m.available_at <= clock_timestamp()
           AND (m.leased_until IS NULL OR m.leased_until <= clock_timestamp())
         ORDER BY m.id FOR UPDATE SKIP LOCKED
    ), changed AS (
        UPDATE pgweave.outbox AS m
           SET tries = CASE WHEN m.tries >= $3 THEN m.tries ELSE m.tries + 1 END,
               dead_at = CASE WHEN m.tries >= $3 THEN clock_timestamp() END,
               leased_until = CASE WHEN m.tries >= $3 THEN NULL ELSE clock_timestamp() + $2 END
          FROM locked WHERE m.id = locked.id RETURNING m.*
    )
    SELECT changed.id, changed.topic, changed.key, changed.payload, changed.published_at, changed.tries
      FROM changed WHERE changed.dead_at IS NULL ORDER BY changed.id
$$;

-- True if the message was there.
CREATE FUNCTION pgweave.outbox_ack(id bigint)
RETURNS boolean LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH deleted AS (DELETE FROM pgweave.outbox AS m WHERE m.id = $1 AND m.dead_at IS NULL RETURNING 1)
    SELECT EXISTS (SELECT FROM deleted)
$$;

-- The caller could not do it: to be given again after a delay.
CREATE FUNCTION pgweave.outbox_retry(id bigint, delay interval, error text)
RETURNS boolean LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH changed AS (
        UPDATE pgweave.outbox AS m SET leased_until = NULL, available_at = clock_timestamp() + $2, error = $3
         WHERE m.id = $1 AND m.dead_at IS NULL RETURNING 1)
    SELECT EXISTS (SELECT FROM changed)
$$;

CREATE FUNCTION pgweave.outbox_dead(topic text)
RETURNS TABLE (id bigint, topic text, key text, payload jsonb, published_at timestamptz, tries integer, error text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT m.id, m.topic, m.key, m.payload, m.published_at, m.tries, m.error
      FROM pgweave.outbox AS m WHERE m.topic = $1 AND m.dead_at IS NOT NULL ORDER BY m.id
$$;

-- Gives a dead message another round of tries.
CREATE FUNCTION pgweave.outbox_revive(id bigint)
RETURNS boolean LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
    WITH changed AS (
        UPDATE pgweave.outbox AS m SET dead_at = NULL, tries = 0, leased_until = NULL
         WHERE m.id = $1 AND m.dead_at IS NOT NULL RETURNING 1)
    SELECT EXISTS (SELECT FROM changed)
$$;

-- Anybody may publish. Who may read and acknowledge, the owner of schema pgweave grants on every shard.
REVOKE EXECUTE ON FUNCTION
    pgweave.outbox_heads(text, integer), pgweave.outbox_oldest(text, text[]), pgweave.outbox_lease(bigint[], interval, integer),
    pgweave.outbox_ack(bigint), pgweave.outbox_retry(bigint, interval, text), pgweave.outbox_dead(text),
    pgweave.outbox_revive(bigint) FROM PUBLIC;
