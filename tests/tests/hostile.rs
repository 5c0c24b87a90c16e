//! Broken and hostile clients: each ends in an error or a closed connection, never in a hang, and another client of
//! the same server connection notices nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tests::client::{Client, Message, rows};
use tests::cluster::Options;
use tests::shared::Shared;

static SHARED: Shared = Shared::new(|| Options {
    shards: 1,
    settings: vec![
        "pool.max_size=1".to_owned(),
        "listen.startup_timeout_ms=1000".to_owned(),
        "listen.max_message_bytes=1000000".to_owned(),
    ],
    ..Options::default()
});

fn router() -> SocketAddr {
    SHARED.cluster().router.address
}

/// Another client, over the only server connection there is.
fn bystander_is_well() {
    let mut bystander = Client::connect(router(), &[]).unwrap();
    let answer = bystander
        .query("SELECT 'well', current_setting('application_name')")
        .unwrap();
    assert_eq!(
        rows(&answer),
        [[Some("well".to_owned()), Some(String::new())]],
        "{answer:?}"
    );
    let tags: Vec<u8> = answer.iter().map(|message| message.tag).collect();
    assert_eq!(tags, b"TDCZ", "{answer:?}");
    let answer = bystander
        .extended("SELECT $1::int", &[Some(b"5")], false)
        .unwrap();
    assert_eq!(rows(&answer), [[Some("5".to_owned())]], "{answer:?}");
}

/// Sends raw bytes as a whole connection; returns all that comes back until the router closes it. Fails if the router
/// does not.
fn connection(bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(router()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(bytes).unwrap();
    until_closed(&mut stream, bytes)
}

fn until_closed(stream: &mut TcpStream, sent: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return answer,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return answer,
            Err(error) => panic!(
                "{error} after {:?}: the connection was not closed, answer {answer:?}",
                &sent[..sent.len().min(80)]
            ),
        }
    }
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let mut packet = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
    packet.extend_from_slice(&(3u32 << 16).to_be_bytes());
    packet.extend_from_slice(parameters);
    packet
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    frame_of_length(tag, body.len() as u32 + 4, body)
}

fn frame_of_length(tag: u8, length: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Sends bytes in an established session, then a Sync, a query and the end of the stream. Returns what came back.
fn session(bytes: &[u8]) -> Vec<Message> {
    let mut client = Client::connect(router(), &[]).unwrap();
    let mut all = bytes.to_vec();
    all.extend_from_slice(&frame(b'S', b""));
    all.extend_from_slice(&frame(b'Q', b"SELECT 'after'\0"));
    all.extend_from_slice(&frame(b'X', b""));
    // The router may close before it has read everything.
    let _ = client.send(&all);
    let mut messages = Vec::new();
    loop {
        match client.receive() {
            Ok(message) => messages.push(message),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("a hang after {bytes:?}: {messages:?}")
            }
            Err(_) => return messages,
        }
    }
}

fn errors(messages: &[Message]) -> Vec<String> {
    messages
        .iter()
        .filter(|message| message.tag == b'E')
        .filter_map(|message| message.field(b'C'))
        .collect()
}

const TAGS: &[u8] = b"QPBDECHSXFdcfp";

#[test]
fn lengths_below_four() {
    for &tag in TAGS {
        for length in 0..4u32 {
            let messages = session(&frame_of_length(tag, length, b""));
            assert_eq!(
                errors(&messages),
                ["08P01"],
                "{} {length}: {messages:?}",
                char::from(tag)
            );
        }
    }
    bystander_is_well();
}

#[test]
fn lengths_beyond_the_limit() {
    for &tag in TAGS {
        for length in [0x7fff_ffff, 0xffff_ffff, 0x8000_0000, 0x4000_0000u32] {
            let messages = session(&frame_of_length(tag, length, b"abc"));
            assert_eq!(
                errors(&messages),
                ["08P01"],
                "{} {length}: {messages:?}",
                char::from(tag)
            );
        }
    }
    let messages = session(&frame_of_length(b'Q', 1_000_001, b""));
    assert_eq!(errors(&messages), ["08P01"], "{messages:?}");
    bystander_is_well();
}

