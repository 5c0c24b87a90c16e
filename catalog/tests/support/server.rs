//! A PostgreSQL server of a test's own: on a Unix socket in a fresh directory, gone when the test ends, however it ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};

pub struct Server {
    keeper: Child,
    binaries: PathBuf,
    directory: String,
}

/// The server that this test binary's tests share while any of them runs.
pub fn shared() -> Arc<Server> {
    static RUNNING: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut running = RUNNING
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    running.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start());
        *running = Arc::downgrade(&server);
        server
    })
}

/// Makes the directory and the server, says so, and undoes both when its standard input ends: also when this process
/// is killed, since the pipe closes then.
const KEEPER: &str = r#"
trap '' INT
directory=$(mktemp -d "${TMPDIR:-/tmp}/pgweave-catalog.XXXXXX" 2>/dev/null ||
    mktemp -d /tmp/pgweave-catalog.XXXXXX) || exit 1
finish() {
    if [ -n "$server" ]; then
        kill -QUIT "$server"
        wait
    fi
    rm -rf "$directory"
}
trap finish EXIT
trap 'exit 1' TERM HUP
cd "$directory" || exit 1
"$1/initdb" --pgdata data --username postgres --auth trust --encoding UTF8 --locale C --no-sync >server.log 2>&1 ||
    { cat server.log >&2; exit 1; }

mkfifo messages
"$1/postgres" -D data -c listen_addresses= -c unix_socket_directories="$directory" \
    -c fsync=off -c full_page_writes=off -c autovacuum=off >messages 2>&1 &
server=$!
exec 3<messages
while read -r line <&3; do
    echo "$line" >>server.log
    case $line in *'ready to accept connections'*) ready=yes; break ;; esac
done
[ -n "$ready" ] || { cat server.log >&2; exit 1; }
cat <&3 >>server.log &

echo "$directory"
exec >&-
cat >/dev/null
"#;

impl Server {
    fn start() -> Server {
        let binaries = find_binaries();
        let mut command = if is_root() {
            // The server refuses to run as root.
            let mut command = Command::new("runuser");
            command.args(["-u", unprivileged_user(), "--", "sh"]);
            command
        } else {
            Command::new("sh")
        };
        let mut keeper = command
            .args(["-c", KEEPER, "keeper"])
            .arg(&binaries)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/")
            .spawn()
            .expect("cannot start a shell for the server");
        let stdout = keeper.stdout.take().expect("piped");
        let mut directory = String::new();
        let read = BufReader::new(stdout).read_line(&mut directory);
        let server = Server {
            keeper,
            binaries,
            directory: directory.trim_end().to_owned(),
        };
        assert!(
            read.is_ok() && !server.directory.is_empty(),
            "PostgreSQL did not start"
        );
        server
    }

    /// Runs a psql script, which must succeed, and gives its output: unaligned, tuples only, fields split by tabs.
    pub fn run(&self, script: &str) -> String {
        let mut psql = Command::new(self.binaries.join("psql"))
            .args(["-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1"])
            .args([
                "-h",
                &self.directory,
                "-U",
                "postgres",
                "-d",
                "postgres",
                "-f",
                "-",
            ])
            .env("PGCLIENTENCODING", "UTF8")
            .env("PGOPTIONS", "-c client_min_messages=warning")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cannot run psql");
        let mut stdin = psql.stdin.take().expect("piped");
        let mut stderr = psql.stderr.take().expect("piped");
        let (output, errors) = std::thread::scope(|scope| {
            scope.spawn(move || {
                // Fails when psql stops at an error, which is reported below.
                let _ = stdin.write_all(script.as_bytes());
            });
            let errors = scope.spawn(move || {
                let mut text = String::new();
                let _ = stderr.read_to_string(&mut text);
                text
            });
            let output = psql.wait_with_output().expect("psql ends");
            (output, errors.join().expect("reads"))
        });
        assert!(output.status.success(), "psql: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8 from psql")
    }

    /// The first field of a one-row query.
    pub fn value(&self, query: &str) -> String {
        self.run(query).trim_end_matches('\n').to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// `PGWEAVE_PG_BIN`, or the directory on PATH that has initdb, or the newest of the usual ones.
fn find_binaries() -> PathBuf {
    if let Some(directory) = std::env::var_os("PGWEAVE_PG_BIN") {
        return directory.into();
    }
    let has_server =
        |directory: &Path| directory.join("initdb").exists() && directory.join("psql").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).find(|directory| has_server(directory));
    let mut usual: Vec<(u32, PathBuf)> = [
        "/usr/lib/postgresql",
        "/usr/local/lib/postgresql",
        "/opt/postgresql",
    ]
    .iter()
    .filter_map(|root| std::fs::read_dir(root).ok())
    .flatten()
    .flatten()
    .filter_map(|entry| {
        let version = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    })
    .filter(|(_, directory)| has_server(directory))
    .collect();
    usual.sort();
    on_path
        .or_else(|| usual.pop().map(|(_, directory)| directory))
        .expect("no PostgreSQL server found: install one or set PGWEAVE_PG_BIN to the directory of initdb")
}

fn is_root() -> bool {
    id(&["-u"]).as_deref() == Some("0")
}

fn unprivileged_user() -> &'static str {
    if id(&["-u", "postgres"]).is_some() {
        "postgres"
    } else {
        "nobody"
    }
}

fn id(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id")
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
