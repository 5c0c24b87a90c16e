//! A client's DDL and what the catalog makes of it. The transaction is a session's: own connections with a client's settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::{Catalog, ShardId, TableKind};
use planner::{Context, EverywhereKind, Plan, Where};
use router::ddl::{self, Edits, Participants, Ran, Recording, Reply};
use router::store::{Connection, HOME, Rows, ServerError, Store};
use txn::sql::Command;

use crate::harness::{Cluster, call};

/// A client's transaction over the shards, as a session runs it.
struct Client<'a> {
    cluster: &'a Cluster,
    store: Arc<Store>,
    links: BTreeMap<ShardId, Connection>,
    edits: Edits,
    base: Arc<Catalog>,
}

impl Participants for Client<'_> {
    fn query<'b>(&'b mut self, shard: ShardId, sql: &'b str) -> Reply<'b> {
        Box::pin(self.ask(shard, sql))
    }
}

impl Client<'_> {
    async fn ask(&mut self, shard: ShardId, sql: &str) -> Result<Rows, ServerError> {
        if !self.links.contains_key(&shard) {
            let connection = self.cluster.shard(shard.0 as usize - 1).await;
            connection.batch("SET search_path = public; SET datestyle = 'German'; SET quote_all_identifiers = on; BEGIN").await.unwrap();
            self.links.insert(shard, connection);
        }
        self.links[&shard]
            .rows(sql)
            .await
            .map_err(|error| match error {
                router::store::Error::Server(error) => *error,
                other => panic!("{other}"),
            })
    }
}

