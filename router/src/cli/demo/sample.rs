//! The sample: a shop's customers, their orders and order lines, sharded by customer; products on every shard; page
//! views on one.
//!
//! Entry point: [`load`], which goes through the router as any client would. The same rows come out each time. All rows
//! of a customer go into one transaction, and so to one shard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use miette::{Context, IntoDiagnostic};
use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Statement};

use super::super::progress::Progress;

const CUSTOMERS: i64 = 200;
const ORDERS_PER_CUSTOMER: i64 = 10;
/// Lines of a customer's orders, in turn; 30 in all.
const LINES: [i32; ORDERS_PER_CUSTOMER as usize] = [1, 2, 3, 4, 5, 3, 2, 4, 1, 5];
const PRODUCTS: i32 = 40;
const PAGE_VIEWS: i64 = 500;
const CONNECTIONS: usize = 4;

const TABLES: &[&str] = &[
    "order_lines",
    "orders",
    "customers",
    "products",
    "page_views",
];

const SCHEMA: &[&str] = &[
    "CREATE TABLE customers (
         customer_id bigint PRIMARY KEY,
         name text NOT NULL,
         city text NOT NULL,
         joined timestamptz NOT NULL)",
    "SELECT pgweave.shard_table('customers', 'customer_id')",
    "CREATE TABLE orders (
         customer_id bigint NOT NULL,
         order_id bigint NOT NULL,
         placed timestamptz NOT NULL,
         status text NOT NULL,
         PRIMARY KEY (customer_id, order_id))",
    "SELECT pgweave.shard_table('orders', 'customer_id', colocate_with => 'customers')",
    "CREATE TABLE order_lines (
         customer_id bigint NOT NULL,
         order_id bigint NOT NULL,
         line integer NOT NULL,
         product_id integer NOT NULL,
         quantity integer NOT NULL,
         price_cents bigint NOT NULL,
         PRIMARY KEY (customer_id, order_id, line))",
    "SELECT pgweave.shard_table('order_lines', 'customer_id', colocate_with => 'customers')",
    "CREATE TABLE products (
         product_id integer PRIMARY KEY,
         name text NOT NULL,
         price_cents bigint NOT NULL)",
    "SELECT pgweave.reference_table('products')",
    "CREATE TABLE page_views (
         page_view_id bigint PRIMARY KEY,
         path text NOT NULL,
         seen timestamptz NOT NULL)",
    "ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers",
    "ALTER TABLE order_lines ADD FOREIGN KEY (customer_id, order_id) REFERENCES orders",
    "ALTER TABLE order_lines ADD FOREIGN KEY (product_id) REFERENCES products",
];

const GIVEN_NAMES: &[&str] = &[
    "Ada", "Alan", "Barbara", "Donald", "Edgar", "Frances", "Grace", "Jim", "Leslie", "Michael",
];
const FAMILY_NAMES: &[&str] = &[
    "Allen",
    "Bachman",
    "Codd",
    "Gray",
    "Hamilton",
    "Hopper",
    "Knuth",
    "Lamport",
    "Liskov",
    "Lovelace",
    "Stonebraker",
    "Turing",
];
const CITIES: &[&str] = &[
    "Amsterdam",
    "Berlin",
    "Boston",
    "Kyoto",
    "Lagos",
    "Lima",
    "Nairobi",
    "Oslo",
    "Porto",
    "Sydney",
];
const STATUSES: &[&str] = &["open", "paid", "shipped", "delivered"];
const ADJECTIVES: &[&str] = &[
    "Blue", "Brass", "Folding", "Large", "Oak", "Quiet", "Small", "Steel",
];
const NOUNS: &[&str] = &["chair", "clock", "desk", "kettle", "lamp"];
const PATHS: &[&str] = &["/", "/about", "/basket", "/products", "/search"];

/// Makes the tables and their rows. `again` removes first what an interrupted attempt left.
/// `unsharded` is the shard for what is not sharded.
pub async fn load(
    address: SocketAddr,
    unsharded: &str,
    again: bool,
    progress: &Progress,
) -> miette::Result<()> {
    let client = connect(address).await?;
    progress.begin("creating the sample's tables");
    if again {
        for table in TABLES {
            execute(&client, &format!("DROP TABLE IF EXISTS {table}")).await?;
        }
    }
    for statement in SCHEMA {
        execute(&client, statement).await?;
    }
    execute(
        &client,
        &format!("SELECT pgweave.unsharded_table('page_views', '{unsharded}')"),
    )
    .await?;
    load_products(&client).await?;
    load_page_views(&client).await?;
    progress.end();

    progress.begin_counted("loading customers", CUSTOMERS as u64);
    let next = Arc::new(AtomicI64::new(1));
    let mut loaders = JoinSet::new();
    for _ in 0..CONNECTIONS {
        loaders.spawn(load_customers(
            connect(address).await?,
            next.clone(),
            progress.clone(),
        ));
    }
    while let Some(result) = loaders.join_next().await {
        result.into_diagnostic()??;
    }
    progress.end();
    progress.line(&format!(
        "loaded {CUSTOMERS} customers, {} orders, {} order lines, {PRODUCTS} products, {PAGE_VIEWS} page views",
        CUSTOMERS * ORDERS_PER_CUSTOMER,
        CUSTOMERS * i64::from(LINES.iter().sum::<i32>()),
    ));
    Ok(())
}

async fn connect(address: SocketAddr) -> miette::Result<Client> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(address.ip().to_string())
        .port(address.port())
        .user("postgres")
        .dbname(super::DATABASE);
    config.application_name("pgweave demo");
    let (client, connection) = config
        .connect(NoTls)
        .await
        .into_diagnostic()
        .wrap_err("cannot connect to the router")?;
    tokio::spawn(async move {
        // A broken connection shows in what the client is used for.
        let _ = connection.await;
    });
    Ok(client)
}

