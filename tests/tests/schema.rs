//! Schema changes through the router: what clients, the shards and the catalog see of them.

use tests::cluster::{Cluster, Options, connect};
use tokio_postgres::{Client, SimpleQueryMessage};

type Error = tests::cluster::Error;

/// The rows of a simple query, their columns joined by `|`.
async fn ask(client: &Client, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    Ok(messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let values: Vec<&str> = (0..row.len())
                    .map(|index| row.get(index).unwrap_or("∅"))
                    .collect();
                Some(values.join("|"))
            }
            _ => None,
        })
        .collect())
}

async fn sqlstate(client: &Client, sql: &str) -> String {
    let error = client.batch_execute(sql).await.expect_err(sql);
    error
        .code()
        .map(|code| code.code().to_owned())
        .unwrap_or_else(|| error.to_string())
}

/// Nothing prepared anywhere, and the guards as many as there should be.
async fn settled(cluster: &Cluster, guards: &[&str]) -> Result<(), Error> {
    for index in 0..cluster.local.shards().len() {
        let shard = cluster.connect_shard(index).await?;
        assert_eq!(
            ask(&shard, "SELECT gid FROM pg_prepared_xacts").await?,
            Vec::<String>::new()
        );
        let found = ask(&shard, "SELECT conrelid::regclass FROM pg_constraint WHERE conname = 'pgweave_placement' ORDER BY conrelid::regclass::text").await?;
        assert_eq!(found, guards, "shard {index}");
    }
    Ok(())
}

