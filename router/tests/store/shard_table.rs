//! The operator's functions on tables: what they place, and what they refuse.

use std::sync::Arc;

use catalog::{KeyType, ShardMap, TableKind};
use router::store::Store;

use crate::harness::{Cluster, call, call_as, has_all};

/// The error's SQLSTATE and message with the hint.
async fn refusal(store: &Arc<Store>, function: &str, arguments: &[&str]) -> (String, String) {
    let error = call(store, function, arguments)
        .await
        .expect_err(&format!("{function} {arguments:?}"));
    let answer = error.answer();
    (
        error.sqlstate().to_owned(),
        format!("{} / {}", answer.message, answer.hint.unwrap_or_default()),
    )
}

#[tokio::test]
async fn a_sharded_table_refuses_rows_of_other_shards() {
    let cluster = Cluster::new(3).await;
    cluster
        .run(
            0,
            "CREATE TABLE orders (customer_id bigint, id bigint, note text)",
        )
        .await;
    let store = cluster.store().await;
    let before = store.snapshot().epoch();
    let output = call(&store, "shard_table", &["orders", "customer_id"])
        .await
        .unwrap();
    assert_eq!(
        output.rows[0][0].as_deref(),
        Some("public.orders is sharded by hash (customer_id) over s1, s2, s3")
    );
    let catalog = store.snapshot();
    assert!(catalog.epoch() > before);
    let table = catalog.table("public", "orders").unwrap();
    let TableKind::Sharded { group, key } = &table.kind else {
        panic!("{table:?}")
    };
    assert_eq!(
        (key[0].name.as_str(), key[0].key_type),
        ("customer_id", KeyType::Int8)
    );
    let group = catalog.group(*group).unwrap();
    // Every row is taken by exactly the shard that the map names.
    for id in 1..60i64 {
        let value = catalog::KeyValue::Int(id);
        let owner = group.map.shard(&group.types, &[value]).unwrap();
        for index in 0..3 {
            let insert = format!("INSERT INTO public.orders VALUES ({id}, 1, 'x')");
            let result = cluster.shard(index).await.rows(&insert).await;
            assert_eq!(
                result.is_ok(),
                catalog.shards()[index].id == owner,
                "{id} on {index}"
            );
            if let Err(error) = result {
                assert_eq!(error.sqlstate(), "23514");
                assert!(error.to_string().contains("pgweave_placement"));
            }
        }
    }
    // A key is never NULL.
    assert!(
        cluster
            .shard(0)
            .await
            .rows("INSERT INTO public.orders VALUES (NULL, 1, 'x')")
            .await
            .is_err()
    );
    assert_eq!(
        cluster
            .ask(
                0,
                "SELECT table_name, kind, shard_key, method, shards FROM pgweave.tables"
            )
            .await,
        ["orders|sharded|{customer_id}|hash|{s1,s2,s3}"]
    );
    assert_eq!(
        cluster
            .ask(
                0,
                "SELECT count(*), bool_and(tables = '{public.orders}') FROM pgweave.placements"
            )
            .await,
        ["3|t"]
    );
    // Nothing is left prepared, and the decision is on record.
    for index in 0..3 {
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
                "SELECT outcome, cardinality(participants) FROM pgweave.decision"
            )
            .await,
        ["commit|3"]
    );
}

