//! What a catalog refuses, by its message, and what it finds.

use std::sync::Arc;

use catalog::{
    AutoShard, Catalog, CatalogBuilder, Epoch, Function, Group, GroupId, HashShardMap, KeyColumn,
    KeyType, KeyValue, ListShardMap, RangeShardMap, Relation, Sequence, Server, Shard, ShardId,
    ShardMap, Table, TableId, TableKind, Touches, View, Volatility, sample,
};

fn check(builder: CatalogBuilder, sqlstate: &str, message: &str) {
    let error = builder.build().expect_err("must be refused");
    assert_eq!(
        (error.sqlstate(), error.to_string().as_str()),
        (sqlstate, message)
    );
}

fn shard(id: u32, name: &str, port: u16) -> Shard {
    let server = |port| Server {
        host: "localhost".to_owned(),
        port,
        dbname: "app".to_owned(),
    };
    Shard {
        id: ShardId(id),
        name: name.to_owned(),
        primary: server(port),
        replicas: vec![server(port + 1)],
    }
}

fn view(schema: &str, name: &str) -> View {
    View {
        schema: schema.to_owned(),
        name: name.to_owned(),
        definition: "SELECT 1".to_owned(),
        columns: vec!["one".to_owned()],
        types: vec![23],
    }
}

fn sharded(id: u32, key: &[(&str, KeyType)], group: u32, columns: &[&str]) -> Table {
    let key = key.iter().map(|(name, key_type)| KeyColumn {
        name: (*name).to_owned(),
        key_type: *key_type,
    });
    Table {
        id: TableId(id),
        schema: "public".to_owned(),
        name: format!("t{id}"),
        kind: TableKind::Sharded {
            group: GroupId(group),
            key: key.collect(),
        },
        columns: columns
            .iter()
            .map(|definition| sample::column(definition))
            .collect(),
    }
}

fn group(id: u32, types: &[KeyType], map: ShardMap) -> Group {
    Group {
        id: GroupId(id),
        types: types.to_vec(),
        map,
    }
}

fn even(shards: &[u32]) -> ShardMap {
    let shards: Vec<ShardId> = shards.iter().map(|shard| ShardId(*shard)).collect();
    ShardMap::Hash(HashShardMap::even(&shards).expect("valid"))
}

#[test]
fn shards() {
    let two = |left: Shard, right: Shard| Catalog::builder().shard(left).shard(right);
    check(
        two(shard(1, "a", 1), shard(1, "b", 1)),
        "42710",
        "two shards have the id 1",
    );
    check(
        two(shard(1, "a", 1), shard(2, "a", 1)),
        "42710",
        "two shards have the name \"a\"",
    );
    check(
        two(shard(1, "a", 1), shard(2, "", 1)),
        "42602",
        "shard 2 has no name",
    );
    check(
        Catalog::builder().shard(shard(1, "a", 0)),
        "22023",
        "shard \"a\" needs a host, a port and a database for every server",
    );
    check(
        sample::cluster(2).default_shard(ShardId(3)),
        "42704",
        "the default shard names shard 3, which does not exist",
    );
    check(
        sample::cluster(2).catalog_shard(Some(ShardId(3))),
        "42704",
        "the catalog's home names shard 3, which does not exist",
    );
}

#[test]
fn groups() {
    let with = |group: Group| sample::cluster(2).group(group);
    let int8 = [KeyType::Int8];
    check(
        with(group(1, &int8, even(&[1, 3]))),
        "42704",
        "colocation group 1 names shard 3, which does not exist",
    );
    check(
        with(group(1, &int8, even(&[1]))).group(group(1, &int8, even(&[2]))),
        "42710",
        "two colocation groups have the id 1",
    );
    check(
        with(group(1, &[], even(&[1]))),
        "42P16",
        "colocation group 1 has 0 key columns; a shard key has 1 to 4",
    );
    let range = RangeShardMap::new([(Some([KeyValue::Text("x".into())].into()), None, ShardId(1))])
        .expect("valid");
    check(
        with(group(1, &int8, ShardMap::Range(range))),
        "42P16",
        "key 'x' in the shard map of colocation group 1 is not of type (bigint)",
    );
    let list = ListShardMap::new(
        [([KeyValue::Int(1), KeyValue::Int(2)].into(), ShardId(1))],
        None,
    )
    .expect("valid");
    check(
        with(group(1, &int8, ShardMap::List(list))),
        "42P16",
        "key (1, 2) in the shard map of colocation group 1 is not of type (bigint)",
    );
}

#[test]
fn tables() {
    let with = |table: Table| {
        sample::cluster(2)
            .group(group(1, &[KeyType::Int8], even(&[1, 2])))
            .table(table)
    };
    let id = [("id", KeyType::Int8)];
    check(
        with(sharded(1, &id, 2, &["id bigint not null"])),
        "42704",
        "table \"public.t1\" names colocation group 2, which does not exist",
    );
    check(
        with(sharded(1, &id, 1, &["ID bigint not null"])),
        "42703",
        "key column \"id\" of table \"public.t1\" does not exist",
    );
    check(
        with(sharded(1, &id, 1, &["id bigint"])),
        "42P16",
        "key column \"id\" of table \"public.t1\" must be NOT NULL",
    );
    check(
        with(sharded(1, &id, 1, &["id numeric not null"])),
        "42P16",
        "key column \"id\" of table \"public.t1\" has type oid 1700, not bigint",
    );
    check(
        with(sharded(1, &[], 1, &["id bigint not null"])),
        "42P16",
        "table \"public.t1\" has 0 key columns; a shard key has 1 to 4",
    );
    check(
        with(sharded(
            1,
            &[("id", KeyType::Uuid)],
            1,
            &["id uuid not null"],
        )),
        "42P16",
        "the shard key of table \"public.t1\" is (uuid), that of colocation group 1 is (bigint)",
    );
    check(
        with(sharded(1, &[id[0], id[0]], 1, &["id bigint not null"])),
        "42701",
        "column \"id\" of the shard key of table \"public.t1\" occurs twice",
    );
    check(
        with(sharded(1, &id, 1, &["id bigint not null", "id text"])),
        "42701",
        "column \"id\" of table \"public.t1\" occurs twice",
    );
    check(
        sample::cluster(1).unsharded_table("t", "s2", &[]),
        "42704",
        "table \"public.t\" names shard 4294967295, which does not exist",
    );
    // Equal numbers meet whatever their width.
    let narrow = sharded(1, &[("id", KeyType::Int2)], 1, &["id smallint not null"]);
    assert!(with(narrow).build().is_ok());
}

