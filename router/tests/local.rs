//! Real servers on this machine: started, replicated, killed, left behind and found again.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use router::local::{
    Binaries, ClusterOptions, Error, LocalCluster, LocalServer, Scratch, ServerOptions, Settings,
    Stop,
};

const LIMIT: Duration = Duration::from_secs(30);

fn fast() -> ServerOptions {
    ServerOptions {
        durable: false,
        template: Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))),
        ..ServerOptions::default()
    }
}

/// A zombie has ended, even if nobody has asked for its exit status yet; it has no command line.
#[cfg(target_os = "linux")]
fn alive(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// A zombie has ended, even if nobody has asked for its exit status yet.
#[cfg(not(target_os = "linux"))]
fn alive(pid: u32) -> bool {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output()
        .unwrap();
    let state = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    !state.is_empty() && !state.starts_with('Z')
}

async fn wait_until_gone(pid: u32) {
    let started = Instant::now();
    while alive(pid) {
        assert!(started.elapsed() < LIMIT, "process {pid} is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn one(server: &LocalServer, query: &str) -> String {
    server
        .connect("postgres")
        .await
        .unwrap()
        .query_one(query, &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn a_server_starts_with_its_settings_and_leaves_nothing_behind() {
    let mut options = fast();
    options.settings.parse("work_mem=7MB").unwrap();
    let server = LocalServer::scratch(options).await.unwrap();
    assert_eq!(one(&server, "SHOW work_mem").await, "7MB");
    assert_eq!(one(&server, "SHOW wal_level").await, "logical");
    assert_eq!(one(&server, "SHOW max_prepared_transactions").await, "200");
    assert_eq!(one(&server, "SHOW fsync").await, "off");
    assert_eq!(one(&server, "SHOW server_encoding").await, "UTF8");
    assert_eq!(one(&server, "SHOW listen_addresses").await, "127.0.0.1");
    let (pid, data) = (server.pid().unwrap(), server.data_directory());
    drop(server);
    assert!(!alive(pid));
    assert!(!data.exists());
}

#[tokio::test]
async fn a_killed_server_recovers_on_the_same_port() {
    let server = LocalServer::scratch(fast()).await.unwrap();
    let port = server.port();
    let client = server.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE kept AS SELECT 42 AS answer")
        .await
        .unwrap();
    // A busy backend would outlive its postmaster for long.
    let busy = server.connect("postgres").await.unwrap();
    let backend: i32 = busy
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let work = tokio::spawn(async move {
        busy.execute("SELECT count(*) FROM generate_series(1, 10000000000)", &[])
            .await
    });
    server.kill().await.unwrap();
    assert!(!server.is_running());
    assert!(!alive(backend as u32));
    assert!(work.await.unwrap().is_err());
    assert!(server.connect("postgres").await.is_err());
    server.start().await.unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(one(&server, "SELECT answer::text FROM kept").await, "42");
    server.stop(Stop::Immediate).await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(one(&server, "SELECT answer::text FROM kept").await, "42");
}

#[tokio::test]
async fn replicas_stream_and_can_be_promoted() {
    let cluster = LocalCluster::start(ClusterOptions {
        shards: 1,
        replicas: 1,
        server: fast(),
        ..ClusterOptions::default()
    })
    .await
    .unwrap();
    let shard = &cluster.shards()[0];
    let client = shard.primary.connect("postgres").await.unwrap();
    client
        .batch_execute("CREATE TABLE copied AS SELECT 1 AS id")
        .await
        .unwrap();
    shard.catch_up(LIMIT).await.unwrap();
    let replica = &shard.replicas[0];
    assert_eq!(one(replica, "SELECT id::text FROM copied").await, "1");
    assert_eq!(
        one(replica, "SELECT pg_is_in_recovery()::text").await,
        "true"
    );
    // The replica follows its primary over a restart of either.
    replica.kill().await.unwrap();
    shard.primary.restart().await.unwrap();
    one(
        &shard.primary,
        "WITH x AS (INSERT INTO copied VALUES (2) RETURNING 1) SELECT ''",
    )
    .await;
    replica.start().await.unwrap();
    shard.catch_up(LIMIT).await.unwrap();
    assert_eq!(one(replica, "SELECT count(*)::text FROM copied").await, "2");
    shard.primary.kill().await.unwrap();
    replica.promote().await.unwrap();
    one(
        replica,
        "WITH x AS (INSERT INTO copied VALUES (3) RETURNING 1) SELECT ''",
    )
    .await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_is_reused_with_its_data_and_ports() {
    let scratch = Scratch::create().unwrap();
    let options = ClusterOptions {
        shards: 2,
        replicas: 1,
        dir: Some(scratch.path().join("cluster")),
        server: fast(),
        ..ClusterOptions::default()
    };
    let cluster = LocalCluster::start(options.clone()).await.unwrap();
    let ports: Vec<u16> = cluster.servers().map(LocalServer::port).collect();
    let client = cluster.shards()[1]
        .primary
        .connect("postgres")
        .await
        .unwrap();
    client
        .batch_execute("CREATE TABLE kept AS SELECT 1 AS id")
        .await
        .unwrap();
    drop(client);

    let second = LocalCluster::start(options.clone()).await.unwrap_err();
    assert!(matches!(second, Error::DirectoryInUse { .. }), "{second}");
    assert!(
        second.to_string().contains(&std::process::id().to_string()),
        "{second}"
    );
    cluster.stop().await.unwrap();

    let more = ClusterOptions {
        shards: 3,
        ..options.clone()
    };
    let error = LocalCluster::start(more).await.unwrap_err();
    assert!(matches!(error, Error::LayoutDiffers { .. }), "{error}");

    let cluster = LocalCluster::start(options.clone()).await.unwrap();
    assert_eq!(
        cluster.servers().map(LocalServer::port).collect::<Vec<_>>(),
        ports
    );
    let shard = &cluster.shards()[1];
    assert_eq!(one(&shard.primary, "SELECT id::text FROM kept").await, "1");
    shard.catch_up(LIMIT).await.unwrap();
    assert_eq!(
        one(&shard.replicas[0], "SELECT id::text FROM kept").await,
        "1"
    );
    cluster.stop().await.unwrap();

    let fresh = ClusterOptions {
        shards: 1,
        replicas: 0,
        fresh: true,
        ..options
    };
    let cluster = LocalCluster::start(fresh).await.unwrap();
    let gone = one(
        &cluster.shards()[0].primary,
        "SELECT coalesce(to_regclass('kept')::text, 'gone')",
    )
    .await;
    assert_eq!(gone, "gone");
    drop(cluster);
}

#[tokio::test]
async fn a_foreign_directory_is_not_touched() {
    let scratch = Scratch::create().unwrap();
    let precious = scratch.path().join("home/precious");
    std::fs::create_dir_all(precious.parent().unwrap()).unwrap();
    std::fs::write(&precious, "text").unwrap();
    let options = ClusterOptions {
        dir: precious.parent().map(Path::to_owned),
        fresh: true,
        ..ClusterOptions::default()
    };
    let error = LocalCluster::start(options).await.unwrap_err();
    assert!(matches!(error, Error::ForeignDirectory { .. }), "{error}");
    assert_eq!(
        std::fs::read_dir(scratch.path().join("home"))
            .unwrap()
            .count(),
        1
    );
}

#[tokio::test]
async fn a_bad_setting_is_reported_with_the_end_of_the_log() {
    let mut options = fast();
    options.settings.parse("work_mem=plenty").unwrap();
    let error = LocalServer::scratch(options).await.unwrap_err();
    assert!(matches!(error, Error::Exited { .. }));
    assert!(
        error
            .to_string()
            .contains(r#"invalid value for parameter "work_mem": "plenty""#),
        "{error}"
    );
}

#[tokio::test]
async fn a_taken_port_is_replaced_by_another() {
    let scratch = Scratch::create().unwrap();
    let binaries = Binaries::find(None).unwrap();
    let directory = scratch.path().join("s1");
    let create = || LocalServer::create(&binaries, "s1", &directory, fast());
    let server = create().await.unwrap();
    server.start().await.unwrap();
    let port = server.port();
    server.stop(Stop::Fast).await.unwrap();
    drop(server);
    let _other = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let server = create().await.unwrap();
    server.start().await.unwrap();
    assert_ne!(server.port(), port);
    assert_eq!(one(&server, "SHOW port").await, server.port().to_string());
}

#[tokio::test]
async fn host_rules_replace_trust() {
    let rules = "host all all 127.0.0.1/32 scram-sha-256\n".to_owned();
    let server = LocalServer::scratch(ServerOptions {
        host_rules: Some(rules),
        ..fast()
    })
    .await
    .unwrap();
    let error = server.connect("postgres").await.unwrap_err();
    assert!(matches!(error, Error::Database { .. }), "{error}");
}

/// Runs `child_that_is_killed` in a process of its own; returns it with the ports and pids that it printed.
fn spawn_child(directory: &Path, parting: &str) -> (std::process::Child, Vec<u32>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_is_killed",
            "--nocapture",
            "--include-ignored",
        ])
        .env("PGWEAVE_TEST_DIRECTORY", directory)
        .env("PGWEAVE_TEST_PARTING", parting)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pids = lines
        .map(Result::unwrap)
        .find_map(|line| {
            Some(
                line.split_once("pids:")?
                    .1
                    .split_whitespace()
                    .map(|pid| pid.parse().unwrap())
                    .collect(),
            )
        })
        .unwrap();
    (child, pids)
}

/// Not a test by itself: does nothing unless another test asks.
#[tokio::test]
async fn child_that_is_killed() {
    let Some(directory) = std::env::var_os("PGWEAVE_TEST_DIRECTORY") else {
        return;
    };
    let options = ClusterOptions {
        shards: 1,
        replicas: 1,
        dir: Some(directory.into()),
        server: fast(),
        ..ClusterOptions::default()
    };
    let cluster = LocalCluster::start(options).await.unwrap();
    let pids: Vec<String> = cluster
        .servers()
        .map(|server| server.pid().unwrap().to_string())
        .collect();
    println!("\npids: {}", pids.join(" "));
    match std::env::var("PGWEAVE_TEST_PARTING").as_deref() {
        // As a cluster in a static of a test: nothing drops it, the process exits in order.
        Ok("exit") => std::mem::forget(cluster),
        _ => std::future::pending().await,
    }
}

#[tokio::test]
async fn servers_of_a_killed_process_end_and_the_next_start_works() {
    let scratch = Scratch::create().unwrap();
    let directory = scratch.path().join("cluster");
    let (mut child, pids) = spawn_child(&directory, "kill");
    assert_eq!(pids.len(), 2);
    child.kill().unwrap();
    child.wait().unwrap();
    if cfg!(target_os = "linux") {
        for pid in &pids {
            wait_until_gone(*pid).await;
        }
    }
    let options = ClusterOptions {
        shards: 1,
        replicas: 1,
        dir: Some(directory),
        server: fast(),
        ..ClusterOptions::default()
    };
    let cluster = LocalCluster::start(options).await.unwrap();
    assert_eq!(
        one(&cluster.shards()[0].replicas[0], "SELECT 'up'").await,
        "up"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn servers_that_nobody_drops_end_with_the_process() {
    let scratch = Scratch::create().unwrap();
    let (mut child, pids) = spawn_child(&scratch.path().join("cluster"), "exit");
    child.wait().unwrap();
    for pid in pids {
        assert!(!alive(pid), "server {pid} outlived its process");
    }
}

#[tokio::test]
async fn an_orphan_is_found_and_ended() {
    let scratch = Scratch::create().unwrap();
    let binaries = Binaries::find(None).unwrap();
    let directory = scratch.path().join("s1");
    let server = LocalServer::create(&binaries, "s1", &directory, fast())
        .await
        .unwrap();
    server.start().await.unwrap();
    // From here on the server is nobody's, as one that outlived its parent.
    let orphan = server.pid().unwrap();
    let next = LocalServer::create(&binaries, "s1", &directory, fast())
        .await
        .unwrap();
    wait_until_gone(orphan).await;
    next.start().await.unwrap();
    assert_eq!(one(&next, "SELECT 'up'").await, "up");
}

#[tokio::test]
async fn a_lock_file_with_the_number_of_another_process_is_no_obstacle() {
    let scratch = Scratch::create().unwrap();
    let binaries = Binaries::find(None).unwrap();
    let directory = scratch.path().join("s1");
    let server = LocalServer::create(&binaries, "s1", &directory, fast())
        .await
        .unwrap();
    let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
    let lock = server.data_directory().join("postmaster.pid");
    std::fs::write(
        &lock,
        format!(
            "{}\n{}\n1\n5432\n\n127.0.0.1\n",
            bystander.id(),
            directory.display()
        ),
    )
    .unwrap();
    let started = server.start().await;
    let survived = bystander.try_wait().unwrap().is_none();
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    started.unwrap();
    assert!(
        survived,
        "a process that only had the recorded number was ended"
    );
}

#[tokio::test]
async fn a_half_made_data_directory_is_made_again() {
    let scratch = Scratch::create().unwrap();
    let binaries = Binaries::find(None).unwrap();
    let directory = scratch.path().join("s1");
    std::fs::create_dir_all(directory.join("data.unfinished-1-0/base")).unwrap();
    let server = LocalServer::create(
        &binaries,
        "s1",
        &directory,
        ServerOptions {
            template: None,
            ..fast()
        },
    )
    .await
    .unwrap();
    assert!(!directory.join("data.unfinished-1-0").exists());
    server.start().await.unwrap();
    assert_eq!(one(&server, "SELECT 'up'").await, "up");
}

#[tokio::test]
async fn servers_from_one_template_are_different_servers() {
    let identifier = async |server: &LocalServer| {
        one(
            server,
            "SELECT system_identifier::text FROM pg_control_system()",
        )
        .await
    };
    let first = LocalServer::scratch(fast()).await.unwrap();
    let second = LocalServer::scratch(fast()).await.unwrap();
    let drawn = identifier(&first).await;
    assert_ne!(drawn, identifier(&second).await);
    first.kill().await.unwrap();
    first.start().await.unwrap();
    assert_eq!(identifier(&first).await, drawn);
}

#[test]
fn reserved_settings_are_refused() {
    assert!(Settings::default().parse("port=5432").is_err());
}
