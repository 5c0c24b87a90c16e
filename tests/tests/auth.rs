//! Who is let in: every method of `[[auth]]`, from psql and message by message, and what else refuses a client.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use router::wire::encode;
use tests::certificates::Certificates;
use tests::client::{Client, Message, rows};
use tests::cluster::{Cluster, Options, RunningRouter};
use tests::psql::psql;
use tests::shared::Shared;

static SHARED: Shared = Shared::new(Options::default);

/// The roles of both shards. Servers let everyone in, but for scram_user, who must prove to know the password to them, too. So must
/// operator, whose password is another on each.
const ROLES: &[&str] = &[
    "CREATE ROLE ann LOGIN PASSWORD 'secret'",
    "CREATE ROLE scram_user LOGIN PASSWORD 'secret'",
    "CREATE ROLE expired LOGIN PASSWORD 'secret' VALID UNTIL '2001-01-01'",
    "CREATE ROLE \"group\" NOLOGIN PASSWORD 'secret'",
    "CREATE ROLE bare LOGIN",
    "SET password_encryption = md5",
    "CREATE ROLE old LOGIN PASSWORD 'secret'",
];

fn cluster() -> &'static Cluster {
    static ONCE: OnceLock<()> = OnceLock::new();
    let cluster = SHARED.cluster();
    ONCE.get_or_init(|| {
        let mut shared_verifier = None;
        for shard in cluster.local.shards() {
            let mut server = Client::connect(
                SocketAddr::from(([127, 0, 0, 1], shard.primary.port())),
                &[],
            )
            .unwrap();
            let mut run = |sql: &str| {
                let answer = server.query(sql).unwrap();
                assert!(
                    answer.iter().all(|message| message.tag != b'E'),
                    "{sql}: {answer:?}"
                );
                rows(&answer)
            };
            ROLES.iter().for_each(|sql| drop(run(sql)));
            run(&format!(
                "RESET password_encryption; CREATE ROLE operator SUPERUSER LOGIN PASSWORD 'of {}'",
                shard.name
            ));
            // The same salt on all servers, as the keys of one login must be good for all of them.
            match &shared_verifier {
                None => {
                    shared_verifier = Some(verifier_of(&run(
                        "SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_user'",
                    )))
                }
                Some(text) => drop(run(&format!("ALTER ROLE scram_user PASSWORD '{text}'"))),
            }
            let rules = run("SHOW hba_file")[0][0].clone().unwrap();
            let others = std::fs::read_to_string(&rules).unwrap();
            std::fs::write(
                &rules,
                format!("host all scram_user,operator all scram-sha-256\n{others}"),
            )
            .unwrap();
            run("SELECT pg_reload_conf()");
            let address = SocketAddr::from(([127, 0, 0, 1], shard.primary.port()));
            let asked_for_proof = || {
                begin(address, "scram_user")
                    .receive()
                    .unwrap()
                    .body
                    .starts_with(b"\0\0\0\x0a")
            };
            let started = Instant::now();
            while !asked_for_proof() {
                assert!(
                    started.elapsed() < Duration::from_secs(30),
                    "the server does not read its rules again"
                );
            }
        }
    });
    cluster
}

fn verifier_of(rows: &[Vec<Option<String>>]) -> String {
    rows[0][0].clone().unwrap()
}

/// What the servers store of scram_user's password.
fn stored_verifier() -> String {
    let port = cluster().local.shards()[0].primary.port();
    let mut server = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]).unwrap();
    verifier_of(&rows(
        &server
            .query("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_user'")
            .unwrap(),
    ))
}

/// A router of its own rules over the shared servers. Whom no rule is for is trusted.
fn router(toml: &str, settings: &[&str]) -> RunningRouter {
    let options = Options {
        toml: toml.to_owned(),
        settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
        ..Options::default()
    };
    cluster().another_router(&options).unwrap()
}

fn whoami(address: SocketAddr, password: &str, conninfo: &str) -> Result<String, String> {
    psql(address, password, conninfo, "SELECT current_user")
}

