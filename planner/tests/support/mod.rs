//! The catalog that the planner's tests plan against.

use catalog::{
    AutoShard, Catalog, Function, GroupId, KeyValue, ListShardMap, RangeShardMap, Sequence,
    ShardId, ShardMap, Touches, View, Volatility, sample,
};
use planner::Context;

fn view(name: &str, columns: &[&str], definition: &str) -> View {
    View {
        schema: "public".into(),
        name: name.into(),
        definition: definition.into(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        types: vec![20; columns.len()],
    }
}

fn function(name: &str, volatility: Volatility, touches: Touches) -> Function {
    Function {
        schema: "public".into(),
        name: name.into(),
        touches,
        volatility,
        aggregate: false,
    }
}

fn tables(names: &[&str]) -> Touches {
    Touches::Tables(
        names
            .iter()
            .map(|name| ("public".to_owned(), (*name).to_owned()))
            .collect(),
    )
}

/// Four shards; customers, orders and lines are colocated (group 1) by customer.
pub fn catalog() -> Catalog {
    sample::cluster(4)
        .hash_table("customers", &["customer_id"], &["customer_id bigint", "name text", "city text"])
        .hash_table(
            "orders",
            &["customer_id"],
            &[
                "id bigint default nextval('orders_id_seq'::regclass)",
                "customer_id bigint",
                "product_id integer",
                "total numeric",
                "created timestamp without time zone",
                "note text",
            ],
        )
        .hash_table("lines", &["customer_id"], &["customer_id bigint", "order_id bigint", "product_id integer", "amount integer"])
        .hash_table("events", &["tenant", "day"], &["tenant uuid", "day date", "kind text", "n integer"])
        .hash_table("tags", &["label"], &["label text primary key", "weight integer"])
        .hash_table("sales.invoices", &["Customer"], &["Customer bigint", "sum numeric"])
        .mapped_table(
            "metrics",
            ShardMap::Range(
                RangeShardMap::new(vec![
                    (Some(vec![KeyValue::Int(0)].into()), Some(vec![KeyValue::Int(100)].into()), ShardId(1)),
                    (Some(vec![KeyValue::Int(100)].into()), Some(vec![KeyValue::Int(200)].into()), ShardId(2)),
                ])
                .unwrap(),
            ),
            &["sensor"],
            &["sensor bigint", "value double precision"],
        )
        .mapped_table(
            "regions",
            ShardMap::List(
                ListShardMap::new(
                    vec![
                        (vec![KeyValue::Text("eu".into())].into(), ShardId(3)),
                        (vec![KeyValue::Text("us".into())].into(), ShardId(4)),
                    ],
                    None,
                )
                .unwrap(),
            ),
            &["region"],
            &["region text", "name text"],
        )
        .reference_table(
            "products",
            &["id integer", "name text", "price numeric", "added timestamp with time zone default now()", "kind text default 'x'"],
        )
        .reference_table("countries", &["code text", "name text"])
        .unsharded_table("settings", "s2", &["name text", "value text", "customer_id bigint"])
        .unsharded_table("audit", "s1", &["id bigint", "customer_id bigint", "what text"])
        .unsharded_table("flags", "s2", &["name text", "value boolean", "id bigint default nextval('flags_id_seq'::regclass)"])
        .view(view("recent_orders", &["id", "customer", "total"], "SELECT o.id, o.customer_id, o.total FROM public.orders o WHERE o.total > 0"))
        .view(view(
            "customer_totals",
            &["customer_id", "total"],
            "SELECT orders.customer_id, sum(orders.total) AS total FROM public.orders GROUP BY orders.customer_id",
        ))
        .view(view("top_orders", &["customer_id", "total"], "SELECT orders.customer_id, orders.total FROM public.orders ORDER BY orders.total DESC LIMIT 10"))
        .view(view("product_names", &["name"], "SELECT products.name FROM public.products"))
        .view(view("settings_view", &["name", "value"], "SELECT settings.name, settings.value FROM public.settings"))
        .view(view("careless", &["n"], "SELECT count(*) AS n FROM orders"))
        .function(function("double_it", Volatility::Immutable, Touches::Nothing))
        .function(function("log_it", Volatility::Volatile, Touches::Nothing))
        .function(function("touch_orders", Volatility::Volatile, tables(&["orders"])))
        .function(function("price_of", Volatility::Stable, tables(&["products"])))
        .function(function("reprice", Volatility::Volatile, tables(&["products"])))
        .function(function("setting", Volatility::Stable, tables(&["settings"])))
        .function(function("mystery", Volatility::Volatile, Touches::Unknown))
        .sequence(Sequence { schema: "public".into(), name: "orders_id_seq".into() })
        .auto_shard(AutoShard { column: "tenant_id".into(), group: Some(GroupId(1)) })
        .build()
        .unwrap()
}

/// A session with the default path.
pub fn context(catalog: &Catalog) -> Context<'_> {
    static PATH: std::sync::LazyLock<Vec<String>> =
        std::sync::LazyLock::new(|| vec!["public".to_owned()]);
    Context {
        catalog,
        search_path: &PATH,
        temporary: &[],
        user: "app",
        manual: None,
        standard_conforming_strings: true,
        statistics: &planner::NoStatistics,
    }
}