#[test]
fn names() {
    let cluster = || sample::cluster(1).reference_table("t", &["id bigint"]);
    let taken = "relation \"public.t\" occurs twice";
    check(cluster().reference_table("public.t", &[]), "42P07", taken);
    check(cluster().view(view("public", "t")), "42P07", taken);
    check(
        cluster().sequence(Sequence {
            schema: "public".to_owned(),
            name: "t".to_owned(),
        }),
        "42P07",
        taken,
    );
    check(
        cluster().view(view("public", "")),
        "42602",
        "relation \"public.\" has no name",
    );
    check(
        cluster().reference_table("pgweave.decision", &[]),
        "42939",
        "relation \"decision\" is in schema \"pgweave\", which belongs to the system",
    );
    let twice = AutoShard {
        column: "tenant".to_owned(),
        group: None,
    };
    check(
        cluster().auto_shard(twice.clone()).auto_shard(twice),
        "42710",
        "two automatic sharding columns have the name \"tenant\"",
    );
    check(
        cluster().auto_shard(AutoShard {
            column: "tenant".to_owned(),
            group: Some(GroupId(1)),
        }),
        "42704",
        "automatic sharding by column \"tenant\" names colocation group 1, which does not exist",
    );
}

#[test]
fn lookups() {
    let function = |schema: &str| Function {
        schema: schema.to_owned(),
        name: "f".to_owned(),
        touches: Touches::Unknown,
        volatility: Volatility::Volatile,
        aggregate: false,
    };
    let catalog: Arc<Catalog> = Arc::new(
        sample::cluster(2)
            .epoch(Epoch(7))
            .hash_table(
                "orders",
                &["customer"],
                &["customer bigint", "note text not null default 'x'"],
            )
            .hash_table("sales.orders", &["customer"], &["customer bigint"])
            .unsharded_table("sales.log", "s2", &["line text"])
            .view(view("public", "log"))
            .function(function("public"))
            .function(function("sales"))
            .sequence(Sequence {
                schema: "public".to_owned(),
                name: "ids".to_owned(),
            })
            .build()
            .expect("valid"),
    );
    let path = |schemas: &[&str]| -> Vec<String> {
        schemas.iter().map(|schema| (*schema).to_owned()).collect()
    };
    let resolve = |schemas: &[&str], name: &str| match catalog.resolve_table(&path(schemas), name) {
        Some(Relation::Table(table)) => format!("table {}.{}", table.schema, table.name),
        Some(Relation::View(view)) => format!("view {}.{}", view.schema, view.name),
        None => "nothing".to_owned(),
    };
    assert_eq!(
        resolve(&["public", "sales"], "orders"),
        "table public.orders"
    );
    assert_eq!(
        resolve(&["absent", "sales", "public"], "orders"),
        "table sales.orders"
    );
    assert_eq!(resolve(&["public", "sales"], "log"), "view public.log");
    assert_eq!(resolve(&["sales", "public"], "log"), "table sales.log");
    assert_eq!(resolve(&["public"], "ids"), "nothing");
    assert_eq!(resolve(&[], "orders"), "nothing");

    let orders = catalog.table("public", "orders").expect("there");
    assert_eq!(catalog.table_by_id(orders.id), Some(orders));
    let note = orders.column("note").expect("there");
    assert!(note.not_null && note.default_expression.as_deref() == Some("'x'"));
    assert!(
        orders
            .column("customer")
            .is_some_and(|column| column.not_null)
    );
    assert_eq!(
        catalog.groups().len(),
        1,
        "tables of equal key types are colocated"
    );
    assert!(catalog.table("public", "log").is_none() && catalog.view("public", "log").is_some());
    assert!(
        catalog.sequence("public", "ids").is_some() && catalog.sequence("sales", "ids").is_none()
    );
    assert_eq!(
        (catalog.functions("f").len(), catalog.functions("g").len()),
        (2, 0)
    );
    assert_eq!(
        catalog.shard_by_name("s2").map(|shard| shard.id),
        Some(ShardId(2))
    );
    assert_eq!(
        (catalog.default_shard(), catalog.catalog_shard()),
        (ShardId(1), Some(ShardId(1)))
    );

    let next = catalog
        .to_builder()
        .epoch(Epoch(8))
        .build()
        .expect("still valid");
    assert_eq!(next.epoch(), Epoch(8));
    assert_eq!(next.tables(), catalog.tables());
    assert_eq!(next.functions("f"), catalog.functions("f"));
}

#[test]
fn nothing_is_in_an_empty_catalog() {
    let catalog = Catalog::empty();
    assert!(catalog.shards().is_empty() && catalog.tables().is_empty());
    assert!(catalog.shard(catalog.default_shard()).is_none());
    assert!(catalog.to_builder().build().is_ok());
}