/// A password, a wrong one, none, and users who are not there: all that fail get one answer.
fn check_passwords(address: SocketAddr, user: &str) {
    assert_eq!(
        whoami(address, "secret", &format!("user={user}")).as_deref(),
        Ok(user)
    );
    for (user, password) in [
        (user, "wrong"),
        (user, "secre"),
        ("nobody", "secret"),
        ("bare", "secret"),
    ] {
        let error = whoami(address, password, &format!("user={user}")).unwrap_err();
        let expected = format!("FATAL:  password authentication failed for user \"{user}\"\n");
        assert!(error.ends_with(&expected), "{error}");
    }
}

/// Users whose passwords are in a file, `configured` in clear text.
fn with_password_file(rules: &str) -> (RunningRouter, router::local::Scratch) {
    let folder = router::local::Scratch::create().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let users: String = ["ann", "bob"]
        .iter()
        .map(|name| {
            format!(
                "[[users]]\nname = \"{name}\"\npassword_file = \"{}\"\npass_through = true\n",
                file.display()
            )
        })
        .collect();
    (router(&format!("{users}{rules}"), &[]), folder)
}

#[test]
fn trust_takes_the_clients_word() {
    let router = router("", &[]);
    assert_eq!(whoami(router.address, "", "user=ann").as_deref(), Ok("ann"));
    assert_eq!(
        whoami(router.address, "wrong", "user=ann").as_deref(),
        Ok("ann")
    );
    assert_eq!(
        rows(
            &Client::connect(router.address, &[])
                .unwrap()
                .query("SELECT current_user")
                .unwrap()
        ),
        [[Some("postgres".to_owned())]]
    );
}

#[test]
fn reject_refuses_without_asking() {
    let router = router("[[auth]]\nuser = \"ann\"\nmethod = \"reject\"\n", &[]);
    let error = whoami(router.address, "secret", "user=ann").unwrap_err();
    assert!(
        error.contains(
            "FATAL:  an [[auth]] rule rejects connection for host \"127.0.0.1\", user \"ann\""
        ),
        "{error}"
    );
    let mut client = begin(router.address, "ann");
    let refusal = client.receive().unwrap();
    assert_eq!(
        (refusal.tag, refusal.field(b'C').as_deref()),
        (b'E', Some("28000"))
    );
    assert!(client.is_closed_by_server());
}

#[test]
fn the_first_rule_that_fits_decides() {
    let router = router(
        "[[auth]]\nuser = \"ann\"\naddress = \"10.0.0.0/8\"\nmethod = \"reject\"\n\
         [[auth]]\nuser = \"ann\"\ndatabase = \"other\"\nmethod = \"reject\"\n\
         [[auth]]\nuser = [\"ann\", \"old\"]\naddress = [\"10.0.0.0/8\", \"127.0.0.0/8\"]\nmethod = \"trust\"\n\
         [[auth]]\nuser = [\"ann\", \"bare\"]\nmethod = \"reject\"\n",
        &[],
    );
    for user in ["ann", "old", "postgres"] {
        assert_eq!(
            whoami(router.address, "", &format!("user={user}")).as_deref(),
            Ok(user)
        );
    }
    assert!(
        whoami(router.address, "", "user=bare")
            .unwrap_err()
            .contains("rule rejects")
    );
}

#[test]
fn scram_with_passwords_from_files() {
    let (router, _folder) = with_password_file("[[auth]]\nmethod = \"scram-sha-256\"\n");
    check_passwords(router.address, "ann");
}

#[test]
fn md5_with_passwords_from_files() {
    let (router, _folder) = with_password_file("[[auth]]\nmethod = \"md5\"\n");
    check_passwords(router.address, "ann");
}