async fn execute(client: &Client, statement: &str) -> miette::Result<()> {
    client
        .batch_execute(statement)
        .await
        .into_diagnostic()
        .wrap_err_with(|| format!("this failed: {statement}"))
}

async fn load_products(client: &Client) -> miette::Result<()> {
    let insert = prepare(client, "products", 3, PRODUCTS as usize).await?;
    let mut values = Values::new();
    for product in 1..=PRODUCTS {
        let noun = pick(NOUNS, i64::from(product));
        let adjective = pick(ADJECTIVES, i64::from(product) / NOUNS.len() as i64);
        values
            .push(product)
            .push(format!("{adjective} {noun}"))
            .push(price_cents(product));
    }
    values.execute(client, &insert).await
}

async fn load_page_views(client: &Client) -> miette::Result<()> {
    const ROWS: i64 = 100;
    let insert = prepare(client, "page_views", 3, ROWS as usize).await?;
    for first in (1..=PAGE_VIEWS).step_by(ROWS as usize) {
        let mut values = Values::new();
        for view in first..first + ROWS {
            values
                .push(view)
                .push(pick(PATHS, mix(view)))
                .push(day(view % 30));
        }
        values.execute(client, &insert).await?;
    }
    Ok(())
}

/// Takes customers until none is left.
async fn load_customers(
    client: Client,
    next: Arc<AtomicI64>,
    progress: Progress,
) -> miette::Result<()> {
    let lines: usize = LINES.iter().map(|lines| *lines as usize).sum();
    let customers = prepare(&client, "customers", 4, 1).await?;
    let orders = prepare(&client, "orders", 4, ORDERS_PER_CUSTOMER as usize).await?;
    let order_lines = prepare(&client, "order_lines", 6, lines).await?;
    loop {
        let customer = next.fetch_add(1, Ordering::Relaxed);
        if customer > CUSTOMERS {
            return Ok(());
        }
        execute(&client, "BEGIN").await?;
        customer_row(customer).execute(&client, &customers).await?;
        order_rows(customer).execute(&client, &orders).await?;
        line_rows(customer).execute(&client, &order_lines).await?;
        execute(&client, "COMMIT").await?;
        progress.advance();
    }
}

fn customer_row(customer: i64) -> Values {
    let name = format!(
        "{} {}",
        pick(GIVEN_NAMES, mix(customer)),
        pick(FAMILY_NAMES, mix(customer) / 64)
    );
    let mut values = Values::new();
    values
        .push(customer)
        .push(name)
        .push(pick(CITIES, mix(customer + 1_000)))
        .push(day(customer));
    values
}

fn order_rows(customer: i64) -> Values {
    let mut values = Values::new();
    for order in 1..=ORDERS_PER_CUSTOMER {
        let placed = day(customer + order * 20);
        values
            .push(customer)
            .push(order)
            .push(placed)
            .push(pick(STATUSES, mix(customer * 100 + order)));
    }
    values
}

fn line_rows(customer: i64) -> Values {
    let mut values = Values::new();
    for (order, lines) in (1..=ORDERS_PER_CUSTOMER).zip(LINES) {
        for line in 1..=lines {
            let drawn = mix(customer * 1_000 + order * 10 + i64::from(line));
            let product = (drawn % i64::from(PRODUCTS)) as i32 + 1;
            let quantity = (drawn / 64 % 4) as i32 + 1;
            values
                .push(customer)
                .push(order)
                .push(line)
                .push(product)
                .push(quantity)
                .push(price_cents(product));
        }
    }
    values
}

fn price_cents(product: i32) -> i64 {
    499 + mix(i64::from(product)) % 20_000
}

fn pick(words: &[&'static str], number: i64) -> &'static str {
    words
        .get(number.unsigned_abs() as usize % words.len())
        .copied()
        .unwrap_or("")
}

/// Noon of a day counted from the first of January 2024.
fn day(number: i64) -> SystemTime {
    const FIRST: u64 = 1_704_110_400;
    SystemTime::UNIX_EPOCH + Duration::from_secs(FIRST + number.unsigned_abs() * 86_400)
}

/// A number that looks drawn by lot, never negative (the finalizer of SplitMix64).
fn mix(number: i64) -> i64 {
    let mut bits = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 1) as i64
}

/// An INSERT of `rows` rows with `columns` parameters each.
async fn prepare(
    client: &Client,
    table: &str,
    columns: usize,
    rows: usize,
) -> miette::Result<Statement> {
    let row = |row: usize| {
        let parameters: Vec<String> = (1..=columns)
            .map(|column| format!("${}", row * columns + column))
            .collect();
        format!("({})", parameters.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    let statement = format!("INSERT INTO {table} VALUES {}", rows.join(", "));
    client
        .prepare(&statement)
        .await
        .into_diagnostic()
        .wrap_err_with(|| format!("cannot prepare an INSERT into {table}"))
}

/// Values of one statement's parameters.
struct Values(Vec<Box<dyn ToSql + Sync + Send>>);

impl Values {
    fn new() -> Values {
        Values(Vec::new())
    }

    fn push(&mut self, value: impl ToSql + Sync + Send + 'static) -> &mut Values {
        self.0.push(Box::new(value));
        self
    }

    async fn execute(&self, client: &Client, statement: &Statement) -> miette::Result<()> {
        let values: Vec<&(dyn ToSql + Sync)> =
            self.0.iter().map(|value| value.as_ref() as _).collect();
        client.execute(statement, &values).await.into_diagnostic()?;
        Ok(())
    }
}