#[test]
fn lengths_beyond_the_body() {
    for &tag in TAGS {
        let mut client = Client::connect(router(), &[]).unwrap();
        client.send(&frame_of_length(tag, 500, b"abc")).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(client.is_closed_by_server(), "{}", char::from(tag));
    }
    bystander_is_well();
}

#[test]
fn unknown_tags() {
    for tag in 0..=255u8 {
        if TAGS.contains(&tag) {
            continue;
        }
        let messages = session(&frame(tag, b"abc\0"));
        assert_eq!(errors(&messages), ["08P01"], "{tag}: {messages:?}");
    }
    bystander_is_well();
}

#[test]
fn bodies_that_make_no_sense() {
    let bodies: &[(u8, &[u8])] = &[
        (b'Q', b""),
        (b'Q', b"SELECT 1"),
        (b'Q', b"SELECT 1\0SELECT 2\0"),
        (b'Q', b"\0\0"),
        (b'P', b""),
        (b'P', b"\0"),
        (b'P', b"\0SELECT 1"),
        (b'P', b"\0SELECT 1\0"),
        (b'P', b"\0SELECT 1\0\0"),
        (b'P', b"\0SELECT 1\0\0\x01"),
        (b'P', b"\0SELECT 1\0\0\x02\0\0\0\x17"),
        (b'P', b"\0SELECT 1\0\xff\xff"),
        (b'P', b"\0SELECT 1\0\0\0x"),
        (b'B', b""),
        (b'B', b"\0"),
        (b'B', b"\0\0"),
        (b'B', b"\0\0\0\0"),
        (b'B', b"\0\0\0\0\0\0"),
        (b'B', b"\0\0\xff\xff\0\0\0\0"),
        (b'B', b"\0\0\0\0\xff\xff\0\0"),
        (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0"),
        (b'B', b"\0\0\0\0\0\x01\x80\0\0\0\0\0"),
        (b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"),
        (b'B', b"\0\0\0\0\0\0\xff\xff"),
        (b'B', b"\0\0\0\0\0\0\0\0x"),
        (b'B', b"\0\0\0\x02\0\0\0\0\0\0\0\0"),
        (b'D', b""),
        (b'D', b"S"),
        (b'D', b"Sabc"),
        (b'D', b"X\0"),
        (b'D', b"\0\0"),
        (b'D', b"S\0x"),
        (b'E', b""),
        (b'E', b"\0"),
        (b'E', b"\0\0\0"),
        (b'E', b"abc"),
        (b'E', b"\0\0\0\0\0x"),
        (b'C', b""),
        (b'C', b"P"),
        (b'C', b"Y\0"),
        (b'C', b"P\0\0"),
        (b'H', b"x"),
        (b'S', b"x"),
    ];
    for (tag, body) in bodies {
        let messages = session(&frame(*tag, body));
        let found = errors(&messages);
        assert!(
            found == ["08P01"],
            "{} {body:?}: {messages:?}",
            char::from(*tag)
        );
    }
    bystander_is_well();
}

#[test]
fn a_broken_batch_does_nothing() {
    let mut bytes = frame(b'P', b"s\0SELECT 'ran'\0\0\0");
    bytes.extend(frame(b'B', b"\0s\0\0\0\0\0\xff\xff"));
    bytes.extend(frame(b'E', b"\0\0\0\0\0"));
    let messages = session(&bytes);
    assert_eq!(errors(&messages), ["08P01"]);
    let values = rows(&messages);
    assert_eq!(values, [[Some("after".to_owned())]], "{messages:?}");
    bystander_is_well();
}

#[test]
fn messages_out_of_order() {
    // Nothing prepared, nothing bound.
    for (bytes, sqlstate) in [
        (frame(b'B', b"\0nosuch\0\0\0\0\0\0\0"), "26000"),
        (frame(b'E', b"nosuch\0\0\0\0\0"), "34000"),
        (frame(b'D', b"Snosuch\0"), "26000"),
        (frame(b'D', b"Pnosuch\0"), "34000"),
        (frame(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), "0A000"),
    ] {
        let messages = session(&bytes);
        assert_eq!(errors(&messages), [sqlstate], "{messages:?}");
        assert_eq!(
            rows(&messages),
            [[Some("after".to_owned())]],
            "{messages:?}"
        );
    }
    // Data without COPY is ignored, as PostgreSQL does.
    for bytes in [frame(b'd', b"1\n"), frame(b'c', b""), frame(b'f', b"no\0")] {
        let messages = session(&bytes);
        assert!(errors(&messages).is_empty(), "{messages:?}");
        assert_eq!(rows(&messages), [[Some("after".to_owned())]]);
    }
    // A password when nobody has asked for one; a startup packet in a session.
    for bytes in [frame(b'p', b"secret\0"), startup(b"user\0postgres\0\0")] {
        let messages = session(&bytes);
        assert_eq!(errors(&messages), ["08P01"], "{messages:?}");
        assert!(rows(&messages).is_empty());
    }
    bystander_is_well();
}

#[test]
fn a_query_in_the_middle_of_a_copy() {
    let mut bytes = frame(b'Q', b"COPY (SELECT 1) TO STDOUT\0");
    bytes.extend(frame(
        b'Q',
        b"CREATE TEMP TABLE t (a int); COPY t FROM STDIN\0",
    ));
    bytes.extend(frame(b'd', b"1\n"));
    bytes.extend(frame(b'Q', b"SELECT 'within'\0"));
    let messages = session(&bytes);
    assert_eq!(errors(&messages), ["08P01", "08P01"], "{messages:?}");
    assert!(rows(&messages).is_empty(), "{messages:?}");
    bystander_is_well();
}

#[test]
fn startup_packets() {
    let mut packets: Vec<Vec<u8>> = Vec::new();
    // Lengths.
    for length in [0u32, 1, 3, 4, 7, 10_001, 0x7fff_ffff, 0xffff_ffff] {
        packets.push(
            [
                &length.to_be_bytes()[..],
                &(3u32 << 16).to_be_bytes(),
                b"user\0postgres\0\0",
            ]
            .concat(),
        );
    }
    // Versions.
    for version in [
        0u32,
        1 << 16,
        2 << 16,
        4 << 16,
        9999 << 16,
        0xffff_ffff,
        80877101,
    ] {
        let mut packet = startup(b"user\0postgres\0\0");
        packet[4..8].copy_from_slice(&version.to_be_bytes());
        packets.push(packet);
    }
    // Parameters.
    for parameters in [
        &b""[..],
        b"\0",
        b"user",
        b"user\0",
        b"user\0postgres",
        b"user\0postgres\0",
        b"user\0postgres\0\0x",
        b"user\0postgres\0database\0",
        b"user\0postgres\0database\0\xff\xfe\0\0",
        b"user\0\0\0",
        b"database\0postgres\0\0",
        b"user\0postgres\0replication\0database\0\0",
        b"user\0postgres\0replication\0true\0\0",
        b"user\0postgres\0options\0--\0\0",
        b"user\0postgres\0options\0-c\0\0",
        b"user\0postgres\0options\0-z\0\0",
        b"user\0postgres\0database\0nosuch\0\0",
        b"user\0postgres\0nosuchsetting\x001\0\0",
        b"user\0postgres\0work_mem\0much\0\0",
        b"user\0nosuchuser\0database\0postgres\0\0",
    ] {
        packets.push(startup(parameters));
    }
    // Cancel requests, well and badly formed.
    for key in [
        &b""[..],
        b"\0\0\0\x01",
        b"\0\0\0\x01abcd",
        b"\0\0\0\x01abcde",
        &[7u8; 300],
    ] {
        let mut packet = (key.len() as u32 + 8).to_be_bytes().to_vec();
        packet.extend_from_slice(&80877102u32.to_be_bytes());
        packet.extend_from_slice(key);
        packets.push(packet);
    }
    // Other tongues.
    packets.push(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
    packets.push(frame(b'Q', b"SELECT 1\0"));
    packets.push(frame(b'p', b"secret\0"));
    packets.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
    packets.push(vec![0u8; 64]);
    packets.push(vec![0xff; 64]);
    for packet in packets {
        let answer = connection(&packet);
        // Settings are looked at after authentication, as on PostgreSQL.
        let answer = answer
            .strip_prefix(b"R\0\0\0\x08\0\0\0\0")
            .unwrap_or(&answer);
        assert!(
            answer.is_empty() || answer[0] == b'E',
            "{:?} was answered by {:?}",
            String::from_utf8_lossy(&packet),
            String::from_utf8_lossy(answer)
        );
    }
    bystander_is_well();
}

#[test]
fn truncated_startup_packets() {
    let whole = startup(b"user\0postgres\0database\0postgres\0\0");
    for end in 0..whole.len() {
        let mut stream = TcpStream::connect(router()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        stream.write_all(&whole[..end]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!(until_closed(&mut stream, &whole[..end]).is_empty(), "{end}");
    }
    bystander_is_well();
}

#[test]
fn requests_for_encryption() {
    let ssl = [0, 0, 0, 8, 4, 210, 22, 47];
    let gss = [0, 0, 0, 8, 4, 210, 22, 48];
    // Refused, then garbage.
    let answer = connection(&[&ssl[..], b"garbage that is no startup packet"].concat());
    assert_eq!(answer.first(), Some(&b'N'));
    assert!(answer.len() == 1 || answer[1] == b'E', "{answer:?}");
    let answer = connection(&[&gss[..], &[0xff; 20]].concat());
    assert_eq!(answer.first(), Some(&b'N'));
    // Once each is in order, in either order; twice is not.
    for (requests, refusals) in [
        ([ssl, ssl].concat(), 1),
        ([gss, gss].concat(), 1),
        ([ssl, gss, ssl].concat(), 2),
    ] {
        let answer = connection(&requests);
        assert_eq!(
            answer.iter().take_while(|byte| **byte == b'N').count(),
            refusals,
            "{answer:?}"
        );
        assert!(
            answer.len() == refusals || answer[refusals] == b'E',
            "{answer:?}"
        );
    }
    // A refused client may go on without.
    let mut client = Client::open(router()).unwrap();
    client.send(&[&ssl[..], &gss[..]].concat()).unwrap();
    client.send(&startup(b"user\0postgres\0\0")).unwrap();
    client.send(&frame(b'Q', b"SELECT 'plain'\0")).unwrap();
    client.skip(2).unwrap();
    client.until_ready().unwrap();
    assert_eq!(
        rows(&client.until_ready().unwrap()),
        [[Some("plain".to_owned())]]
    );
    bystander_is_well();
}

#[test]
fn silence_ends_a_startup() {
    let whole = startup(b"user\0postgres\0database\0postgres\0\0");
    for said in [0, 1, 4, 9, whole.len() - 1] {
        // No time-out is set on this side: the router must be the one who gives up.
        let mut stream = TcpStream::connect(router()).unwrap();
        stream.write_all(&whole[..said]).unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(
            end.is_ok()
                || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
        );
        assert!(answer.is_empty() || answer[0] == b'E', "{answer:?}");
    }
    bystander_is_well();
}

#[test]
fn a_client_that_disappears_in_mid_message() {
    let whole = frame(b'Q', b"SELECT pg_sleep(0), 'never run'\0");
    for end in 1..whole.len() {
        let mut client = Client::connect(router(), &[]).unwrap();
        client.send(&whole[..end]).unwrap();
    }
    bystander_is_well();
}

#[test]
fn statements_nested_beyond_reason() {
    let depth = 50_000;
    for sql in [
        format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth)),
        format!("SELECT {}1", "-".repeat(2).repeat(depth)),
        format!("SELECT {}1", "NOT ".repeat(depth)),
        format!("SELECT 1{}", "+1".repeat(depth)),
        format!("SELECT {}1{}", "ARRAY[".repeat(depth), "]".repeat(depth)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(20_000)),
        format!("{}1{}", "SELECT (".repeat(20_000), ")".repeat(20_000)),
    ] {
        let mut client = Client::connect(router(), &[]).unwrap();
        let answer = client.query(&sql).unwrap();
        assert_eq!(answer.last().map(|message| message.tag), Some(b'Z'));
        let answer = client.query("SELECT 'alive'").unwrap();
        assert_eq!(rows(&answer), [[Some("alive".to_owned())]]);
    }
    bystander_is_well();
}

#[test]
fn random_bytes() {
    use rand::{Rng, SeedableRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for _ in 0..300 {
        let mut bytes = Vec::new();
        for _ in 0..random.random_range(1..6) {
            let tag = TAGS[random.random_range(0..TAGS.len())];
            let body: Vec<u8> = (0..random.random_range(0..40))
                .map(|_| random.random_range(0..128))
                .collect();
            bytes.extend(frame(tag, &body));
        }
        session(&bytes);
    }
    bystander_is_well();
}