#[tokio::test]
async fn tables_with_a_registered_column_are_sharded_as_they_are_created() -> Result<(), Error> {
    let cluster = Cluster::start(Options {
        shards: 3,
        ..Options::default()
    })
    .await?;
    let client = cluster.connect().await?;
    ask(&client, "SELECT pgweave.auto_shard('tenant_id')").await?;
    client
        .batch_execute("CREATE TABLE tenants (tenant_id bigint PRIMARY KEY, name text)")
        .await?;
    client
        .batch_execute(
            "CREATE TABLE users (tenant_id bigint NOT NULL REFERENCES tenants ON DELETE CASCADE, id serial, name text, PRIMARY KEY (tenant_id, id))",
        )
        .await?;
    settled(&cluster, &["tenants", "users"]).await?;
    for tenant in 1..=20 {
        client.batch_execute(&format!("INSERT INTO tenants VALUES ({tenant}, 't'); INSERT INTO users (tenant_id, name) VALUES ({tenant}, 'u')")).await?;
    }
    let mut ids = Vec::new();
    for tenant in 1..=20 {
        ids.extend(
            ask(
                &client,
                &format!("SELECT id FROM users WHERE tenant_id = {tenant}"),
            )
            .await?,
        );
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    let spread = ask(
        &client,
        "SELECT shards FROM pgweave.tables WHERE table_name = 'users'",
    )
    .await?;
    assert_eq!(spread, ["{s1,s2,s3}"]);
    // The whole of it in one transaction, used at once; by another router too when it is done.
    client
        .batch_execute(
            "BEGIN; CREATE TABLE posts (tenant_id bigint NOT NULL, id bigserial, body text, PRIMARY KEY (tenant_id, id));
             INSERT INTO posts (tenant_id, body) VALUES (7, 'first'); COMMIT",
        )
        .await?;
    assert_eq!(
        ask(&client, "SELECT body FROM posts WHERE tenant_id = 7").await?,
        ["first"]
    );
    let other = cluster.another_router(&Options::default())?;
    let second = connect(other.address).await?;
    assert_eq!(
        ask(&second, "SELECT body FROM posts WHERE tenant_id = 7").await?,
        ["first"]
    );
    settled(&cluster, &["posts", "tenants", "users"]).await?;
    // What cannot hold is refused, and the statement leaves nothing behind.
    assert_eq!(
        sqlstate(
            &client,
            "CREATE TABLE bad (tenant_id bigint, id int PRIMARY KEY)"
        )
        .await,
        "0A000"
    );
    assert_eq!(
        sqlstate(&client, "CREATE TABLE bad (tenant_id text)").await,
        "0A000"
    );
    assert_eq!(
        sqlstate(
            &client,
            "ALTER TABLE users DROP CONSTRAINT pgweave_placement"
        )
        .await,
        "0A000"
    );
    assert_eq!(
        sqlstate(&client, "ALTER TABLE posts DROP COLUMN tenant_id").await,
        "0A000"
    );
    settled(&cluster, &["posts", "tenants", "users"]).await?;
    client
        .batch_execute("DROP TABLE posts; DROP TABLE tenants CASCADE")
        .await?;
    settled(&cluster, &["users"]).await?;
    assert_eq!(
        ask(&client, "SELECT table_name FROM pgweave.tables").await?,
        ["users"]
    );
    cluster.stop().await
}

#[tokio::test]
async fn transactions_and_savepoints_undo_schema_changes() -> Result<(), Error> {
    let cluster = Cluster::start(Options::default()).await?;
    let client = cluster.connect().await?;
    ask(&client, "SELECT pgweave.auto_shard('k')").await?;
    client
        .batch_execute(
            "BEGIN; CREATE TABLE one (k int, v text); SAVEPOINT here; CREATE TABLE two (k int); ALTER TABLE one ADD COLUMN w int;
             ROLLBACK TO here; INSERT INTO one VALUES (1, 'a'); COMMIT",
        )
        .await?;
    settled(&cluster, &["one"]).await?;
    assert_eq!(
        ask(&client, "SELECT * FROM one WHERE k = 1").await?,
        ["1|a"]
    );
    assert_eq!(
        sqlstate(&client, "SELECT * FROM two WHERE k = 1").await,
        "42P01"
    );
    client
        .batch_execute("BEGIN; DROP TABLE one; CREATE TABLE three (k int); ROLLBACK")
        .await?;
    settled(&cluster, &["one"]).await?;
    assert_eq!(ask(&client, "SELECT v FROM one WHERE k = 1").await?, ["a"]);
    // A refused statement fails its transaction, and only that.
    client.batch_execute("BEGIN").await?;
    assert_eq!(
        sqlstate(&client, "ALTER TABLE one DROP CONSTRAINT pgweave_placement").await,
        "0A000"
    );
    assert_eq!(sqlstate(&client, "SELECT 1").await, "25P02");
    client
        .batch_execute("ROLLBACK; ALTER TABLE one RENAME TO uno")
        .await?;
    assert_eq!(ask(&client, "SELECT v FROM uno WHERE k = 1").await?, ["a"]);
    assert_eq!(
        ask(&client, "SELECT table_name, kind FROM pgweave.tables").await?,
        ["uno|sharded"]
    );
    settled(&cluster, &["uno"]).await?;
    cluster.stop().await
}

#[tokio::test]
async fn clients_change_the_schema_at_the_same_time() -> Result<(), Error> {
    let cluster = Cluster::start(Options::default()).await?;
    let client = cluster.connect().await?;
    ask(&client, "SELECT pgweave.auto_shard('k')").await?;
    let other = cluster.another_router(&Options::default())?;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..6 {
        let address = if number % 2 == 0 {
            cluster.router.address
        } else {
            other.address
        };
        tasks.spawn(async move {
            let client = connect(address).await?;
            // The first of them makes the colocation group; whoever loses that race is told to try again.
            for _ in 0..20 {
                match client
                    .batch_execute(&format!("CREATE TABLE t{number} (k bigint, id serial)"))
                    .await
                {
                    Ok(()) => return Ok::<_, Error>(()),
                    Err(error) if error.code().is_some_and(|code| code.code() == "40001") => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err("no end of conflicts".into())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    settled(&cluster, &["t0", "t1", "t2", "t3", "t4", "t5"]).await?;
    assert_eq!(
        ask(
            &client,
            "SELECT count(*), count(DISTINCT colocation_group) FROM pgweave.tables"
        )
        .await?,
        ["6|1"]
    );
    cluster.stop().await
}

#[tokio::test]
async fn plain_tables_stay_whole_and_change_freely() -> Result<(), Error> {
    let cluster = Cluster::start(Options::default()).await?;
    let client = cluster.connect().await?;
    client
        .batch_execute(
            "CREATE TABLE plain (id serial PRIMARY KEY, v text); INSERT INTO plain (v) VALUES ('x');
             CREATE VIEW seen AS SELECT v FROM plain; CREATE INDEX CONCURRENTLY plain_v ON plain (v)",
        )
        .await
        .err();
    client
        .batch_execute("CREATE TABLE IF NOT EXISTS plain (id serial PRIMARY KEY, v text)")
        .await?;
    client
        .batch_execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS plain_v ON plain (v)")
        .await?;
    client
        .batch_execute("ALTER TABLE plain ADD COLUMN w int DEFAULT 3")
        .await?;
    assert_eq!(
        ask(
            &client,
            "SELECT kind, shards FROM pgweave.tables WHERE table_name = 'plain'"
        )
        .await?,
        ["unsharded|{s1}"]
    );
    client
        .batch_execute("CREATE TEMPORARY TABLE mine (a int); CREATE TABLE more (b int)")
        .await?;
    client
        .batch_execute("DROP TABLE plain CASCADE; DROP TABLE more")
        .await?;
    assert_eq!(
        ask(&client, "SELECT count(*) FROM pgweave.tables").await?,
        ["0"]
    );
    cluster.stop().await
}

#[tokio::test]
async fn what_tables_run_by_themselves_does_not_see_one_shard_only() -> Result<(), Error> {
    let cluster = Cluster::start(Options {
        shards: 2,
        ..Options::default()
    })
    .await?;
    let client = cluster.connect().await?;
    client
        .batch_execute(
            "CREATE TABLE facts (k int PRIMARY KEY, v int); CREATE TABLE notes (id int, n bigint, v int);
             CREATE TABLE units (id int PRIMARY KEY, v int); CREATE TABLE other (name text PRIMARY KEY)",
        )
        .await?;
    ask(&client, "SELECT pgweave.shard_table('facts', 'k')").await?;
    ask(&client, "SELECT pgweave.shard_table('other', 'name')").await?;
    ask(&client, "SELECT pgweave.reference_table('units')").await?;
    for text in [
        "CREATE FUNCTION total() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM facts'",
        "CREATE FUNCTION known(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM facts WHERE k = $1)'",
        "CREATE FUNCTION known(int, int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT known($1)'",
        "CREATE FUNCTION by_default(n bigint DEFAULT total()) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT n'",
        "CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := total(); RETURN NEW; END'",
        "CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := NEW.v + 1; RETURN NEW; EXCEPTION WHEN division_by_zero THEN NEW.facts := 1; RETURN NEW; END'",
        "CREATE FUNCTION computed(units) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT total()'",
        "CREATE OPERATOR ?? (FUNCTION = known, LEFTARG = int, RIGHTARG = int)",
        "CREATE DOMAIN checked AS int CHECK (VALUE IS NULL OR known(VALUE))",
    ] {
        client.batch_execute(text).await?;
    }
    for query in [
        "SELECT by_default()",
        "SELECT 5 ?? 5",
        "SELECT count(*) FROM units WHERE id OPERATOR(public.??) 5",
        "SELECT units.computed FROM units",
        "SELECT (u).computed FROM units u",
    ] {
        assert_eq!(sqlstate(&client, query).await, "0A000", "{query}");
    }
    let insert = "INSERT INTO notes (id) VALUES (1)";
    for (before, after) in [
        (
            "CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION fill()",
            "DROP TRIGGER t ON notes",
        ),
        (
            "ALTER TABLE notes ALTER COLUMN n SET DEFAULT total()",
            "ALTER TABLE notes ALTER COLUMN n DROP DEFAULT",
        ),
        (
            "ALTER TABLE notes ADD CONSTRAINT c CHECK (known(id)) NOT VALID",
            "ALTER TABLE notes DROP CONSTRAINT c",
        ),
        (
            "ALTER TABLE notes ADD COLUMN d checked",
            "ALTER TABLE notes DROP COLUMN d",
        ),
        (
            "CREATE RULE r AS ON INSERT TO notes DO ALSO INSERT INTO facts VALUES (NEW.id, 1)",
            "DROP RULE r ON notes",
        ),
    ] {
        client.batch_execute(before).await?;
        assert_eq!(sqlstate(&client, insert).await, "0A000", "{before}");
        assert_eq!(
            sqlstate(&client, "COPY notes (id) FROM STDIN").await,
            "0A000",
            "{before}"
        );
        ask(&client, "SELECT * FROM notes").await?;
        client.batch_execute(after).await?;
        client.batch_execute(insert).await?;
    }
    client
        .batch_execute(
            "CREATE TRIGGER h BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION harmless()",
        )
        .await?;
    client
        .batch_execute("INSERT INTO notes (id, v) VALUES (2, 1)")
        .await?;
    assert_eq!(
        ask(&client, "SELECT v FROM notes WHERE id = 2").await?,
        ["2"]
    );

    // A policy that asks a table sharded otherwise sees a part of it.
    client
        .batch_execute(
            "CREATE POLICY p ON facts USING (EXISTS (SELECT FROM other WHERE name = current_user))",
        )
        .await?;
    ask(&client, "SELECT * FROM facts WHERE k = 1").await?;
    client
        .batch_execute("ALTER TABLE facts ENABLE ROW LEVEL SECURITY")
        .await?;
    assert_eq!(
        sqlstate(&client, "SELECT * FROM facts WHERE k = 1").await,
        "0A000"
    );
    Ok(())
}

#[tokio::test]
async fn what_is_written_along_with_a_table_is_looked_at_too() -> Result<(), Error> {
    let cluster = Cluster::start(Options {
        shards: 2,
        ..Options::default()
    })
    .await?;
    let client = cluster.connect().await?;
    client
        .batch_execute(
            "CREATE TABLE facts (k int PRIMARY KEY); CREATE TABLE units (id int PRIMARY KEY, n int);
             CREATE TABLE parents (id int PRIMARY KEY); CREATE VIEW seen AS SELECT * FROM parents;
             CREATE TABLE ranges (id int) PARTITION BY RANGE (id);
             CREATE TABLE low PARTITION OF ranges FOR VALUES FROM (0) TO (10)",
        )
        .await?;
    ask(&client, "SELECT pgweave.shard_table('facts', 'k')").await?;
    ask(&client, "SELECT pgweave.reference_table('units')").await?;
    for text in [
        "CREATE FUNCTION sweep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM facts; RETURN NULL; END'",
        "CREATE FUNCTION bump() RETURNS int LANGUAGE sql AS 'UPDATE units SET n = n + 1 RETURNING n'",
        "CREATE FUNCTION mine(int) RETURNS boolean LANGUAGE sql STABLE AS 'SELECT EXISTS (SELECT FROM facts WHERE k <> $1)'",
    ] {
        client.batch_execute(text).await?;
    }
    let child = "CREATE TABLE children (parent int REFERENCES parents ON DELETE CASCADE)";
    let after = "CREATE TRIGGER t AFTER DELETE ON children EXECUTE FUNCTION sweep()";
    let delete = "DELETE FROM parents WHERE id = 1";

    client.batch_execute("BEGIN").await?;
    client.batch_execute(child).await?;
    client.batch_execute(delete).await?;
    client.batch_execute(after).await?;
    client
        .batch_execute("ALTER TABLE children RENAME TO offspring")
        .await?;
    assert_eq!(sqlstate(&client, delete).await, "0A000");
    client.batch_execute("ROLLBACK").await?;

    client.batch_execute(child).await?;
    client.batch_execute(delete).await?;
    client.batch_execute(after).await?;
    for through in [delete, "DELETE FROM seen WHERE id = 1"] {
        assert_eq!(sqlstate(&client, through).await, "0A000", "{through}");
    }
    client.batch_execute("DROP TRIGGER t ON children").await?;
    client
        .batch_execute("DELETE FROM seen WHERE id = 1")
        .await?;

    client
        .batch_execute("INSERT INTO ranges VALUES (1)")
        .await?;
    client
        .batch_execute("CREATE TRIGGER t AFTER INSERT ON low EXECUTE FUNCTION sweep()")
        .await?;
    for statement in ["INSERT INTO ranges VALUES (1)", "COPY ranges FROM STDIN"] {
        assert_eq!(sqlstate(&client, statement).await, "0A000", "{statement}");
    }

    // A function is judged alike whoever calls it.
    client
        .batch_execute("CREATE TABLE counted (id int, n int DEFAULT bump())")
        .await?;
    let insert = "INSERT INTO counted (id) VALUES (1)";
    assert_eq!(sqlstate(&client, insert).await, "0A000");
    client
        .batch_execute(
            "CREATE POLICY p ON facts USING (mine(k)); ALTER TABLE facts ENABLE ROW LEVEL SECURITY",
        )
        .await?;
    let select = "SELECT * FROM facts WHERE k = 1";
    assert_eq!(sqlstate(&client, select).await, "0A000");
    cluster.stop().await
}

#[tokio::test]
async fn reading_the_catalog_does_not_wait_for_an_open_alter_table() -> Result<(), Error> {
    let cluster = Cluster::start(Options {
        shards: 2,
        ..Options::default()
    })
    .await?;
    let (one, two) = (cluster.connect().await?, cluster.connect().await?);
    let together =
        "CREATE TABLE early (k int PRIMARY KEY); SELECT pgweave.shard_table('early', 'k')";
    assert_eq!(sqlstate(&one, together).await, "25001");
    one.batch_execute(
        "CREATE TABLE viewed (k int PRIMARY KEY, v int DEFAULT 1, g int GENERATED ALWAYS AS (k + 1) STORED)",
    )
    .await?;
    ask(&one, "SELECT pgweave.shard_table('viewed', 'k')").await?;
    one.batch_execute("CREATE VIEW view AS SELECT * FROM viewed")
        .await?;
    one.batch_execute("INSERT INTO viewed VALUES (1)").await?;
    one.batch_execute("BEGIN; ALTER TABLE viewed ADD COLUMN w int DEFAULT 2")
        .await?;
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, async {
        two.batch_execute("CREATE TABLE beside (k int PRIMARY KEY)")
            .await?;
        ask(&two, "SELECT pgweave.shard_table('beside', 'k')").await?;
        two.batch_execute("INSERT INTO beside VALUES (1)").await?;
        assert_eq!(
            sqlstate(&two, "SELECT * FROM view WHERE k = 1").await,
            "0A000"
        );
        one.batch_execute("COMMIT").await?;
        assert_eq!(
            ask(&two, "SELECT * FROM view WHERE k = 1").await?,
            ["1|1|2"]
        );
        // A lock that ends without a change of the catalog is noticed, too.
        one.batch_execute("BEGIN; ALTER TABLE viewed ADD COLUMN x int")
            .await?;
        two.batch_execute("CREATE TABLE more (k int)").await?;
        one.batch_execute("ROLLBACK").await?;
        while ask(&two, "SELECT * FROM view WHERE k = 1").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Ok::<(), tokio_postgres::Error>(())
    })
    .await??;
    Ok(())
}

#[tokio::test]
async fn a_single_shard_keeps_the_rows_it_has() -> Result<(), Error> {
    let cluster = Cluster::start(Options {
        shards: 1,
        ..Options::default()
    })
    .await?;
    let client = cluster.connect().await?;
    client
        .batch_execute(
            "CREATE TABLE countries (code text PRIMARY KEY);
             CREATE TABLE users (id serial PRIMARY KEY, country text REFERENCES countries, name text);
             CREATE TABLE bills (user_id int REFERENCES users, id bigint GENERATED ALWAYS AS IDENTITY, total numeric, PRIMARY KEY (user_id, id));
             CREATE TABLE loose (id int, note text);
             INSERT INTO countries VALUES ('de'), ('fr');
             INSERT INTO users (country, name) SELECT 'de', 'user ' || n FROM generate_series(1, 100) AS n;
             INSERT INTO bills (user_id, total) SELECT n % 50 + 1, n FROM generate_series(1, 500) AS n;
             INSERT INTO loose VALUES (1, 'a'), (NULL, 'b');",
        )
        .await?;
    ask(&client, "SELECT pgweave.reference_table('countries')").await?;
    ask(&client, "SELECT pgweave.shard_table('users', 'id')").await?;
    let colocated = "SELECT pgweave.shard_table('bills', 'user_id', colocate_with => 'users')";
    ask(&client, colocated).await?;
    // A row without a key has no place.
    let unkeyed = "SELECT pgweave.shard_table('loose', 'id')";
    assert_eq!(sqlstate(&client, unkeyed).await, "23502");
    settled(&cluster, &["bills", "users"]).await?;
    let sums = "SELECT count(*), sum(total), (SELECT count(*) FROM users), (SELECT count(*) FROM loose) FROM bills";
    assert_eq!(ask(&client, sums).await?, ["500|125250|100|2"]);
    // What is drawn from the sequences goes on where it was.
    let inserted = "INSERT INTO users (country, name) VALUES ('fr', 'new') RETURNING id";
    assert_eq!(ask(&client, inserted).await?, ["101"]);
    let inserted = "INSERT INTO bills (user_id, total) VALUES (101, 1) RETURNING id";
    assert_eq!(ask(&client, inserted).await?, ["501"]);
    let stray = "INSERT INTO bills (user_id, total) VALUES (999, 1)";
    assert_eq!(sqlstate(&client, stray).await, "23503");
    cluster.stop().await
}