#[tokio::test]
async fn tables_with_equal_key_types_meet() {
    let cluster = Cluster::new(2).await;
    cluster
        .run(
            0,
            "CREATE TABLE a (k bigint); CREATE TABLE b (k int); CREATE TABLE c (k text); CREATE TABLE d (k bigint); CREATE TABLE e (k bigint);
             CREATE TABLE f (x bigint, y text); CREATE TABLE g (x int, y text)",
        )
        .await;
    let store = cluster.store().await;
    call(&store, "shard_table", &["a", "k"]).await.unwrap();
    call(&store, "shard_table", &["b", "k"]).await.unwrap();
    call(&store, "shard_table", &["c", "k"]).await.unwrap();
    call(&store, "shard_table", &["d", "k", "colocate_with => none"])
        .await
        .unwrap();
    call(
        &store,
        "shard_table",
        &["e", "k", "colocate_with => public.d"],
    )
    .await
    .unwrap();
    call(&store, "shard_table", &["f", "x, y"]).await.unwrap();
    call(&store, "shard_table", &["g", "key => [x; y]"])
        .await
        .unwrap();
    let catalog = store.snapshot();
    let group = |name: &str| match catalog.table("public", name).unwrap().kind {
        TableKind::Sharded { group, .. } => group,
        _ => panic!("{name}"),
    };
    assert_eq!(group("a"), group("b"));
    assert_ne!(group("a"), group("c"));
    assert_ne!(group("a"), group("d"));
    assert_eq!(group("d"), group("e"));
    assert_eq!(group("f"), group("g"));
    let refused = refusal(&store, "shard_table", &["a", "k"]).await;
    assert_eq!(refused.0, "42710");
}

#[tokio::test]
async fn maps_of_every_kind() {
    let cluster = Cluster::new(3).await;
    cluster
        .run(0, "CREATE TABLE ring (k uuid); CREATE TABLE days (day date); CREATE TABLE part (n int); CREATE TABLE lands (land text); CREATE TABLE rest (land varchar(2)); CREATE TABLE far (k int)")
        .await;
    let store = cluster.store().await;
    call(
        &store,
        "shard_table",
        &["ring", "k", "layout => consistent", "virtual_nodes => 8"],
    )
    .await
    .unwrap();
    call(
        &store,
        "shard_table",
        &[
            "days",
            "day",
            "by => range",
            "shards => [s1; s2; s3]",
            "bounds => [2024-01-01; 2025-01-01]",
        ],
    )
    .await
    .unwrap();
    call(
        &store,
        "shard_table",
        &[
            "part",
            "n",
            "by => range",
            "shards => s2",
            "bounds => [0; 100]",
        ],
    )
    .await
    .unwrap();
    call(
        &store,
        "shard_table",
        &[
            "lands",
            "land",
            "by => list",
            "values => [de; fr; it]",
            "shards => [s1; s2; s1]",
        ],
    )
    .await
    .unwrap();
    call(
        &store,
        "shard_table",
        &[
            "rest",
            "land",
            "by => list",
            "values => [de]",
            "shards => [s2]",
            "default_shard => s3",
        ],
    )
    .await
    .unwrap();
    call(&store, "shard_table", &["far", "k", "shards => s2, s3"])
        .await
        .unwrap();
    let catalog = store.snapshot();
    let map = |name: &str| match &catalog.table("public", name).unwrap().kind {
        TableKind::Sharded { group, .. } => catalog.group(*group).unwrap().map.clone(),
        _ => panic!("{name}"),
    };
    assert!(matches!(map("ring"), ShardMap::Hash(_)) && map("ring").placements().len() > 3);
    assert_eq!(map("far").shards().len(), 2);
    for (index, table, insert, works) in [
        (0, "days", "'2023-12-31'", true),
        (0, "days", "'2024-01-01'", false),
        (1, "days", "'2024-01-01'", true),
        (2, "days", "'infinity'", true),
        (1, "part", "99", true),
        (1, "part", "100", false),
        (0, "lands", "'it'", true),
        (1, "lands", "'it'", false),
        (0, "lands", "'xx'", false),
        (1, "rest", "'de'", true),
        (2, "rest", "'de'", false),
        (2, "rest", "'xx'", true),
    ] {
        let result = cluster
            .shard(index)
            .await
            .rows(&format!("INSERT INTO public.{table} VALUES ({insert})"))
            .await;
        assert_eq!(
            result.is_ok(),
            works,
            "{insert} into {table} on {index}: {result:?}"
        );
    }
    // Tables are only where their map is.
    assert_eq!(cluster.ask(0, "SELECT to_regclass('public.part'), to_regclass('public.far'), to_regclass('public.rest')").await, ["∅|∅|∅"]);
    assert_eq!(cluster.ask(0, "SELECT lower_bound, upper_bound, value, shard FROM pgweave.placements WHERE 'public.rest' = ANY (tables)").await, ["∅|∅|de|s2", "∅|∅|∅|s3"]);
    // The catalog can still be read though the default shard has no copy.
    assert_eq!(
        cluster
            .store()
            .await
            .snapshot()
            .table("public", "part")
            .unwrap()
            .columns[0]
            .name,
        "n"
    );
}

