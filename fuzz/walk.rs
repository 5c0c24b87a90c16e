//! Every decoder of the wire protocol over arbitrary bytes, with what must hold whatever the bytes are. The fuzz targets
//! and the corpus test call this.

use bytes::BytesMut;
use router::wire::frame::{Frame, Limits, next_frame, row_run, total_length};
use router::wire::{Reader, backend, encode, frontend, startup};

/// Of tag and length.
const HEADER_BYTES: usize = 5;

/// A stream of messages from a client.
pub fn client(mut stream: &[u8]) {
    let limits = Limits::client(usize::MAX);
    while let Some(frame) = check_frame(stream, &limits) {
        client_body(frame.tag, &stream[HEADER_BYTES..frame.total]);
        stream = &stream[frame.total..];
    }
}

/// A stream of messages from a server.
pub fn server(stream: &[u8]) {
    let limits = Limits::server();
    let mut rest = stream;
    let mut found = Vec::new();
    while let Some(frame) = check_frame(rest, &limits) {
        let body = &rest[HEADER_BYTES..frame.total];
        server_body(frame.tag, body);
        found.push((frame.tag, body));
        rest = &rest[frame.total..];
    }
    let whole = &stream[..stream.len() - rest.len()];
    assert!(backend::messages(whole).eq(found.iter().copied()));
    // A run of rows is all that goes through without being looked at: it must end where the rows do.
    let rows: usize = found
        .iter()
        .take_while(|(tag, _)| matches!(tag, b'D' | b'd'))
        .map(|(_, body)| HEADER_BYTES + body.len())
        .sum();
    assert_eq!(row_run(whole), rows);
    let _ = backend::first_value(whole);
    let _ = backend::last_tag(whole);
}

/// The first packet of a connection, with and without its length.
pub fn startup(packet: &[u8]) {
    startup_body(packet);
    if let Some(body) = packet.get(4..) {
        startup_body(body);
    }
}

fn client_body(tag: u8, body: &[u8]) {
    match tag {
        b'Q' => drop(frontend::parse_query(body)),
        b'P' => drop(frontend::parse_parse(body).map(|parse| check_parse(&parse, body))),
        b'B' => drop(frontend::parse_bind(body).map(|bind| check_bind(&bind, body))),
        b'D' => drop(frontend::parse_describe(body)),
        b'E' => drop(frontend::parse_execute(body)),
        b'C' => drop(frontend::parse_close(body)),
        _ => {}
    }
}

fn server_body(tag: u8, body: &[u8]) {
    match tag {
        b'E' | b'N' => check_report(body),
        b'S' => drop(backend::parse_parameter_status(body)),
        b'K' => drop(backend::parse_backend_key_data(body)),
        b'C' => drop(backend::parse_command_complete(body)),
        _ => {}
    }
}

fn startup_body(body: &[u8]) {
    let mut reader = Reader(body);
    let Ok(version) = reader.u32() else { return };
    if let Ok(packet) = startup::read_startup(version, reader) {
        assert!(!packet.user.is_empty() && !packet.database.is_empty());
        assert!(matches!(packet.minor, 0 | 2) && packet.minor <= packet.requested_minor);
    }
}

/// The next whole message, which never reaches beyond the stream.
fn check_frame(stream: &[u8], limits: &Limits) -> Option<Frame> {
    let frame = next_frame(stream, limits).ok()??;
    assert!((HEADER_BYTES..=stream.len()).contains(&frame.total));
    assert_eq!(total_length(stream), Some(frame.total));
    Some(frame)
}

/// A message that is accepted has no byte outside its fields: written again from them, it is itself.
fn check_parse(parse: &frontend::Parse<'_>, body: &[u8]) {
    let types: Vec<u32> = parse.parameter_types().collect();
    let mut out = BytesMut::new();
    encode::parse(&mut out, parse.name, parse.sql, &types);
    assert_eq!(&out[HEADER_BYTES..], body);
}

fn check_bind(bind: &frontend::Bind<'_>, body: &[u8]) {
    let mut out = BytesMut::new();
    frontend::rewrite_bind(&mut out, bind, bind.statement);
    assert_eq!(&out[HEADER_BYTES..], body);
    let count = (0..u16::MAX)
        .take_while(|&index| bind.parameter(index).is_some())
        .count();
    assert!(count * 4 <= body.len());
    for index in 0..=count.min(usize::from(u16::MAX)) {
        let _ = bind.parameter_is_binary(index as u16);
        let _ = bind.result_format(index);
    }
    let mut out = BytesMut::new();
    frontend::rewrite_bind(&mut out, bind, b"another");
    let again = frontend::parse_bind(&out[HEADER_BYTES..]);
    assert!(again.is_ok_and(|again| again.statement == b"another" && again.portal == bind.portal));
}

/// A rewritten report is a report, with the fields it had.
fn check_report(body: &[u8]) {
    let fields = backend::error_fields(body);
    let sqlstate = backend::sqlstate(body);
    let _ = backend::is_fatal(body);
    let mut out = BytesMut::new();
    if backend::rewrite_error(&mut out, body, None, 0).is_ok() {
        assert_eq!(total_length(&out), Some(out.len()));
        assert!(backend::fields(&out[HEADER_BYTES..]).eq(backend::fields(body)));
    }
    let mut out = BytesMut::new();
    if backend::rewrite_error(&mut out, body, Some("shard"), -3).is_ok() {
        assert_eq!(total_length(&out), Some(out.len()));
        // A position is what a rewritten report may have another of.
        let mut again = backend::error_fields(&out[HEADER_BYTES..]);
        again.position = fields.position;
        assert_eq!(again, fields);
        assert_eq!(backend::sqlstate(&out[HEADER_BYTES..]), sqlstate);
    }
}