#[test]
fn md5_with_a_stored_hash() {
    let port = cluster().local.shards()[0].primary.port();
    let mut server = Client::connect(SocketAddr::from(([127, 0, 0, 1], port)), &[]).unwrap();
    let stored = verifier_of(&rows(
        &server
            .query("SELECT rolpassword FROM pg_authid WHERE rolname = 'old'")
            .unwrap(),
    ));
    let users = format!("[[users]]\nname = \"old\"\nsecret = \"{stored}\"\npass_through = true\n");
    let md5 = router(&format!("{users}[[auth]]\nmethod = \"md5\"\n"), &[]);
    check_passwords(md5.address, "old");
    // SCRAM cannot be done with it, which looks like a wrong password.
    let scram = router(
        &format!("{users}[[auth]]\nmethod = \"scram-sha-256\"\n"),
        &[],
    );
    let error = whoami(scram.address, "secret", "user=old").unwrap_err();
    assert!(
        error.contains("password authentication failed for user \"old\""),
        "{error}"
    );
}

/// The servers ask scram_user for a proof, and the router has never seen the password.
#[test]
fn a_verifiers_user_passes_through_to_servers_with_the_same_verifier() {
    let users = format!(
        "[[users]]\nname = \"scram_user\"\nsecret = \"{}\"\npass_through = true\n",
        stored_verifier()
    );
    for method in ["scram-sha-256", "md5"] {
        let router = router(&format!("{users}[[auth]]\nmethod = \"{method}\"\n"), &[]);
        check_passwords(router.address, "scram_user");
    }
    // Without a proof to the router there is none for the servers.
    let trusting = router(&users, &[]);
    let error = whoami(trusting.address, "secret", "user=scram_user").unwrap_err();
    assert!(
        error.contains("FATAL") && !error.contains("SCRAM-SHA-256$"),
        "{error}"
    );
}

#[test]
fn auth_query_finds_users_on_a_shard() {
    let router = router(
        "[auth_query]\nshard = \"s2\"\n[[auth]]\nmethod = \"scram-sha-256\"\n",
        &[],
    );
    check_passwords(router.address, "ann");
    for user in ["expired", "group", "old"] {
        let error = whoami(router.address, "secret", &format!("user={user}")).unwrap_err();
        assert!(
            error.contains(&format!(
                "password authentication failed for user \"{user}\""
            )),
            "{error}"
        );
    }
    // A name is a value, never part of the query.
    let error = whoami(router.address, "secret", r"user='ann\' OR true --'").unwrap_err();
    assert!(
        error.contains("password authentication failed for user \"ann' OR true --\""),
        "{error}"
    );
}

#[test]
fn each_server_may_want_another_password() {
    let folder = router::local::Scratch::create().unwrap();
    let file = folder.path().join("pgpass");
    let lines: String = cluster()
        .local
        .shards()
        .iter()
        .map(|shard| {
            format!(
                "127.0.0.1:{}:*:operator:of {}\n",
                shard.primary.port(),
                shard.name
            )
        })
        .collect();
    std::fs::write(&file, lines).unwrap();
    let passfile = file.display();
    // Once for the router's own connections, once for those of sessions.
    let own = [
        "catalog.user=operator",
        &format!("catalog.passfile={passfile}"),
    ];
    let controlling = router("", &own);
    let ask = |sql: &str| psql(controlling.address, "", "user=postgres", sql);
    ask("SELECT pgweave.refresh()").unwrap();

    let sessions = [
        "servers.user=operator",
        &format!("servers.passfile={passfile}"),
    ];
    let serving = router("", &sessions);
    for shard in cluster().local.shards() {
        let sql = format!("SET pgweave.shard = '{}'; SELECT current_user", shard.name);
        let answer = psql(serving.address, "", "user=ann", &sql).unwrap();
        assert!(answer.ends_with("operator"), "{answer}");
    }
}

#[test]
fn certificates_name_their_user() {
    let certificates = Certificates::new();
    let strangers = Certificates::new();
    certificates.issue("ann", "ann");
    strangers.issue("ann", "ann");
    let rules = "[[auth]]\nuser = [\"ann\", \"old\"]\nmethod = \"cert\"\n";
    let router = router(&format!("{}{rules}", certificates.toml("allow")), &[]);
    let shown = |by: &Certificates, user: &str| {
        let (certificate, key) = (by.path("ann.pem"), by.path("ann.key"));
        format!(
            "user={user} sslmode=require sslcert={} sslkey={}",
            certificate.display(),
            key.display()
        )
    };
    assert_eq!(
        whoami(router.address, "", &shown(&certificates, "ann")).as_deref(),
        Ok("ann")
    );
    for conninfo in [
        shown(&certificates, "old"),
        "user=ann sslmode=require sslcert=/nonexistent".to_owned(),
        "user=ann sslmode=disable".to_owned(),
    ] {
        let error = whoami(router.address, "", &conninfo).unwrap_err();
        assert!(
            error.contains("FATAL:  certificate authentication failed for user"),
            "{conninfo}: {error}"
        );
    }
    assert!(
        whoami(router.address, "", &shown(&strangers, "ann")).is_err(),
        "signed by a stranger"
    );
}