#[tokio::test]
async fn reference_and_unsharded_tables() {
    let cluster = Cluster::new(3).await;
    cluster.run(0, "CREATE TABLE products (sku text PRIMARY KEY); CREATE TABLE logs (id bigserial PRIMARY KEY, line text); CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)").await;
    let store = cluster.store().await;
    call(&store, "reference_table", &["products"])
        .await
        .unwrap();
    assert_eq!(
        store.snapshot().table("public", "products").unwrap().kind,
        TableKind::Reference
    );
    for index in 0..3 {
        cluster
            .run(index, "INSERT INTO products VALUES ('a')")
            .await;
        assert_eq!(
            cluster
                .ask(
                    index,
                    "SELECT count(*) FROM pg_constraint WHERE conname = 'pgweave_placement'"
                )
                .await,
            ["0"]
        );
    }
    call(&store, "unsharded_table", &["logs", "s2"])
        .await
        .unwrap();
    let catalog = store.snapshot();
    assert_eq!(
        catalog.table("public", "logs").unwrap().kind,
        TableKind::Unsharded {
            shard: catalog.shards()[1].id
        }
    );
    assert_eq!(catalog.table("public", "logs").unwrap().columns.len(), 2);
    assert_eq!(
        cluster
            .ask(
                0,
                "SELECT to_regclass('public.logs'), to_regclass('public.logs_id_seq')"
            )
            .await,
        ["∅|∅"]
    );
    cluster.run(1, "INSERT INTO logs (line) VALUES ('x')").await;
    // Registered where it is, with its rows; moved only when empty.
    call(&store, "unsharded_table", &["kept", "s1"])
        .await
        .unwrap();
    let (state, text) = refusal(&store, "unsharded_table", &["kept", "s3"]).await;
    assert_eq!(state, "0A000");
    assert!(
        text.contains("kept is not empty") && text.contains("INCLUDING ALL"),
        "{text}"
    );
    assert_eq!(
        refusal(&store, "reference_table", &["products"]).await.0,
        "42710"
    );
    assert_eq!(
        refusal(&store, "unsharded_table", &["products", "s1"])
            .await
            .0,
        "42710"
    );
}

