//! The configuration file: the complete example, and every kind of error with its place and remedy.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::Diagnostic;
use router::config::{
    AuthMethod, Config, Error, NameMatch, Password, ReadPreference, Secret, ServerLogin, Sources,
    SslMode, TlsMode, UserSecret,
};

const EXAMPLE: &str = include_str!("../../docker/pgweave.toml");
const VERIFIER: &str = "SCRAM-SHA-256$4096:QBKEbRaEGGo1zNbKsLhF4w==$Ni3fOqd2mpqXSjWW1M9wLhQ4VtW2bvHz1sfKcwGU2nE=:\
                        Y2gy0dhcKkUnTv8yVUgGZbzIT3qFkYmTPWk4bMcEOL0=";

/// A folder with a file `pgweave.toml` and some others, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(text: &str) -> Folder {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("pgweave-config-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("pgweave.toml"), text).unwrap();
        for name in ["server.pem", "server.key", "ca.pem"] {
            std::fs::write(path.join(name), "pem").unwrap();
        }
        std::fs::write(path.join("password"), "from a file\n").unwrap();
        std::fs::write(path.join("empty"), "\n").unwrap();
        std::fs::write(path.join("pgpass"), "h1:5432:*:postgres:from pgpass\n").unwrap();
        Folder(path)
    }

    fn load_with(&self, environment: &[(&str, &str)], options: &[&str]) -> Result<Config, Error> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Config::load(&Sources {
            file: Some(self.0.join("pgweave.toml")),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            environment: environment.iter().map(owned).collect(),
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn load(text: &str) -> Result<Config, Error> {
    Folder::new(text).load_with(&[("SET", "from a variable")], &[])
}

/// Loads a text that is wrong; the result is `line:column: message`, and the help.
fn refused(text: &str) -> (String, String) {
    let error = load(text).unwrap_err();
    let help = error.help().unwrap().to_string();
    let message = error.to_string();
    let (_, message) = message
        .split_once("pgweave.toml:")
        .unwrap_or_else(|| panic!("no place in {message}"));
    let message = message.to_owned();
    assert!(!help.is_empty());
    (message, help)
}

#[track_caller]
fn check(text: &str, message: &str, help: &str) {
    let (found, remedy) = refused(text);
    assert_eq!(found, message, "\n{text}");
    assert!(remedy.contains(help), "the help is: {remedy}");
}

#[test]
fn three_lines_are_enough() {
    let config = load("[catalog]\nhost = \"h1\"\npassword_file = \"password\"\n").unwrap();
    assert_eq!(config.database, "postgres");
    assert_eq!(
        (config.catalog.port, config.catalog.user.as_str()),
        (5432, "postgres")
    );
    assert_eq!(
        config.catalog.password,
        Password::Given(Secret::new("from a file"))
    );
    assert_eq!(config.listen.port, 6432);
    assert_eq!(config.auth.len(), 1);
    assert_eq!(config.auth[0].method, AuthMethod::ScramSha256);
    assert!(
        config.auth_query.is_some(),
        "someone must be able to connect"
    );
    assert_eq!(config.servers.login, ServerLogin::PassThrough);
    assert!(config.listen.worker_count() >= 1);
}

#[test]
fn every_value_arrives() {
    let text = r#"
        database = "shop"
        [catalog]
        host = "h1"
        passfile = "pgpass"
        sslmode = "verify-full"
        sslrootcert = "ca.pem"
        [listen]
        address = "0.0.0.0"
        workers = 3
        startup_timeout_ms = 1500
        [tls]
        mode = "require"
        cert = "server.pem"
        key = "server.key"
        client_ca = "ca.pem"
        [[auth]]
        user = ["app", "web"]
        database = "shop"
        address = "10.0.0.0/8"
        method = "md5"
        [[auth]]
        method = "cert"
        [[users]]
        name = "app"
        secret = "md50123456789abcdef0123456789abcdef"
        pass_through = true
        [[users]]
        name = "web"
        password_env = "SET"
        server_user = "web_writer"
        server_password_file = "password"
        [[users]]
        name = "plain"
        [servers]
        user = "router"
        password = "x"
        [pool]
        wait_timeout_ms = 250
        [replicas]
        read_preference = "prefer_replica"
        [planner]
        scatter = "warn"
        [[scatter]]
        user = ["app", "jobs"]
        mode = "forbid"
        [[scatter]]
        database = "shop"
        user = "reports"
        mode = "allow"
    "#;
    let config = load(text).unwrap();
    assert_eq!(config.database, "shop");
    assert_eq!(config.catalog.tls.mode, SslMode::VerifyFull);
    assert!(config.catalog.tls.root_cert.as_ref().unwrap().is_absolute());
    let from_pgpass = config
        .catalog
        .password
        .for_server("h1", 5432, "shop", "postgres")
        .unwrap();
    assert_eq!(from_pgpass.expose(), "from pgpass");
    assert_eq!(
        config
            .catalog
            .password
            .for_server("h2", 5432, "shop", "postgres"),
        None
    );
    assert_eq!(config.listen.startup_timeout, Duration::from_millis(1500));
    assert_eq!(config.listen.worker_count(), 3);
    assert_eq!(config.tls.mode, TlsMode::Require);
    let address = "10.1.2.3".parse().unwrap();
    assert!(config.auth[0].matches("web", "shop", address));
    assert!(!config.auth[0].matches("web", "other", address));
    assert!(!config.auth[0].matches("web", "shop", "11.0.0.1".parse().unwrap()));
    assert_eq!(config.auth[1].user, NameMatch::All);
    assert!(matches!(config.users[0].secret, UserSecret::Md5(_)));
    assert_eq!(config.users[0].server, ServerLogin::PassThrough);
    assert_eq!(
        config.users[1].secret,
        UserSecret::Plain(Secret::new("from a variable"))
    );
    let password = Password::Given(Secret::new("from a file"));
    assert_eq!(
        config.users[1].server,
        ServerLogin::As {
            user: "web_writer".into(),
            password
        }
    );
    assert_eq!(config.users[2].secret, UserSecret::None);
    assert_eq!(config.users[2].server, config.servers.login);
    assert!(config.auth_query.is_none());
    assert_eq!(config.pool.wait_timeout, Duration::from_millis(250));
    assert_eq!(
        config.replicas.read_preference,
        ReadPreference::PreferReplica
    );
    let mode = |user| config.scatter_mode(user, "shop").name();
    assert_eq!(
        [mode("jobs"), mode("reports"), mode("others")],
        ["forbid", "allow", "warn"]
    );
}

#[test]
fn unknown_names_suggest_the_nearest_known_one() {
    check(
        "[listen]\nprot = 1\n",
        "2:1: unknown key `prot`",
        "did you mean `port`?",
    );
    check(
        "[catalog]\nhost='h'\n[pol]\nmax_size = 1\n",
        "3:2: unknown key `pol`",
        "did you mean `pool`?",
    );
    check(
        "[pool]\nxyzzy = 1\n",
        "2:1: unknown key `xyzzy`",
        "[pool] knows max_size, min_size",
    );
    check(
        "[[users]]\nname='a'\nscret='b'\n",
        "3:1: unknown key `scret`",
        "did you mean `secret`?",
    );
    check(
        "[tls]\nmode = \"requir\"\n",
        "2:8: unknown value `requir`",
        "did you mean `require`?",
    );
    check(
        "[[auth]]\nmethod = \"peer\"\n",
        "2:10: unknown value `peer`",
        "trust, scram-sha-256, md5, cert, reject",
    );
    check(
        "[log]\nlevel='chatty'",
        "2:7: unknown value `chatty`",
        "error, warn, info, debug, trace",
    );
}

#[test]
fn values_of_the_wrong_kind_name_their_place() {
    check(
        "[listen]\nport = 70000\n",
        "2:8: invalid value: integer `70000`, expected a whole number from 0 to 65535",
        "",
    );
    check(
        "[listen]\nport = \"x\"\n",
        "2:8: invalid type: string \"x\", expected a whole number from 0 to 65535",
        "",
    );
    check(
        "[listen]\n  max_clients = -1",
        "2:17: invalid value: integer `-1`, expected a whole number, not negative",
        "",
    );
    check(
        "[listen]\naddress = \"localhost\"\n",
        "2:11: invalid IP address syntax",
        "",
    );
    check(
        "[[auth]]\naddress = \"10.0.0/8\"",
        "2:11: `10.0.0/8` is no address range; write it as 10.0.0.0/8, ::1/128 or 192.168.1.7",
        "",
    );
    check(
        "[[auth]]\naddress = ['::/0', 'x']",
        "2:11: `x` is no address range; write it as 10.0.0.0/8, ::1/128 or 192.168.1.7",
        "",
    );
    check(
        "[[users]]\nname = \"a\"\npass_through = 1",
        "3:16: invalid type: integer `1`, expected true or false",
        "",
    );
    check(
        "[catalog]\nport = 1\n",
        "1:1: `host` is missing in [catalog]",
        "add a line `host = …`",
    );
    check(
        "[listen]\nport = 1\n",
        "1:1: section [catalog] is missing",
        "",
    );
}

#[test]
fn text_that_is_no_toml_names_its_place() {
    let (message, _) = refused("[catalog]\nhost = h1\n");
    assert!(message.starts_with("2:8: "), "{message}");
    let (message, _) = refused("[catalog\n");
    assert!(message.starts_with("1:9: "), "{message}");
    let (message, _) = refused("[catalog]\nhost='a'\nhost='b'\n");
    assert!(message.starts_with("3:1: duplicate key"), "{message}");
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let catalog = "[catalog]\nhost = 'h'\n";
    let check =
        |text: &str, message: &str, help: &str| check(&format!("{catalog}{text}"), message, help);
    check(
        "port = 0",
        "3:8: catalog.port must be at least 1",
        "default",
    );
    check(
        "[listen]\nbacklog = 0",
        "4:11: listen.backlog must be at least 1",
        "default",
    );
    // The router's own port may be left to the system.
    assert_eq!(
        load(&format!("{catalog}[listen]\nport = 0"))
            .unwrap()
            .listen
            .port,
        0
    );
    check(
        "[pool]\nmax_size = 0",
        "4:12: pool.max_size must be at least 1",
        "",
    );
    check(
        "[pool]\nmin_size = 30",
        "4:12: min_size 30 is greater than max_size 20",
        "raise max_size",
    );
    check(
        "[replicas]\ncheck_interval_ms = 0",
        "4:21: replicas.check_interval_ms must be at least 1",
        "",
    );
    check(
        "[listen]\nmax_message_bytes = 5",
        "4:21: max_message_bytes is 5",
        "choose from 8192 to 1073741823",
    );
    check(
        "[listen]\nmax_buffered_bytes = 5",
        "4:22: max_buffered_bytes 5 is smaller than max_message_bytes 268435456",
        "lower max_message_bytes",
    );
    check(
        "[tls]\nmode = 'require'",
        "4:8: this mode needs tls.cert",
        "add cert =",
    );
    check(
        "[tls]\nmode = 'allow'\ncert = 'server.pem'",
        "4:8: this mode needs tls.key",
        "add key =",
    );
    check(
        "[[auth]]\nmethod = 'cert'",
        "4:10: authentication by certificate needs TLS and the authorities to trust",
        "client_ca",
    );
    check(
        "sslmode = 'verify-ca'",
        "3:11: verifying a server's certificate needs the authorities to trust",
        "sslrootcert",
    );
    check(
        "sslcert = 'server.pem'",
        "3:11: catalog.sslcert needs catalog.sslkey",
        "add sslkey",
    );
    check(
        "password = 'a'\npassfile = 'pgpass'",
        "1:1: [catalog] has several passwords",
        "keep one",
    );
    check(
        "[[users]]\nname='a'\n[[users]]\nname='a'",
        "6:6: user a is there twice",
        "remove one",
    );
    check(
        "[[users]]\nname='a'\npassword_env='SET'\npassword_file='password'",
        "4:6: user a has several secrets",
        "keep one",
    );
    check(
        "[[users]]\nname='a'\npass_through = true\nserver_user = 'b'",
        "5:16: user a passes through and has a login of its own",
        "keep either",
    );
    check("host = 'again'", "3:1: duplicate key", "");
    check("user = ''", "3:8: catalog.user is empty", "");
}

#[test]
fn missing_files_are_named() {
    let catalog = "[catalog]\nhost = 'h'\n";
    let (message, help) = refused(&format!("{catalog}[tls]\nkey = 'missing.key'"));
    assert!(message.starts_with("4:7: cannot read "), "{message}");
    assert!(
        message.contains("missing.key: No such file or directory"),
        "{message}"
    );
    assert!(
        help.contains("relative path starts at the configuration file's folder"),
        "{help}"
    );
    let (message, _) = refused(&format!("{catalog}[tls]\nkey = '.'"));
    assert!(message.ends_with(" is not a file"), "{message}");
    let (message, _) = refused(&format!("{catalog}password_file = 'empty'"));
    assert!(message.ends_with("/empty is empty"), "{message}");
    let (message, _) = refused(&format!("{catalog}passfile = 'none'"));
    assert!(message.starts_with("3:12: cannot read "), "{message}");
    let (message, _) = refused(&format!(
        "{catalog}[[users]]\nname = 'a'\npassword_env = 'UNSET'"
    ));
    assert_eq!(message, "5:16: the environment variable UNSET is not set");

    let error = Config::load(&Sources {
        file: Some("/nonexistent.toml".into()),
        ..Sources::default()
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the configuration file /nonexistent.toml"
    );
    assert!(error.help().unwrap().to_string().contains("--config"));
}

#[test]
fn secrets_are_verifiers_and_are_never_shown() {
    let catalog = "[catalog]\nhost = 'h'\n";
    let user =
        |secret: &str| format!("{catalog}[[users]]\nname = \"app\"\nsecret = \"{secret}\"\n");
    let config = load(&user(VERIFIER)).unwrap();
    assert_eq!(
        config.users[0].secret,
        UserSecret::Scram(Secret::new(VERIFIER))
    );
    assert!(!format!("{config:?}").contains("4096"));

    let plain = [
        user("hunter2"),
        user("md5hunter2"),
        user("SCRAM-SHA-256$hunter2"),
        format!("{catalog}password = 'hunter2'\npassword_file = 'password'\n"),
        format!("{catalog}pasword = 'hunter2'\n"),
        format!("{catalog}password = hunter2\n"),
        format!("{catalog}password = \"hunter2\n"),
        format!("{catalog}prot = 5\npassword = \"hunter2\"\n"),
        format!("{catalog}[[users]]\nname = 5\nsecret = \"hunter2\"\n"),
        "catalog = { host = 5, password = \"hunter2\" }\n".to_owned(),
    ];
    for text in plain {
        let error = load(&text).unwrap_err();
        let shown = format!("{:?}", miette::Report::new(error));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let error = load(&format!("{catalog}password = 271828\n")).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("3:12: a password must be text in quotes"),
        "{error}"
    );
    let shown = format!("{:?}", miette::Report::new(error));
    assert!(!shown.contains("271828"), "{shown}");
}

#[test]
fn the_environment_is_stronger_than_the_file_and_options_are_stronger_still() {
    let folder = Folder::new(
        "[catalog]\nhost = 'h1'\nport = 1\n[pool]\nmax_size = 1\n[[users]]\nname = 'app'\n",
    );
    let environment = [
        ("PGWEAVE__CATALOG__PORT", "2"),
        ("PGWEAVE__POOL__MAX_SIZE", "2"),
        ("PGWEAVE__CATALOG__PASSWORD", "12345"),
        ("PGWEAVE__CATALOG__DBNAME", "2024-01-01"),
        ("PGWEAVE__LISTEN__ADDRESS", "::1"),
        ("PGWEAVE__DATABASE", "shop"),
        ("PGWEAVE__USERS__0__PASS_THROUGH", "true"),
        ("PGWEAVE_PG_BIN", "/usr/bin"),
    ];
    let config = folder
        .load_with(&environment, &["pool.max_size=3", "log.level=debug"])
        .unwrap();
    assert_eq!(config.catalog.host, "h1");
    assert_eq!(config.catalog.port, 2);
    assert_eq!(config.pool.max_size, 3);
    // Digits are text where text is wanted.
    assert_eq!(
        config.catalog.password,
        Password::Given(Secret::new("12345"))
    );
    assert_eq!(config.catalog.dbname, "2024-01-01");
    assert_eq!(config.listen.address.to_string(), "::1");
    assert_eq!(config.database, "shop");

    let alone = Sources {
        environment: HashMap::from([("PGWEAVE__CATALOG__HOST".into(), "h".into())]),
        ..Sources::default()
    };
    assert_eq!(Config::load(&alone).unwrap().catalog.host, "h");
}

#[test]
fn errors_outside_the_file_name_the_variable_or_the_option() {
    let folder = Folder::new("[catalog]\nhost = 'h1'\n");
    let error = |environment: &[(&str, &str)], options: &[&str]| {
        let error = folder.load_with(environment, options).unwrap_err();
        (error.to_string(), error.help().unwrap().to_string())
    };
    let (message, help) = error(&[("PGWEAVE__LISTEN__PROT", "1")], &[]);
    assert_eq!(
        message,
        "environment variable PGWEAVE__LISTEN__PROT:1:1: unknown key `prot`"
    );
    assert!(
        help.contains("did you mean `port`?; [listen] knows address, port"),
        "{help}"
    );
    let (message, _) = error(&[("PGWEAVE__LISTEN__PORT", "70000")], &[]);
    assert!(
        message.starts_with(
            "environment variable PGWEAVE__LISTEN__PORT:1:1: invalid value: integer `70000`"
        ),
        "{message}"
    );
    let (message, _) = error(&[], &["pool.min_size=21"]);
    assert_eq!(
        message,
        "option --set:1:1: min_size 21 is greater than max_size 20"
    );
    let (message, help) = error(&[], &["catalog.host.name=x"]);
    assert_eq!(
        message,
        "option --set:1:1: `catalog.host.name` is no setting"
    );
    assert!(help.contains("as in listen.port"), "{help}");
    let (message, _) = error(&[("PGWEAVE__USERS__7__NAME", "x")], &[]);
    assert!(message.contains("PGWEAVE__USERS__7__NAME"), "{message}");
    let environment = [("PGWEAVE__TLS__CERT", "nowhere.pem")];
    let (message, _) = error(&environment, &[]);
    assert!(
        message.starts_with("environment variable PGWEAVE__TLS__CERT:1:1: cannot read "),
        "{message}"
    );
}

/// The keys of a section, as the error for an unknown one lists them.
fn known_keys(section: &str) -> BTreeSet<String> {
    let header = match section {
        "" => String::new(),
        "auth" | "users" | "scatter" => format!("[[{section}]]\n"),
        section => format!("[{section}]\n"),
    };
    let (_, help) = refused(&format!("{header}xyzzy = 1\n"));
    let (_, keys) = help.split_once(" knows ").unwrap();
    keys.split(", ").map(str::to_owned).collect()
}

/// The example with every commented setting switched on, section by section: key, then all its lines.
fn switched_on(line: &str) -> Option<&str> {
    let line = line.strip_prefix('#').unwrap_or(line);
    let key = line.split('=').next().unwrap_or("").trim();
    let setting = line.contains('=')
        && !key.is_empty()
        && key.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
    (line.starts_with('[') || (setting && !line.starts_with(' '))).then_some(line)
}

#[test]
fn the_example_mentions_every_setting() {
    let mut mentioned: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut section = String::new();
    for line in EXAMPLE.lines().filter_map(switched_on) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        } else {
            let key = line.split('=').next().unwrap().trim().to_owned();
            mentioned.entry(section.clone()).or_default().insert(key);
        }
    }
    for section in known_keys("") {
        if section == "database" {
            assert!(mentioned[""].contains("database"));
            continue;
        }
        assert_eq!(
            mentioned.get(&section),
            Some(&known_keys(&section)),
            "section [{section}]"
        );
    }
}

#[test]
fn the_example_is_valid_as_it_is_and_shows_the_defaults() {
    let folder = Folder::new(EXAMPLE);
    let config = folder
        .load_with(&[("PGWEAVE__CATALOG__PASSWORD", "x")], &[])
        .unwrap();
    let minimal = load("[catalog]\nhost = 'shard1'\npassword = 'x'\n").unwrap();
    assert_eq!(format!("{config:?}"), format!("{minimal:?}"));

    // Sections whose comments are all defaults: switched on, they change nothing.
    let defaults = [
        "listen",
        "pool",
        "replicas",
        "planner",
        "transactions",
        "log",
        "shutdown",
        "auth_query.query",
    ];
    let mut section = String::new();
    let mut text = String::from("[catalog]\nhost = 'shard1'\npassword = 'x'\n");
    for line in EXAMPLE.lines().filter_map(switched_on) {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
        }
        let key = line.split('=').next().unwrap().trim();
        let wanted = |name: &str| name == section || name == format!("{section}.{key}");
        if defaults.iter().any(|name| wanted(name)) || line == "[auth_query]" {
            text.push_str(line);
            text.push('\n');
        }
    }
    assert_eq!(
        format!("{:?}", load(&text).unwrap()),
        format!("{minimal:?}"),
        "\n{text}"
    );
}

#[test]
fn the_example_is_valid_with_everything_switched_on() {
    let folder = Folder::new("");
    let place = folder.0.to_str().unwrap();
    // Of several ways to give one password the last is kept.
    let exclusive = [
        "password =",
        "password_file = \"/etc/pgweave/catalog",
        "password_file = \"/etc/pgweave/servers",
    ];
    let text: String = EXAMPLE
        .lines()
        .filter_map(switched_on)
        .filter(|line| !exclusive.iter().any(|start| line.starts_with(start)))
        .map(|line| line.replace("/etc/pgweave", place) + "\n")
        .collect();
    for name in text
        .split('"')
        .filter_map(|part| part.strip_prefix(&format!("{place}/")))
    {
        std::fs::write(Path::new(place).join(name), "x").unwrap();
    }
    std::fs::write(folder.0.join("pgweave.toml"), &text).unwrap();
    let environment = [("JOBS_PASSWORD", "x"), ("JOBS_WRITER_PASSWORD", "x")];
    let config = folder.load_with(&environment, &[]).unwrap();
    assert_eq!(config.users.len(), 3);
    assert_eq!(config.auth_query.unwrap().shard.as_deref(), Some("s1"));
}