fn begin(address: SocketAddr, user: &str) -> Client {
    let mut client = Client::open(address).unwrap();
    let mut out = BytesMut::new();
    encode::startup(&mut out, [("user", user), ("database", "postgres")]);
    client.send(&out).unwrap();
    client
}

fn initial(mechanism: &str, data: &str) -> BytesMut {
    let mut body = mechanism.as_bytes().to_vec();
    body.push(0);
    body.extend_from_slice(&(data.len() as u32).to_be_bytes());
    body.extend_from_slice(data.as_bytes());
    let mut out = BytesMut::new();
    encode::password(&mut out, &body);
    out
}

/// What the router shows of a user's verifier before any proof: salt and iterations.
fn shown(address: SocketAddr, user: &str) -> String {
    let mut client = begin(address, user);
    let offer = client.receive().unwrap();
    assert_eq!(
        offer,
        Message {
            tag: b'R',
            body: b"\0\0\0\x0aSCRAM-SHA-256\0\0".to_vec()
        }
    );
    client
        .send(&initial("SCRAM-SHA-256", "n,,n=,r=nonce"))
        .unwrap();
    let challenge = client.receive().unwrap();
    let text = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
    assert!(text.starts_with("r=nonce"), "{text}");
    text.split_once(",s=").unwrap().1.to_owned()
}

#[test]
fn what_is_shown_before_the_proof_does_not_tell_who_exists() {
    let (router, _folder) =
        with_password_file("[auth_query]\n[[auth]]\nmethod = \"scram-sha-256\"\n");
    // In the file, on the servers, on the servers with what is no verifier, and nowhere.
    let users = ["ann", "bob", "scram_user", "old", "bare", "nobody"];
    let first: Vec<String> = users
        .iter()
        .map(|user| shown(router.address, user))
        .collect();
    let again: Vec<String> = users
        .iter()
        .map(|user| shown(router.address, user))
        .collect();
    assert_eq!(first, again);
    for (index, one) in first.iter().enumerate() {
        assert_eq!(one.len(), first[0].len(), "{first:?}");
        assert!(one.ends_with(",i=4096"), "{first:?}");
        assert!(
            !first[..index].contains(one),
            "each has a salt of its own: {first:?}"
        );
    }
}