#[tokio::test]
async fn what_cannot_hold_over_shards_is_refused() {
    let cluster = Cluster::new(2).await;
    cluster
        .run(
            0,
            r#"CREATE TABLE parents (id bigint PRIMARY KEY); CREATE TABLE plain (id bigint PRIMARY KEY, k bigint);
               CREATE TABLE filled (k int); INSERT INTO filled VALUES (1);
               CREATE TABLE pk (id int PRIMARY KEY, k int); CREATE TABLE uq (k int, id int UNIQUE); CREATE TABLE ui (k int, id int);
               CREATE UNIQUE INDEX ui_id ON ui (id); CREATE UNIQUE INDEX ui_e ON ui (k, lower(id::text));
               CREATE TABLE ue (k int); CREATE UNIQUE INDEX ue_e ON ue ((k + 1));
               CREATE TABLE ex (k int4range, EXCLUDE USING gist (k WITH &&));
               CREATE TABLE fk (k bigint REFERENCES plain); CREATE TABLE num (k numeric);
               CREATE TABLE gen (a int, k int GENERATED ALWAYS AS (a + 1) STORED);
               CREATE TABLE parts (k int) PARTITION BY LIST (k); CREATE TABLE part PARTITION OF parts DEFAULT;
               CREATE TABLE heir () INHERITS (filled); CREATE TABLE ruled (k int); CREATE RULE r AS ON DELETE TO ruled DO INSTEAD NOTHING;
               CREATE TABLE trig (k int); CREATE FUNCTION writes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO filled VALUES (1); RETURN NEW; END';
               CREATE TRIGGER t BEFORE INSERT ON trig FOR EACH ROW EXECUTE FUNCTION writes();
               CREATE TABLE policed (k int); CREATE POLICY p ON policed USING (k IN (SELECT id FROM parents));
               CREATE TABLE self (k bigint, id bigint, up bigint, PRIMARY KEY (k, id), UNIQUE (id, k), FOREIGN KEY (up, id) REFERENCES self (id, k));
               CREATE TABLE cyc (k int, n int); CREATE SEQUENCE round CYCLE MAXVALUE 5; ALTER TABLE cyc ALTER n SET DEFAULT nextval('round');
               CREATE VIEW seen AS SELECT 1 AS k; CREATE MATERIALIZED VIEW stored AS SELECT 1 AS k; CREATE SEQUENCE counter;
               CREATE TABLE child (pid bigint REFERENCES plain (id), k bigint);"#,
        )
        .await;
    let store = cluster.store().await;
    for (table, key, state, part) in [
        ("filled", "k", "0A000", "is a parent by inheritance"),
        (
            "pk",
            "k",
            "0A000",
            "primary key \"pk_pkey\" of table public.pk does not include the shard key (k) / Add the shard key to it: (id, k).",
        ),
        ("uq", "k", "0A000", "unique constraint \"uq_id_key\""),
        ("ui", "k", "0A000", "unique index \"ui_id\""),
        ("ue", "k", "0A000", "unique index \"ue_e\""),
        (
            "fk",
            "k",
            "0A000",
            "the referenced table is on one shard only / Shard public.plain first",
        ),
        (
            "num",
            "k",
            "0A000",
            "type numeric, which cannot be a shard key / Use one of these types: smallint",
        ),
        ("gen", "k", "0A000", "is generated"),
        ("parts", "k", "0A000", "is partitioned"),
        ("part", "k", "0A000", "is a partition"),
        ("heir", "k", "0A000", "is a child by inheritance"),
        ("ruled", "k", "0A000", "has rule r"),
        (
            "trig",
            "k",
            "0A000",
            "trigger t of table public.trig may touch other tables",
        ),
        ("policed", "k", "0A000", "row security policy"),
        (
            "self",
            "k",
            "0A000",
            "a row and the row it refers to may be on different shards",
        ),
        ("cyc", "k", "0A000", "sequence public.round cycles"),
        ("plain", "k", "0A000", "primary key"),
        ("seen", "k", "22023", "is a view"),
        ("stored", "k", "22023", "is a materialized view"),
        ("counter", "k", "22023", "is a sequence"),
        (
            "plain",
            "nothing",
            "42703",
            "column \"nothing\" of table public.plain does not exist / Its columns are: id, k.",
        ),
        ("plain", "id, id", "22023", "twice"),
        (
            "missing",
            "k",
            "42P01",
            "relation \"missing\" does not exist",
        ),
        ("other.missing", "k", "42P01", "does not exist"),
        ("a.b.c", "k", "22023", "invalid name"),
    ] {
        let refused = refusal(&store, "shard_table", &[table, key]).await;
        assert!(
            refused.0 == state && refused.1.contains(part),
            "{table}: {refused:?}"
        );
    }
    // A collation under which different bytes are equal, which takes ICU.
    if has_all(&[], true).await {
        cluster
            .run(
                0,
                "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
                 CREATE TABLE loosely (k text COLLATE loose)",
            )
            .await;
        let refused = refusal(&store, "shard_table", &["loosely", "k"]).await;
        assert!(
            refused.0 == "0A000" && refused.1.contains("nondeterministic collation"),
            "{refused:?}"
        );
    }
    let epoch = store.snapshot().epoch();
    for (arguments, state, part) in [
        (&["parents"][..], "22023", "needs the argument key"),
        (
            &["parents", "id", "by => magic"],
            "22023",
            "no sharding function \"magic\"",
        ),
        (
            &["parents", "id", "shards => s9"],
            "42704",
            "no shard named \"s9\" / The shards are: s1, s2.",
        ),
        (
            &["parents", "id", "shards => s1, s1"],
            "22023",
            "listed twice",
        ),
        (
            &["parents", "id", "layout => odd"],
            "22023",
            "no layout \"odd\"",
        ),
        (
            &["parents", "id", "colocate_with => plain"],
            "55000",
            "plain is not sharded",
        ),
        (
            &["parents", "id", "colocate_with => nothing"],
            "42P01",
            "does not exist",
        ),
        (
            &["parents", "id", "colocate_with => plain", "layout => even"],
            "22023",
            "contradict",
        ),
        (
            &["parents", "id", "by => range", "bounds => [1; 2]"],
            "22023",
            "2 bounds do not fit 2 shards / Give 1 bounds",
        ),
        (
            &["parents", "id", "by => range", "bounds => [x]"],
            "22023",
            "\"x\" as a bigint",
        ),
        (
            &["parents", "id", "by => range", "bounds => [1; NULL; 9]"],
            "22023",
            "only the first and the last",
        ),
        (
            &["parents", "id", "by => range", "bounds => [9; 5; 1]"],
            "22023",
            "",
        ),
        (
            &["parents", "id", "by => list", "values => [1]"],
            "22023",
            "1 values do not fit 2 shards",
        ),
        (
            &["parents", "id", "by => list", "values => [1; 1]"],
            "22023",
            "placed twice",
        ),
        (
            &["parents", "id", "bounds => [1]"],
            "22023",
            "bounds does not go with by => 'hash'",
        ),
        (
            &["parents", "id", "nonsense => 1"],
            "42883",
            "Its parameters are",
        ),
    ] {
        let refused = refusal(&store, "shard_table", arguments).await;
        assert!(
            refused.0 == state && refused.1.contains(part),
            "{arguments:?}: {refused:?}"
        );
    }
    for (function, arguments, state, part) in [
        (
            "reference_table",
            &["fk"][..],
            "0A000",
            "a reference table can refer to reference tables only",
        ),
        ("reference_table", &["trig"], "0A000", "has trigger t"),
        ("reference_table", &["seen"], "22023", "is a view"),
        (
            "unsharded_table",
            &["plain", "s2"],
            "0A000",
            "would move to another shard",
        ),
        (
            "unsharded_table",
            &["fk", "s2"],
            "0A000",
            "not all on the table's shard",
        ),
        (
            "unsharded_table",
            &["plain", "s9"],
            "42704",
            "no shard named",
        ),
        ("nonsense", &[], "42883", "does not exist"),
    ] {
        let refused = refusal(&store, function, arguments).await;
        assert!(
            refused.0 == state && refused.1.contains(part),
            "{function} {arguments:?}: {refused:?}"
        );
    }
    // A table with rows, with the way out.
    cluster.run(0, "DROP TABLE heir").await;
    let refused = refusal(&store, "shard_table", &["filled", "k"]).await;
    assert!(
        refused.0 == "0A000" && refused.1.contains("filled_old"),
        "{refused:?}"
    );
    // Not a trace of all this.
    assert_eq!(store.reload().await.unwrap().epoch(), epoch);
    assert_eq!(
        cluster
            .ask(
                1,
                "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            )
            .await,
        ["0"]
    );
    assert_eq!(
        cluster
            .ask(0, "SELECT count(*) FROM pgweave.relation")
            .await,
        ["0"]
    );
}

#[tokio::test]
async fn a_shard_that_fails_undoes_it_everywhere() {
    let cluster = Cluster::new(3).await;
    cluster.run(0, "CREATE TABLE orders (k int)").await;
    cluster.run(2, "CREATE TABLE orders (something int)").await;
    let store = cluster.store().await;
    let refused = refusal(&store, "shard_table", &["orders", "k"]).await;
    assert!(
        refused.0 == "42710" && refused.1.contains("exists on shard 3 already"),
        "{refused:?}"
    );
    assert_eq!(
        cluster.ask(1, "SELECT to_regclass('public.orders')").await,
        ["∅"]
    );
    assert_eq!(
        cluster
            .ask(
                0,
                "SELECT count(*) FROM pg_constraint WHERE conname = 'pgweave_placement'"
            )
            .await,
        ["0"]
    );
    cluster.run(2, "DROP TABLE orders").await;
    call(&store, "shard_table", &["orders", "k"]).await.unwrap();
}

#[tokio::test]
async fn only_owners_may() {
    let cluster = Cluster::new(2).await;
    for index in 0..2 {
        cluster.run(index, "DO $$ BEGIN CREATE ROLE store_maker; EXCEPTION WHEN duplicate_object THEN NULL; END $$; DO $$ BEGIN CREATE ROLE store_stranger; EXCEPTION WHEN duplicate_object THEN NULL; END $$").await;
    }
    cluster
        .run(
            0,
            "CREATE TABLE made (k int); ALTER TABLE made OWNER TO store_maker",
        )
        .await;
    let store = cluster.store().await;
    for (function, arguments) in [
        ("shard_table", &["made", "k"][..]),
        ("reference_table", &["made"]),
        ("auto_shard", &["k"]),
        ("refresh", &[]),
    ] {
        let error = call_as(&store, "store_stranger", function, arguments)
            .await
            .unwrap_err();
        assert_eq!(error.sqlstate(), "42501", "{function}: {error}");
    }
    call_as(&store, "store_maker", "shard_table", &["made", "k"])
        .await
        .unwrap();
    assert_eq!(
        cluster
            .ask(
                1,
                "SELECT tableowner FROM pg_tables WHERE tablename = 'made'"
            )
            .await,
        ["store_maker"]
    );
    assert_eq!(
        call_as(&store, "store_maker", "auto_shard", &["k"])
            .await
            .unwrap_err()
            .sqlstate(),
        "42501"
    );
}

#[tokio::test]
async fn other_routers_have_seen_it_when_the_call_returns() {
    let cluster = Cluster::new(2).await;
    cluster.run(0, "CREATE TABLE orders (k int)").await;
    let (first, second) = (cluster.store().await, cluster.store().await);
    let _watch = second.watch();
    while cluster
        .ask(0, "SELECT FROM pgweave.routers")
        .await
        .is_empty()
    {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let output = call(&first, "shard_table", &["orders", "k"]).await.unwrap();
    assert_eq!(output.notices, Vec::<String>::new());
    assert_eq!(second.snapshot().epoch(), first.snapshot().epoch());
}

#[tokio::test]
async fn automatic_sharding_is_recorded() {
    let cluster = Cluster::new(1).await;
    let store = cluster.store().await;
    call(&store, "auto_shard", &["Tenant_Id"]).await.unwrap();
    call(&store, "auto_shard", &["tenant_id"]).await.unwrap();
    assert_eq!(
        store.snapshot().auto_shard(),
        [catalog::AutoShard {
            column: "tenant_id".into(),
            group: None
        }]
    );
    call(&store, "auto_shard", &["tenant_id", "enabled => false"])
        .await
        .unwrap();
    assert!(store.snapshot().auto_shard().is_empty());
}

#[tokio::test]
async fn refresh_mends_what_was_done_directly() {
    let cluster = Cluster::new(2).await;
    cluster
        .run(
            0,
            "CREATE TABLE a (k int); CREATE TABLE b (k int); CREATE TABLE c (k int)",
        )
        .await;
    let store = cluster.store().await;
    for table in ["a", "b", "c"] {
        call(&store, "shard_table", &[table, "k"]).await.unwrap();
    }
    for index in 0..2 {
        cluster.run(index, "DROP TABLE a").await;
    }
    cluster
        .run(
            1,
            "ALTER TABLE b DROP CONSTRAINT pgweave_placement; DROP TABLE c",
        )
        .await;
    let findings: Vec<String> = call(&store, "refresh", &[])
        .await
        .unwrap()
        .rows
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert_eq!(
        findings,
        [
            "forgot table public.a, which no shard has",
            "put back the placement guard of public.b on shard s2",
            "table public.c is missing on shard s2: create it there, or drop it everywhere",
        ]
    );
    assert!(store.snapshot().table("public", "a").is_none());
    assert_eq!(
        cluster
            .ask(
                1,
                "SELECT count(*) FROM pg_constraint WHERE conname = 'pgweave_placement'"
            )
            .await,
        ["1"]
    );
}
