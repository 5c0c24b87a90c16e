//! The command line: exit statuses, messages, and `init`, `check` and `serve` over real servers.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use router::local::{LocalServer, Scratch, ServerOptions};

fn pgweave(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweave"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("PGWEAVE_CONFIG");
    command
}

fn run(arguments: &[&str]) -> Output {
    pgweave(arguments).output().unwrap()
}

#[track_caller]
fn check(output: &Output, status: i32, contained: &[&str]) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(status), "{text}");
    // Long lines are folded for the terminal.
    let unfolded = text.replace("\n  │ ", " ").replace("\n        ", " ");
    for part in contained {
        assert!(unfolded.contains(part), "without {part:?}: {text}");
    }
}

async fn server(setting: &str) -> LocalServer {
    let mut options = ServerOptions {
        durable: false,
        template: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))),
        ..ServerOptions::default()
    };
    options.settings.parse(setting).unwrap();
    LocalServer::scratch(options).await.unwrap()
}

/// Killed when dropped, so that a failed test leaves no router.
struct Router(Child);

impl Drop for Router {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn configuration(directory: &Path, home: &LocalServer) -> String {
    let path = directory.join("pgweave.toml");
    let text = format!(
        "[listen]\nport = 0\n[catalog]\nhost = '127.0.0.1'\nport = {}\n[[auth]]\nmethod = 'trust'\n",
        home.port()
    );
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_wrong_command_line_is_explained() {
    check(&run(&["--version"]), 0, &["pgweave 0."]);
    check(&run(&[]), 2, &["Usage: pgweave"]);
    check(&run(&["serv"]), 2, &["similar", "serve"]);
    check(
        &run(&["init", "--shard", "s1"]),
        2,
        &["write NAME=HOST:PORT/DATABASE"],
    );
    check(
        &run(&["demo", "--shards", "0"]),
        2,
        &["write a number, 1 or more"],
    );
    check(&run(&["demo", "--port", "0"]), 2, &["--port"]);
    check(
        &run(&["demo", "--pg-bin", "/nonexistent", "--port", "1024"]),
        1,
        &["/nonexistent", "does not hold the program postgres"],
    );
}

#[test]
fn a_wrong_configuration_names_file_line_and_remedy() {
    check(
        &run(&["serve", "--config", "/nonexistent.toml"]),
        1,
        &[
            "cannot read the configuration file /nonexistent.toml",
            "--config",
        ],
    );
    let scratch = Scratch::create().unwrap();
    let path = scratch.path().join("pgweave.toml");
    std::fs::write(&path, "[catalog]\nhost = 'h'\n[listen]\nprot = 5\n").unwrap();
    let file = path.to_str().unwrap();
    check(
        &run(&["check", "-c", file]),
        1,
        &[
            &format!("{file}:4:1: unknown key `prot`"),
            "did you mean `port`?",
        ],
    );
}

#[tokio::test]
async fn a_cluster_is_made_checked_and_served() {
    let scratch = Scratch::create().unwrap();
    let (first, second) = (server("work_mem=4MB").await, server("work_mem=4MB").await);
    let file = configuration(scratch.path(), &first);
    let shard = |name: &str, server: &LocalServer| {
        format!("--shard={name}=127.0.0.1:{}/postgres", server.port())
    };
    let (s1, s2) = (shard("s1", &first), shard("s2", &second));

    check(
        &run(&["check", "-c", &file]),
        0,
        &["There is no catalog on", "pgweave init"],
    );
    check(
        &run(&["serve", "-c", &file]),
        1,
        &["holds no pgweave catalog", "pgweave init"],
    );
    check(
        &run(&["init", "-c", &file]),
        1,
        &["no shard is registered, and none is named", "--shard"],
    );
    check(
        &run(&["init", "-c", &file, &s1, &s2]),
        0,
        &["created cluster", "registered shard s2", "is ready"],
    );
    let again = run(&["init", "-c", &file, &s1, &s2]);
    check(&again, 0, &["is ready"]);
    assert!(!String::from_utf8_lossy(&again.stdout).contains("registered"));
    check(
        &run(&["check", "-c", &file]),
        0,
        &["2 shards on 2 servers checked"],
    );

    let mut serve = pgweave(&["serve", "-c", &file]);
    serve
        .env("PGWEAVE__LISTEN__PORT", "0")
        .stderr(Stdio::piped());
    let mut router = Router(serve.spawn().unwrap());
    let mut log = BufReader::new(router.0.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let ready = log
        .find(|line| line.contains("ready"))
        .expect("the router ended");
    let (_, address) = ready.split_once("address=").unwrap();
    let (_, port) = address.trim().split_once(':').unwrap();
    let port: u16 = port.parse().unwrap();
    let dsn = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres");
    let (client, connection) = tokio_postgres::connect(&dsn, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let shards: i64 = client
        .query_one("SELECT count(*) FROM pgweave.shards", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(shards, 2);
    statements_are_planned_without_running_them(&client, &file, scratch.path()).await;
    let taken = pgweave(&[
        "serve",
        "-c",
        &file,
        "--set",
        &format!("listen.port={port}"),
    ])
    .output()
    .unwrap();
    check(&taken, 1, &["cannot listen on", "[listen]"]);
    unsafe { libc::kill(router.0.id() as libc::pid_t, libc::SIGTERM) };
    assert!(router.0.wait().unwrap().success());
}

/// `explain` and `advise` over the catalog of a cluster that a router serves.
async fn statements_are_planned_without_running_them(
    client: &tokio_postgres::Client,
    file: &str,
    directory: &Path,
) {
    for sql in [
        "CREATE TABLE orders (customer int NOT NULL, id int NOT NULL, total int)",
        "SELECT pgweave.shard_table('orders', 'customer')",
        "CREATE TABLE carts (customer int NOT NULL, item int NOT NULL)",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let explain = |sql: &str| run(&["explain", "-c", file, sql]);
    check(
        &explain("SELECT id FROM orders ORDER BY id; DELETE FROM orders WHERE customer = 1"),
        0,
        &[
            "Merge by column 1\n└─ Scatter: 2 shards\n   ├─ Shard s1: SELECT id FROM orders ORDER BY id",
            "Single: shard s",
        ],
    );
    check(
        &explain("DELETE FROM orders WHERE total = 1"),
        0,
        &["Spread: 2 shards, all or nothing\n├─ Shard s1: DELETE FROM orders"],
    );
    check(
        &explain("DELETE FROM orders WHERE ctid = '(0,1)'"),
        1,
        &["Refused: ", "(0A000)", "Hint: "],
    );
    check(
        &run(&["explain", "-c", file, "--format=json", "SELECT 1"]),
        0,
        &["\"Route\": \"Single\""],
    );
    let workload = directory.join("workload.sql");
    let statements = "SELECT * FROM carts WHERE customer = 1;\n\
        SELECT * FROM carts JOIN orders USING (customer) WHERE customer = 1;";
    std::fs::write(&workload, statements).unwrap();
    let workload = workload.to_str().unwrap();
    let advice = run(&["advise", "-c", file, "--json", workload]);
    check(&advice, 0, &[]);
    let advice: serde_json::Value = serde_json::from_slice(&advice.stdout).unwrap();
    assert_eq!(advice[0]["present"], true);
    let best = &advice[1];
    assert_eq!(best["tables"][0], "public.carts", "{advice}");
    assert_eq!(best["shard_key"], "customer", "{advice}");
    assert_eq!(best["single"]["percent"], 100.0, "{advice}");
    check(
        &run(&["advise", "-c", file, workload]),
        0,
        &["(as it is)", "public.carts", "100.0 %"],
    );
    check(
        &run(&["advise", "-c", file, "--from-pg-stat-statements"]),
        1,
        &["CREATE EXTENSION pg_stat_statements"],
    );
    check(&run(&["advise", "-c", file]), 2, &["FILE.sql"]);
}

#[tokio::test]
async fn a_workload_is_taken_from_what_servers_remember() {
    let scratch = Scratch::create().unwrap();
    let server = server("shared_preload_libraries=pg_stat_statements").await;
    let file = configuration(scratch.path(), &server);
    let shard = format!("--shard=s1=127.0.0.1:{}/postgres", server.port());
    check(&run(&["init", "-c", &file, &shard]), 0, &["is ready"]);
    let client = server.connect("postgres").await.unwrap();
    for sql in [
        "CREATE EXTENSION pg_stat_statements",
        "CREATE TABLE carts (customer int NOT NULL, item int NOT NULL)",
        "SELECT pg_stat_statements_reset()",
        "SELECT item FROM carts WHERE customer = 1",
        "SELECT item FROM carts WHERE customer = 2",
        "SELECT item FROM carts WHERE customer = 3",
        "SELECT customer FROM carts WHERE item = 1 ORDER BY customer",
    ] {
        client.batch_execute(sql).await.unwrap();
    }
    let advice = run(&["advise", "-c", &file, "--json", "--from-pg-stat-statements"]);
    check(&advice, 0, &["public.carts"]);
    let advice: serde_json::Value = serde_json::from_slice(&advice.stdout).unwrap();
    let rows = advice.as_array().unwrap().iter();
    let mut of_customer = rows.filter(|row| row["shard_key"] == "customer");
    let shares = of_customer.next().unwrap();
    assert_eq!(shares["scatter"]["executions"], 1, "{advice}");
    // The statement that reset the statistics is one of them, on any shard.
    assert!(
        shares["single"]["executions"].as_u64() >= Some(3),
        "{advice}"
    );
}

#[tokio::test]
async fn an_unfit_server_is_refused_with_its_remedy() {
    let scratch = Scratch::create().unwrap();
    let server = server("max_prepared_transactions=0").await;
    let file = configuration(scratch.path(), &server);
    let shard = format!("--shard=s1=127.0.0.1:{}/postgres", server.port());
    let refused = run(&["init", "-c", &file, &shard]);
    check(
        &refused,
        1,
        &[
            "max_prepared_transactions",
            "remedy:",
            "nothing was changed",
        ],
    );
    check(
        &run(&["check", "-c", &file, &shard]),
        1,
        &["max_prepared_transactions"],
    );
    let client = server.connect("postgres").await.unwrap();
    let schemas: i64 = client
        .query_one(
            "SELECT count(*) FROM pg_namespace WHERE nspname = 'pgweave'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(schemas, 0);
}