#[test]
fn broken_exchanges_are_refused() {
    let (router, _folder) = with_password_file("[[auth]]\nmethod = \"scram-sha-256\"\n");
    let password = |body: &[u8]| {
        let mut out = BytesMut::new();
        encode::password(&mut out, body);
        out
    };
    let mut query = BytesMut::new();
    encode::query(&mut query, b"SELECT 1");
    for (bytes, sqlstate) in [
        (initial("SCRAM-SHA-512", "n,,n=,r=x"), "08P01"),
        (
            initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=x"),
            "08P01",
        ),
        (
            initial("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=x"),
            "08P01",
        ),
        (initial("SCRAM-SHA-256", ""), "28P01"),
        (initial("SCRAM-SHA-256", "x,,n=,r=x"), "28P01"),
        (initial("SCRAM-SHA-256", "n,,m=extension,n=,r=x"), "28P01"),
        (password(b""), "08P01"),
        (password(b"SCRAM-SHA-256\0\0\0\0\x09n,,"), "08P01"),
        (password(b"SCRAM-SHA-256\0\x7f\xff\xff\xffn,,"), "08P01"),
        (query, "08P01"),
        (BytesMut::from(&b"p\x7f\xff\xff\xff"[..]), "08P01"),
        (BytesMut::from(&b"p\0\0\0\x03"[..]), "08P01"),
    ] {
        let mut client = begin(router.address, "ann");
        client.receive().unwrap();
        client.send(&bytes).unwrap();
        let refusal = client.receive().unwrap();
        assert_eq!(
            (refusal.tag, refusal.field(b'C').as_deref()),
            (b'E', Some(sqlstate)),
            "{bytes:?}: {refusal:?}"
        );
        assert_eq!(refusal.field(b'V').as_deref(), Some("FATAL"));
        assert!(client.is_closed_by_server());
    }
    // Proofs that are none: a wrong nonce, a wrong binding, no base64, a short proof.
    for last in [
        "c=biws,r=other,p=",
        "c=biws,r=NONCE,p=AAAA",
        "c=eSws,r=NONCE,p=AAAA",
        "c=biws,r=NONCE,p=%",
        "c=biws,r=NONCE",
    ] {
        let mut client = begin(router.address, "ann");
        client.receive().unwrap();
        client.send(&initial("SCRAM-SHA-256", "n,,n=,r=x")).unwrap();
        let challenge = client.receive().unwrap();
        let text = String::from_utf8(challenge.body[4..].to_vec()).unwrap();
        let nonce = text.split(',').next().unwrap().trim_start_matches("r=");
        client
            .send(&password(last.replace("NONCE", nonce).as_bytes()))
            .unwrap();
        let refusal = client.receive().unwrap();
        assert_eq!(
            refusal.field(b'C').as_deref(),
            Some("28P01"),
            "{last}: {refusal:?}"
        );
    }
}

#[test]
fn another_database_does_not_exist() {
    let trusting = router("", &[]);
    let mut client = Client::open(trusting.address).unwrap();
    let mut out = BytesMut::new();
    encode::startup(&mut out, [("user", "postgres"), ("database", "elsewhere")]);
    client.send(&out).unwrap();
    assert_eq!(client.receive().unwrap().body, [0; 4]);
    let refusal = client.receive().unwrap();
    assert_eq!(refusal.field(b'S').as_deref(), Some("FATAL"));
    assert_eq!(refusal.field(b'C').as_deref(), Some("3D000"));
    assert_eq!(
        refusal.field(b'M').as_deref(),
        Some("database \"elsewhere\" does not exist")
    );
    assert!(client.is_closed_by_server());

    // Who has not proven anything does not learn which databases there are.
    let (asking, _folder) = with_password_file("[[auth]]\nmethod = \"scram-sha-256\"\n");
    let refusal = |password| {
        let conninfo = "user=ann dbname=elsewhere";
        whoami(asking.address, password, conninfo).unwrap_err()
    };
    let wrong = refusal("wrong");
    assert!(
        wrong.ends_with("password authentication failed for user \"ann\"\n"),
        "{wrong}"
    );
    let right = refusal("secret");
    assert!(
        right.contains("database \"elsewhere\" does not exist"),
        "{right}"
    );
}

#[test]
fn no_more_clients_than_configured() {
    let router = router("", &["listen.max_clients=2"]);
    let first = Client::connect(router.address, &[]).unwrap();
    let second = Client::connect(router.address, &[]).unwrap();
    let error = Client::connect(router.address, &[])
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("53300") && error.contains("sorry, too many clients already"),
        "{error}"
    );
    drop(first);
    let started = Instant::now();
    while Client::connect(router.address, &[]).is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "nobody is let in for who left"
        );
    }
    drop(second);
}

