//! `pgweave demo` as a person uses it: started, tried, killed, started again, stopped.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use router::local::{LocalCluster, Scratch};

/// A demo that was started; killed when dropped.
struct Demo {
    child: Child,
    port: u16,
    /// Standard output up to the line that begins with `ready`.
    guide: String,
}

fn command(directory: &Path, port: u16, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgweave"));
    command
        .args(["demo", "--port", &port.to_string(), "--dir"])
        .arg(directory)
        .args(options);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Demo {
    /// Starts a demo and waits until it is ready.
    fn start(directory: &Path, port: u16, options: &[&str]) -> Demo {
        let mut child = command(directory, port, options).spawn().unwrap();
        let mut guide = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map(Result::unwrap);
        let ready = lines.find(|line| {
            guide.push_str(line);
            guide.push('\n');
            line.starts_with("ready")
        });
        if ready.is_none() {
            let mut errors = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut errors)
                .unwrap();
            child.wait().unwrap();
            panic!("the demo did not become ready: {errors}");
        }
        Demo { child, port, guide }
    }

    async fn client(&self) -> tokio_postgres::Client {
        let dsn = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.port
        );
        let (client, connection) = tokio_postgres::connect(&dsn, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }

    async fn count(&self, what: &str) -> i64 {
        self.client()
            .await
            .query_one(&format!("SELECT count(*) FROM {what}"), &[])
            .await
            .unwrap()
            .get(0)
    }

    fn signal(&self, signal: libc::c_int) {
        unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
    }

    fn output(mut self) -> Output {
        let child = std::mem::replace(&mut self.child, Command::new("true").spawn().unwrap());
        child.wait_with_output().unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// Whether any server works beneath a directory.
fn servers_beneath(directory: &Path) -> bool {
    let ours = |command: &str| {
        command.contains("postgres") && command.contains(directory.to_str().unwrap())
    };
    if cfg!(target_os = "linux") {
        return std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .any(|process| {
                std::fs::read_to_string(process.path().join("cmdline"))
                    .is_ok_and(|command| ours(&command))
            });
    }
    let output = Command::new("ps")
        .args(["-A", "-ww", "-o", "command="])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).lines().any(ours)
}

#[tokio::test]
async fn a_demo_is_tried_killed_started_again_and_stopped() {
    let scratch = Scratch::create().unwrap();
    let directory = scratch.path().join("demo");
    let demo = Demo::start(&directory, free_port(), &["--set", "work_mem=5MB"]);

    let connect = format!("psql -h 127.0.0.1 -p {} -U postgres postgres", demo.port);
    assert!(
        demo.guide.ends_with(&format!("ready: {connect}\n")),
        "{}",
        demo.guide
    );
    assert_eq!(demo.count("orders WHERE customer_id = 42").await, 10);
    assert_eq!(demo.count("order_lines WHERE customer_id = 42").await, 30);
    assert_eq!(demo.count("products").await, 40);
    assert_eq!(demo.count("page_views").await, 500);
    let client = demo.client().await;
    let tables = "SELECT string_agg(table_name || ' ' || kind, ', ' ORDER BY table_name) FROM pgweave.tables";
    let tables: String = client.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(
        tables,
        "customers sharded, order_lines sharded, orders sharded, page_views unsharded, products reference"
    );
    let work_mem: String = client.query_one("SHOW work_mem", &[]).await.unwrap().get(0);
    assert_eq!(work_mem, "5MB");
    // What it says is worth trying works.
    for line in demo
        .guide
        .lines()
        .skip_while(|line| !line.starts_with("Statements"))
        .filter(|line| line.ends_with(';'))
    {
        client
            .simple_query(line)
            .await
            .unwrap_or_else(|error| panic!("{line}: {error:?}"));
    }
    client
        .execute(
            "INSERT INTO customers VALUES (1001, 'Ken', 'Oslo', now())",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(
        LocalCluster::layout(&directory).map(|layout| (layout.shards, layout.replicas)),
        Some((2, 1))
    );

    let second = command(&directory, free_port(), &[]).output().unwrap();
    let message = String::from_utf8_lossy(&second.stderr).replace("\n  │ ", " ");
    assert!(
        message.contains(&format!("in use by process {}", demo.child.id())),
        "{message}"
    );
    assert_eq!(second.status.code(), Some(1));

    let same_port = command(&scratch.path().join("other"), demo.port, &[])
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&same_port.stderr);
    assert!(
        message.contains("cannot listen on 127.0.0.1:") && message.contains("--port"),
        "{message}"
    );

    let port = demo.port;
    drop(demo);
    let demo = Demo::start(&directory, port, &[]);
    assert_eq!(demo.count("customers WHERE customer_id = 1001").await, 1);
    demo.signal(libc::SIGTERM);
    let output = demo.output();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!servers_beneath(&directory));

    let demo = Demo::start(
        &directory,
        port,
        &["--fresh", "--empty", "--shards", "1", "--replicas", "0"],
    );
    assert_eq!(demo.count("pg_class WHERE relname = 'customers'").await, 0);
    let client = demo.client().await;
    for line in demo
        .guide
        .lines()
        .skip_while(|line| !line.starts_with("Statements"))
        .filter(|line| line.ends_with(';'))
    {
        client
            .simple_query(line)
            .await
            .unwrap_or_else(|error| panic!("{line}: {error:?}"));
    }
    demo.signal(libc::SIGINT);
    assert!(demo.output().status.success());
    assert!(!servers_beneath(&directory));
}

#[tokio::test]
async fn a_demo_that_is_killed_while_it_starts_can_be_started_again() {
    let scratch = Scratch::create().unwrap();
    let directory = scratch.path().join("demo");
    let options = ["--replicas", "1", "--shards", "1"];
    let port = free_port();
    for patience_ms in [20, 150, 500, 1_500] {
        let mut child = command(&directory, port, &options).spawn().unwrap();
        // There is nothing to wait for: the point is to interrupt at any moment.
        let _ = tokio::time::timeout(
            Duration::from_millis(patience_ms),
            std::future::pending::<()>(),
        )
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let demo = Demo::start(&directory, port, &[]);
    assert_eq!(demo.count("order_lines WHERE customer_id = 200").await, 30);
    // A signal while it starts ends it in order, too.
    demo.signal(libc::SIGINT);
    assert!(demo.output().status.success());
    let mut child = command(&directory, port, &["--fresh"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    assert!(child.wait().unwrap().success(), "{first}");
    assert!(!servers_beneath(&directory));
}