impl<'a> Client<'a> {
    fn begin(cluster: &'a Cluster, store: &Arc<Store>) -> Client<'a> {
        Client {
            cluster,
            store: Arc::clone(store),
            links: BTreeMap::new(),
            edits: Edits::default(),
            base: store.snapshot(),
        }
    }

    fn catalog(&self) -> Arc<Catalog> {
        self.edits.overlay(&self.base).unwrap()
    }

    /// One DDL statement. An error leaves the transaction to be dropped.
    async fn run(&mut self, sql: &str) -> Result<(), ddl::Error> {
        let catalog = self.catalog();
        let search_path = ["public".to_owned()];
        let context = Context {
            catalog: &catalog,
            search_path: &search_path,
            temporary: &[],
            user: "postgres",
            manual: None,
            standard_conforming_strings: true,
            statistics: &planner::NoStatistics,
        };
        let planned = planner::plan_text(sql, &context)
            .unwrap_or_else(|error| panic!("{sql}: {}", error.message()));
        let Plan::Everywhere(everywhere) = &*planned[0].plan else {
            panic!("{sql}: {:?}", planned[0].plan)
        };
        let EverywhereKind::Ddl(effect) = &everywhere.kind else {
            panic!("{sql}")
        };
        let shards: Vec<ShardId> = match &everywhere.shards {
            Where::Shards(shards) => shards.clone(),
            Where::Group(group) => catalog
                .group(*group)
                .unwrap()
                .map
                .shards()
                .into_iter()
                .collect(),
            _ => catalog.shards().iter().map(|shard| shard.id).collect(),
        };
        ddl::before(effect, &catalog)?;
        for shard in &shards {
            self.query(*shard, sql).await?;
        }
        let store = Arc::clone(&self.store);
        let earlier = self.edits.clone();
        let ran = Ran {
            tag: everywhere.tag.0,
            effect,
            shards: &shards,
            catalog: &catalog,
            earlier: &earlier,
        };
        let edits = ddl::after(&ran, &store, self).await?;
        self.edits.append(edits);
        Ok(())
    }

    async fn commit(self) {
        if !self.edits.need_decision(&self.base) {
            for link in self.links.values() {
                link.batch("COMMIT").await.unwrap();
            }
            return ddl::record(&self.store, &self.edits).await.unwrap();
        }
        // The home is the participant that decides.
        let mut recording = Recording::begin(&self.store, &self.edits).await.unwrap();
        let name = router::store::fresh_name(self.base.cluster_id());
        let gid = name.gid;
        assert_eq!(gid.coordinating, HOME);
        let shards: Vec<ShardId> = self.links.keys().copied().collect();
        recording.seal(gid, &shards).await.unwrap();
        for (shard, link) in &self.links {
            link.batch(&Command::Prepare(gid.participant(*shard)).text())
                .await
                .unwrap();
        }
        recording
            .send(
                &Command::Decide {
                    name,
                    participants: shards,
                }
                .text(),
            )
            .await
            .unwrap();
        recording.send(&Command::Commit.text()).await.unwrap();
        for (shard, link) in &self.links {
            link.batch(&Command::CommitPrepared(gid.participant(*shard)).text())
                .await
                .unwrap();
        }
        recording.settle(true).await;
    }
}

/// Runs statements as one transaction.
async fn run(cluster: &Cluster, store: &Arc<Store>, statements: &[&str]) {
    let mut client = Client::begin(cluster, store);
    for statement in statements {
        client
            .run(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    client.commit().await;
}

async fn refused(cluster: &Cluster, store: &Arc<Store>, statement: &str) -> String {
    let error = Client::begin(cluster, store)
        .run(statement)
        .await
        .expect_err(statement);
    let answer = error.answer();
    format!(
        "{} {} / {}",
        error.sqlstate(),
        answer.message,
        answer.hint.unwrap_or_default()
    )
}

fn kind(store: &Store, name: &str) -> Option<TableKind> {
    store
        .snapshot()
        .table("public", name)
        .map(|table| table.kind.clone())
}

#[tokio::test]
async fn plain_tables_are_listed_on_the_default_shard() {
    let cluster = Cluster::new(2).await;
    let store = cluster.store().await;
    run(
        &cluster,
        &store,
        &["CREATE TABLE notes (id serial PRIMARY KEY, body text)"],
    )
    .await;
    assert_eq!(
        cluster
            .ask(0, "SELECT table_name, kind, shards FROM pgweave.tables")
            .await,
        ["notes|unsharded|{s1}"]
    );
    run(
        &cluster,
        &store,
        &["ALTER TABLE notes ADD COLUMN at date DEFAULT '2024-02-01'"],
    )
    .await;
    let catalog = store.snapshot();
    let columns = &catalog.table("public", "notes").unwrap().columns;
    assert_eq!(
        columns[2].default_expression.as_deref(),
        Some("'2024-02-01'::date")
    );
    run(&cluster, &store, &["ALTER TABLE notes RENAME TO remarks"]).await;
    assert_eq!(
        cluster
            .ask(0, "SELECT table_name FROM pgweave.tables")
            .await,
        ["remarks"]
    );
    run(
        &cluster,
        &store,
        &[
            "CREATE SCHEMA old",
            "ALTER TABLE remarks SET SCHEMA old",
            "ALTER SCHEMA old RENAME TO new",
        ],
    )
    .await;
    assert_eq!(
        cluster
            .ask(0, "SELECT schema_name, table_name FROM pgweave.tables")
            .await,
        ["new|remarks"]
    );
    run(&cluster, &store, &["DROP SCHEMA new CASCADE"]).await;
    assert_eq!(
        cluster.ask(0, "SELECT count(*) FROM pgweave.tables").await,
        ["0"]
    );
    assert_eq!(store.snapshot().tables(), []);
}

#[tokio::test]
async fn tables_with_a_registered_column_are_sharded_at_once() {
    let cluster = Cluster::new(3).await;
    let store = cluster.store().await;
    call(&store, "auto_shard", &["tenant_id"]).await.unwrap();
    // Two in one transaction, colocated, with foreign keys and sequences; and one more later.
    run(
        &cluster,
        &store,
        &[
            "CREATE TABLE tenants (tenant_id bigint PRIMARY KEY, name text)",
            "CREATE TABLE users (tenant_id bigint NOT NULL REFERENCES tenants, id bigserial, born date DEFAULT '2000-01-31', PRIMARY KEY (tenant_id, id))",
            "ALTER TABLE users ADD COLUMN number int GENERATED ALWAYS AS IDENTITY",
        ],
    )
    .await;
    run(&cluster, &store, &["CREATE TABLE posts (tenant_id int, id serial, user_id bigint, PRIMARY KEY (tenant_id, id))"]).await;
    let catalog = store.snapshot();
    let group = |name: &str| match kind(&store, name) {
        Some(TableKind::Sharded { group, .. }) => group,
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(group("tenants"), group("users"));
    assert_eq!(group("tenants"), group("posts"));
    assert_eq!(catalog.auto_shard()[0].group, Some(group("tenants")));
    assert!(catalog.table("public", "posts").unwrap().columns[0].not_null);
    for index in 0..3 {
        assert_eq!(
            cluster
                .ask(
                    index,
                    "SELECT count(*) FROM pg_constraint WHERE conname = 'pgweave_placement'"
                )
                .await,
            ["3"]
        );
        assert_eq!(
            cluster
                .ask(
                    index,
                    "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"
                )
                .await,
            ["0"]
        );
    }
    assert_eq!(
        cluster
            .ask(
                0,
                "SELECT count(DISTINCT sequence_name), count(*) FROM pgweave.sequences"
            )
            .await,
        ["3|9"]
    );
    assert_eq!(
        cluster
            .ask(0, "SELECT count(*) FROM pgweave.pending_change")
            .await,
        ["0"]
    );
    assert_eq!(
        cluster
            .ask(1, "SELECT nextval('public.users_id_seq')")
            .await,
        ["1000000001"]
    );
    // A table without the column stays whole.
    run(&cluster, &store, &["CREATE TABLE settings (name text)"]).await;
    assert!(matches!(
        kind(&store, "settings"),
        Some(TableKind::Unsharded { .. })
    ));
    // Dropping takes the sequences' blocks along.
    run(&cluster, &store, &["DROP TABLE posts"]).await;
    assert_eq!(kind(&store, "posts"), None);
    assert_eq!(
        cluster
            .ask(
                0,
                "SELECT count(DISTINCT sequence_name) FROM pgweave.sequences"
            )
            .await,
        ["2"]
    );
    run(
        &cluster,
        &store,
        &["DROP TABLE tenants CASCADE", "DROP TABLE users"],
    )
    .await;
    assert_eq!(cluster.ask(0, "SELECT (SELECT count(*) FROM pgweave.sequences), (SELECT count(*) FROM pgweave.tables)").await, ["0|1"]);
}

#[tokio::test]
async fn what_a_rollback_undoes_leaves_no_trace() {
    let cluster = Cluster::new(2).await;
    let store = cluster.store().await;
    call(&store, "auto_shard", &["tenant_id"]).await.unwrap();
    let epoch = store.snapshot().epoch();
    let mut client = Client::begin(&cluster, &store);
    client
        .run("CREATE TABLE t (tenant_id int, id serial)")
        .await
        .unwrap();
    // Within the transaction the table is sharded already.
    assert!(matches!(
        client.catalog().table("public", "t").unwrap().kind,
        TableKind::Sharded { .. }
    ));
    assert!(client.catalog().epoch() > epoch);
    drop(client);
    assert_eq!(store.reload().await.unwrap().epoch(), epoch);
    assert_eq!(cluster.ask(0, "SELECT (SELECT count(*) FROM pgweave.sequence), (SELECT count(*) FROM pgweave.colocation_group)").await, ["0|0"]);
}

#[tokio::test]
async fn the_session_has_its_settings_back() {
    let cluster = Cluster::new(1).await;
    let store = cluster.store().await;
    let mut client = Client::begin(&cluster, &store);
    client
        .run("CREATE TABLE t (day date DEFAULT '2024-12-31')")
        .await
        .unwrap();
    let shard = store.snapshot().default_shard();
    let shown = client.query(shard, "SELECT current_setting('search_path'), current_setting('datestyle'), '2024-12-31'::date::text").await.unwrap();
    assert_eq!(
        shown[0],
        [
            Some("public".to_owned()),
            Some("German, DMY".to_owned()),
            Some("31.12.2024".to_owned())
        ]
    );
}

#[tokio::test]
async fn altered_tables_keep_what_they_rest_on() {
    let cluster = Cluster::new(2).await;
    cluster
        .run(
            0,
            "CREATE TABLE orders (customer_id int, id bigserial, note text, PRIMARY KEY (customer_id, id));
             CREATE TABLE products (sku text PRIMARY KEY); CREATE TABLE whole (id int PRIMARY KEY);
             CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM count(*) FROM whole; RETURN NEW; END'",
        )
        .await;
    cluster.run(1, "CREATE TABLE whole (id int); CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM count(*) FROM whole; RETURN NEW; END'; DROP TABLE whole").await;
    let store = cluster.store().await;
    call(&store, "shard_table", &["orders", "customer_id"])
        .await
        .unwrap();
    call(&store, "reference_table", &["products"])
        .await
        .unwrap();
    for (statement, expected) in [
        (
            "ALTER TABLE orders RENAME COLUMN customer_id TO c",
            "0A000 column customer_id is the shard key of table public.orders",
        ),
        (
            "ALTER SEQUENCE orders_id_seq MAXVALUE 5000000000",
            "0A000 sequence public.orders_id_seq is divided",
        ),
        (
            "ALTER SEQUENCE orders_id_seq CYCLE",
            "0A000 sequence public.orders_id_seq is divided",
        ),
        (
            "ALTER SEQUENCE orders_id_seq RENAME TO other",
            "0A000 sequence public.orders_id_seq is divided",
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION counts()",
            "0A000 trigger t of table public.orders may touch other tables",
        ),
        (
            "CREATE TRIGGER t BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION counts()",
            "0A000 table public.products has trigger t",
        ),
        (
            "CREATE TABLE heir () INHERITS (orders)",
            "0A000 table public.heir cannot be a child of public.orders",
        ),
    ] {
        let text = refused(&cluster, &store, statement).await;
        assert!(text.starts_with(expected), "{statement}: {text}");
    }
    // What may be done: other columns, constraints with the key, indexes, sequences while there are no rows.
    run(
        &cluster,
        &store,
        &[
            "ALTER TABLE orders ADD COLUMN number serial, ADD CONSTRAINT once UNIQUE (customer_id, note), ADD COLUMN sku text REFERENCES products",
            "ALTER TABLE orders ALTER COLUMN note SET DEFAULT 'x', RENAME COLUMN note TO remark",
        ][..1],
    )
    .await;
    run(
        &cluster,
        &store,
        &["ALTER TABLE orders RENAME COLUMN note TO remark"],
    )
    .await;
    let catalog = store.snapshot();
    let columns: Vec<_> = catalog
        .table("public", "orders")
        .unwrap()
        .columns
        .iter()
        .map(|column| column.name.clone())
        .collect();
    assert_eq!(columns, ["customer_id", "id", "remark", "number", "sku"]);
    assert_eq!(
        cluster
            .ask(
                0,
                "SELECT count(*) FROM pgweave.sequences WHERE sequence_name = 'orders_number_seq'"
            )
            .await,
        ["2"]
    );
    run(
        &cluster,
        &store,
        &["ALTER TABLE products ADD COLUMN price numeric"],
    )
    .await;
    assert_eq!(
        store
            .snapshot()
            .table("public", "products")
            .unwrap()
            .columns
            .len(),
        2
    );
    // With rows a new sequence would number them twice.
    for index in 0..2 {
        cluster.run(index, "INSERT INTO orders (customer_id, remark) SELECT g, g FROM generate_series(1, 9) g WHERE width_bucket(hashint4extended(g, 8816678312871386365), ARRAY[0::bigint]) = (SELECT shard - 1 FROM pgweave.member)").await;
    }
    let text = refused(
        &cluster,
        &store,
        "ALTER TABLE orders ADD COLUMN again serial",
    )
    .await;
    assert!(
        text.starts_with("0A000 a sequence cannot be added to table public.orders, which has rows"),
        "{text}"
    );
    // Renaming and moving, with the sequences' blocks.
    run(
        &cluster,
        &store,
        &[
            "ALTER TABLE orders RENAME TO sales",
            "CREATE SCHEMA archive",
            "ALTER TABLE sales SET SCHEMA archive",
        ],
    )
    .await;
    assert!(matches!(
        store.snapshot().table("archive", "sales").unwrap().kind,
        TableKind::Sharded { .. }
    ));
    assert_eq!(
        cluster
            .ask(0, "SELECT DISTINCT schema_name FROM pgweave.sequences")
            .await,
        ["archive"]
    );
    store.look_after_sequences().await.unwrap();
    // Type changes within the family.
    let text = refused(&cluster, &store, "ALTER TABLE archive.sales ADD CONSTRAINT w FOREIGN KEY (customer_id) REFERENCES archive.sales (customer_id)").await;
    assert!(text.contains("42830") || text.contains("0A000"), "{text}");
}

#[tokio::test]
async fn views_functions_and_the_like_reach_the_snapshot() {
    let cluster = Cluster::new(2).await;
    let store = cluster.store().await;
    let before = store.snapshot().epoch();
    run(
        &cluster,
        &store,
        &[
            "CREATE VIEW one AS SELECT 1 AS n",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE SEQUENCE counter",
        ],
    )
    .await;
    let catalog = store.snapshot();
    assert!(catalog.epoch() > before);
    assert!(
        catalog.view("public", "one").is_some() && catalog.sequence("public", "counter").is_some()
    );
    assert_eq!(catalog.functions("f").len(), 1);
    run(&cluster, &store, &["DROP VIEW one"]).await;
    assert!(store.snapshot().view("public", "one").is_none());
    // Nothing that routing depends on: no new epoch.
    let epoch = store.snapshot().epoch();
    run(
        &cluster,
        &store,
        &[
            "CREATE TYPE mood AS ENUM ('fine')",
            "COMMENT ON TYPE mood IS 'x'",
        ],
    )
    .await;
    assert_eq!(store.snapshot().epoch(), epoch);
}

#[tokio::test]
async fn a_router_that_dies_after_the_decision_is_stood_in_for() {
    let cluster = Cluster::new(2).await;
    cluster.run(0, "CREATE TABLE t (k int)").await;
    let store = cluster.store().await;
    // Up to the decision, then nothing: as after kill -9.
    let mut change = router::admin::AtomicChange::begin(&store).await.unwrap();
    let shard = store.snapshot().shards()[1].id;
    change
        .query(shard, "CREATE TABLE public.born (k int)")
        .await
        .unwrap();
    drop(change);
    assert_eq!(
        cluster.ask(1, "SELECT to_regclass('public.born')").await,
        ["∅"]
    );

    let name = router::store::fresh_name(store.snapshot().cluster_id());
    let gid = name.gid;
    let link = cluster.shard(1).await;
    link.batch("BEGIN; CREATE TABLE public.born (k int)")
        .await
        .unwrap();
    link.batch(&Command::Prepare(gid.participant(shard)).text())
        .await
        .unwrap();
    let change = router::store::SchemaChange::begin(&store).await.unwrap();
    change
        .home()
        .execute("INSERT INTO pgweave.relation (schema_name, table_name, kind, shard) VALUES ('public', 'born', 'unsharded', 2)", &[])
        .await
        .unwrap();
    change.decide(name, &[shard]).await.unwrap();
    cluster
        .run(
            0,
            "UPDATE pgweave.pending_change SET decided_at = now() - interval '1 minute'",
        )
        .await;

    // Another router: it knows the table but not its columns, and waits for recovery before it settles.
    let settings = router::store::Settings {
        poll_interval: std::time::Duration::from_millis(50),
        ..router::store::Settings::new(cluster.server(0), crate::harness::connector())
    };
    let other = Store::connect(settings).await.unwrap();
    assert!(
        other
            .snapshot()
            .table("public", "born")
            .unwrap()
            .columns
            .is_empty()
    );
    let _watch = other.watch();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(
        other
            .snapshot()
            .table("public", "born")
            .unwrap()
            .columns
            .is_empty()
    );
    link.batch(&Command::CommitPrepared(gid.participant(shard)).text())
        .await
        .unwrap();
    let mut epochs = other.handle().subscribe();
    while other
        .snapshot()
        .table("public", "born")
        .unwrap()
        .columns
        .is_empty()
    {
        tokio::time::timeout(std::time::Duration::from_secs(20), epochs.changed())
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(
        cluster
            .ask(0, "SELECT count(*) FROM pgweave.pending_change")
            .await,
        ["0"]
    );
}

#[tokio::test]
async fn a_slow_record_does_not_undo_what_came_between() {
    let cluster = Cluster::new(2).await;
    let store = cluster.store().await;
    let mut client = Client::begin(&cluster, &store);
    client.run("CREATE TABLE t (k int)").await.unwrap();
    // The shard has committed; before the record is written an operator shards the table.
    for link in client.links.values() {
        link.batch("COMMIT").await.unwrap();
    }
    call(&store, "shard_table", &["t", "k"]).await.unwrap();
    ddl::record(&store, &client.edits).await.unwrap();
    assert!(matches!(kind(&store, "t"), Some(TableKind::Sharded { .. })));
}