#[test]
fn a_client_that_dawdles_is_closed() {
    let router = router(
        "[[auth]]\nmethod = \"scram-sha-256\"\n",
        &["listen.startup_timeout_ms=300"],
    );
    let started = Instant::now();
    // Silence, half a packet, and no answer to the request for a proof.
    let mut silent = Client::open(router.address).unwrap();
    let mut half = Client::open(router.address).unwrap();
    half.send(b"\0\0\0\x40\0\x03").unwrap();
    let mut unproven = begin(router.address, "ann");
    for client in [&mut silent, &mut half, &mut unproven] {
        assert!(client.is_closed_by_server());
    }
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_setting_that_a_server_rejects_ends_the_startup_as_there() {
    let router = router("", &[]);
    let server = SocketAddr::from(([127, 0, 0, 1], cluster().local.shards()[0].primary.port()));
    for (name, value) in [
        ("work_mem", "much"),
        ("no_such_setting", "1"),
        ("options", "-c work_mem=1MB -c datestyle=lunar"),
        ("role", "nobody_at_all"),
    ] {
        let refusal = |address| {
            let mut client = Client::open(address).unwrap();
            let mut out = BytesMut::new();
            let parameters = [("user", "ann"), ("database", "postgres"), (name, value)];
            encode::startup(&mut out, parameters);
            client.send(&out).unwrap();
            loop {
                let message = client.receive().unwrap();
                if message.tag == b'E' {
                    assert!(client.is_closed_by_server());
                    return [b'S', b'V', b'C', b'M'].map(|code| message.field(code));
                }
            }
        };
        let expected = refusal(server);
        assert_eq!(expected[1].as_deref(), Some("FATAL"));
        assert_eq!(refusal(router.address), expected, "{name}={value}");
    }
}

#[test]
fn those_who_authenticate_at_once_do_not_exceed_the_number_of_clients() {
    let folder = router::local::Scratch::create().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let toml = format!(
        "[[users]]\nname = \"ann\"\npassword_file = \"{}\"\npass_through = true\n[[auth]]\nmethod = \"md5\"\n",
        file.display()
    );
    let router = router(&toml, &["listen.max_clients=2"]);
    // All are asked for their password before any of them answers.
    let mut clients: Vec<Client> = (0..5).map(|_| begin(router.address, "ann")).collect();
    let salts: Vec<Vec<u8>> = clients
        .iter_mut()
        .map(|client| client.receive().unwrap().body[4..].to_vec())
        .collect();
    let mut server = Client::connect(
        SocketAddr::from(([127, 0, 0, 1], cluster().local.shards()[0].primary.port())),
        &[],
    )
    .unwrap();
    let mut answers = Vec::new();
    for (client, salt) in clients.iter_mut().zip(&salts) {
        let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = format!(
            "SELECT 'md5' || md5(convert_to(md5('secretann'), 'UTF8') || decode('{salt}', 'hex'))"
        );
        let hash = rows(&server.query(&sql).unwrap())[0][0].clone().unwrap();
        let mut message = b"p\0\0\0\x28".to_vec();
        message.extend_from_slice(hash.as_bytes());
        message.push(0);
        client.send(&message).unwrap();
        assert_eq!(client.receive().unwrap().body, [0; 4]);
        let last = loop {
            let message = client.receive().unwrap();
            if matches!(message.tag, b'E' | b'Z') {
                break message;
            }
        };
        answers.push(last.field(b'C'));
    }
    let refused = Some("53300".to_owned());
    assert_eq!(
        answers,
        [None, None, refused.clone(), refused.clone(), refused]
    );
}

#[test]
fn connections_that_prove_nothing_leave_room_for_sessions() {
    let router = router("", &["listen.max_unauthenticated=3"]);
    let mut settled = Client::connect(router.address, &[]).unwrap();
    let silent: Vec<Client> = (0..3)
        .map(|_| Client::open(router.address).unwrap())
        .collect();
    for _ in 0..3 {
        let refused = Client::connect(router.address, &[])
            .err()
            .unwrap()
            .to_string();
        assert!(
            refused.contains("53300") && refused.contains("authenticating"),
            "{refused}"
        );
    }
    // Who is in does not notice.
    assert_eq!(
        rows(&settled.query("SELECT 1").unwrap()),
        [[Some("1".to_owned())]]
    );
    drop(silent);
    let started = Instant::now();
    while Client::connect(router.address, &[]).is_err() {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "nobody is let in for who left"
        );
    }
    // A crowd that goes on to authenticate is let in, however large.
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let address = router.address;
            std::thread::spawn(move || Client::connect(address, &[]).map(drop))
        })
        .collect();
    for member in crowd {
        member.join().unwrap().unwrap();
    }
}
