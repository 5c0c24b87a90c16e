//! Plays one script on both sides and compares after each statement.

use std::collections::BTreeMap;
use std::io;

use bytes::{BufMut, BytesMut};
use router::wire::encode;

use super::script::{Action, Parameter, Script, Statement};
use super::{Difference, Mode, Reason, Report, Sides};
use crate::client::{Client, Message};
use crate::endpoint::Endpoint;
use crate::transcript;

/// Oids from here on belong to objects that users made; they differ from server to server.
const FIRST_USER_OID: u32 = 16_384;

/// After so many differences a script has said enough.
const ENOUGH: usize = 40;

/// Both sides within a script.
pub(super) struct Player<'a> {
    sides: &'a Sides,
    script: &'a Script,
    mode: Mode,
    schema: String,
    sessions: BTreeMap<String, Session>,
    current: String,
    report: Report,
}

/// One session on each side.
struct Session {
    postgres: Client,
    pgweave: Client,
    /// PostgreSQL's transaction state after the last statement: `I`, `T` or `E`.
    status: u8,
}

impl Player<'_> {
    /// Plays the script to its end, or until nothing sensible can follow.
    pub fn play(sides: &Sides, script: &Script, mode: Mode) -> Report {
        let mut player = Player {
            sides,
            script,
            mode,
            schema: format!("{}_{mode}", script.name),
            sessions: BTreeMap::new(),
            current: "a".to_owned(),
            report: Report::default(),
        };
        if let Err((line, sql, why)) = player.play_all() {
            player.differ(line, &sql, Reason::Broken(why));
        }
        player.report
    }

    fn play_all(&mut self) -> Result<(), (usize, String, String)> {
        let schema = format!("CREATE SCHEMA {}", self.schema);
        self.open(true).map_err(|error| (0, schema, error))?;
        for step in &self.script.steps {
            let failed = |sql: &str, why: String| (step.line, sql.to_owned(), why);
            match &step.action {
                Action::Connect(name) => {
                    self.current.clone_from(name);
                    if !self.sessions.contains_key(name) {
                        self.open(false).map_err(|why| failed("connect", why))?;
                    }
                }
                Action::Disconnect(name) => {
                    self.sessions.remove(name);
                    "a".clone_into(&mut self.current);
                }
                Action::SetUp(_) if self.sides.stand_in => {}
                Action::SetUp(sql) => self.set_up(sql).map_err(|why| failed(sql, why))?,
                Action::Run(statement) if !statement.runs_in(self.mode) => {}
                Action::Run(statement) => {
                    let statement = self.substituted(statement);
                    self.run(step.line, &statement)
                        .map_err(|error| failed(&statement.sql, error.to_string()))?;
                }
            }
            if self.report.differences.len() >= ENOUGH {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Opens the current session, with the run's schema in front of its search path.
    fn open(&mut self, create_schema: bool) -> Result<(), String> {
        let open = |endpoint: &Endpoint| -> Result<Client, String> {
            let mut client = endpoint.client().map_err(|error| error.to_string())?;
            if create_schema {
                succeed(&mut client, &format!("CREATE SCHEMA {}", self.schema))?;
            }
            succeed(
                &mut client,
                &format!("SET search_path TO {}, public", self.schema),
            )?;
            Ok(client)
        };
        let session = Session {
            postgres: open(&self.sides.postgres)?,
            pgweave: open(&self.sides.pgweave)?,
            status: b'I',
        };
        self.sessions.insert(self.current.clone(), session);
        Ok(())
    }

    fn set_up(&mut self, sql: &str) -> Result<(), String> {
        let sql = sql.replace(":schema", &self.schema);
        let session = self.sessions.get_mut(&self.current);
        let session = session.ok_or("the session was disconnected")?;
        succeed(&mut session.pgweave, &sql)
    }

    fn substituted(&self, statement: &Statement) -> Statement {
        let mut statement = statement.clone();
        statement.sql = statement.sql.replace(":schema", &self.schema);
        statement
    }

    fn run(&mut self, line: usize, statement: &Statement) -> io::Result<()> {
        let session = self.sessions.get_mut(&self.current);
        let session = session.ok_or_else(|| io::Error::other("the session was disconnected"))?;
        if let Some(sqlstate) = &statement.refusal {
            if self.sides.stand_in {
                return Ok(());
            }
            let answer = ask(&mut session.pgweave, statement, self.mode)?;
            // PostgreSQL would have run it. Its transaction has to fail all the same for both to go on alike.
            if session.status == b'T' {
                session.status = status(&session.postgres.query("SELECT 1 / 0")?);
            }
            match error(&answer) {
                Some(error) if error.field(b'C').as_ref() == Some(sqlstate) => {
                    self.report.refused += 1;
                }
                _ => {
                    let reason = Reason::NotRefused(lines(&answer, false));
                    self.differ(line, &statement.sql, reason);
                }
            }
            return Ok(());
        }
        let expected = ask(&mut session.postgres, statement, self.mode)?;
        session.status = status(&expected);
        let found = ask(&mut session.pgweave, statement, self.mode)?;
        self.report.compared += 1;
        if statement.differs {
            return Ok(());
        }
        let unsupported = |answer: &[Message]| {
            error(answer).is_some_and(|error| error.field(b'C').as_deref() == Some("0A000"))
        };
        if unsupported(&found) && !unsupported(&expected) {
            let why = error(&found).map(transcript::line).unwrap_or_default();
            self.differ(line, &statement.sql, Reason::Refused(why));
            return Ok(());
        }
        let postgres = lines(&expected, statement.unordered);
        let pgweave = lines(&found, statement.unordered);
        if postgres != pgweave {
            self.differ(line, &statement.sql, Reason::Answers { postgres, pgweave });
        }
        Ok(())
    }

    fn differ(&mut self, line: usize, sql: &str, reason: Reason) {
        self.report.differences.push(Difference {
            script: self.script.name.clone(),
            line,
            mode: self.mode,
            sql: sql.to_owned(),
            reason,
        });
    }
}

/// Sends a statement and hears the whole answer.
fn ask(client: &mut Client, statement: &Statement, mode: Mode) -> io::Result<Vec<Message>> {
    let data = statement.data.as_deref();
    if mode == Mode::Simple {
        let mut out = BytesMut::new();
        encode::query(&mut out, statement.sql.as_bytes());
        client.send(&out)?;
        return hear(client, |client| match data {
            Some(data) => client.send(&copy_messages(data)),
            None => client.send(&frame(b'f', b"no data\0")),
        });
    }
    let none = Vec::new();
    let parameters = statement.parameters.as_ref().unwrap_or(&none);
    let types: Vec<u32> = parameters
        .iter()
        .map(|parameter| parameter.type_name.as_deref().map_or(0, type_oid))
        .collect();
    let mut out = BytesMut::new();
    encode::parse(&mut out, b"", statement.sql.as_bytes(), &types);
    encode::describe(&mut out, b'S', b"");
    bind(&mut out, parameters, mode);
    encode::describe(&mut out, b'P', b"");
    encode::execute(&mut out, b"", statement.limit.unwrap_or(0));
    if statement.limit.is_none() {
        encode::sync(&mut out);
        client.send(&out)?;
        // As libpq does it: a server that copies ignores the first Sync.
        return hear(client, |client| {
            let mut copied = match data {
                Some(data) => copy_messages(data),
                None => frame(b'f', b"no data\0"),
            };
            copied.extend(frame(b'S', b""));
            client.send(&copied)
        });
    }
    out.put_slice(&frame(b'H', b""));
    client.send(&out)?;
    hear_in_portions(client, statement.limit.unwrap_or(0))
}

/// Everything up to ReadyForQuery. `copy` answers a CopyInResponse.
fn hear(
    client: &mut Client,
    mut copy: impl FnMut(&mut Client) -> io::Result<()>,
) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    loop {
        let message = client.receive()?;
        let tag = message.tag;
        messages.push(message);
        match tag {
            b'Z' => return Ok(messages),
            b'G' => copy(client)?,
            _ => {}
        }
    }
}

/// Executes again as often as the portal is suspended, then syncs.
fn hear_in_portions(client: &mut Client, rows: i32) -> io::Result<Vec<Message>> {
    let mut messages = Vec::new();
    loop {
        let message = client.receive()?;
        let tag = message.tag;
        messages.push(message);
        let mut out = BytesMut::new();
        match tag {
            b's' => {
                encode::execute(&mut out, b"", rows);
                out.put_slice(&frame(b'H', b""));
            }
            b'C' | b'E' | b'I' => encode::sync(&mut out),
            b'Z' => return Ok(messages),
            _ => continue,
        }
        client.send(&out)?;
    }
}

fn bind(out: &mut BytesMut, parameters: &[Parameter], mode: Mode) {
    let mut body = BytesMut::new();
    // The unnamed portal and statement.
    body.put_slice(&[0, 0]);
    let values: Vec<(i16, Option<Vec<u8>>)> = parameters
        .iter()
        .map(|parameter| match (&parameter.value, &parameter.type_name) {
            (None, _) => (0, None),
            (Some(text), Some(name)) if mode == Mode::Binary => match binary(name, text) {
                Some(bytes) => (1, Some(bytes)),
                None => (0, Some(text.clone().into_bytes())),
            },
            (Some(text), _) => (0, Some(text.clone().into_bytes())),
        })
        .collect();
    body.put_u16(values.len() as u16);
    for (format, _) in &values {
        body.put_i16(*format);
    }
    body.put_u16(values.len() as u16);
    for (_, value) in &values {
        match value {
            Some(value) => {
                body.put_u32(value.len() as u32);
                body.put_slice(value);
            }
            None => body.put_i32(-1),
        }
    }
    body.put_u16(1);
    body.put_u16(u16::from(mode == Mode::Binary));
    out.put_slice(&frame(b'B', &body));
}

/// 0, which lets the server decide, for a type that is not in this list.
fn type_oid(name: &str) -> u32 {
    match name {
        "bool" => 16,
        "bytea" => 17,
        "int8" => 20,
        "int2" => 21,
        "int4" => 23,
        "text" => 25,
        "json" => 114,
        "float8" => 701,
        "int4[]" => 1007,
        "text[]" => 1009,
        "int8[]" => 1016,
        "bpchar" => 1042,
        "varchar" => 1043,
        "date" => 1082,
        "timestamp" => 1114,
        "timestamptz" => 1184,
        "numeric" => 1700,
        "uuid" => 2950,
        _ => 0,
    }
}

/// The binary form of a value, for the types whose form is simple.
fn binary(type_name: &str, text: &str) -> Option<Vec<u8>> {
    Some(match type_name {
        "bool" => vec![u8::from(text == "true")],
        "int2" => text.parse::<i16>().ok()?.to_be_bytes().to_vec(),
        "int4" => text.parse::<i32>().ok()?.to_be_bytes().to_vec(),
        "int8" => text.parse::<i64>().ok()?.to_be_bytes().to_vec(),
        "float8" => text.parse::<f64>().ok()?.to_be_bytes().to_vec(),
        "text" | "varchar" | "bpchar" => text.as_bytes().to_vec(),
        "uuid" => {
            let digits = text.replace('-', "");
            u128::from_str_radix(&digits, 16)
                .ok()?
                .to_be_bytes()
                .to_vec()
        }
        "int4[]" | "int8[]" => int_array(type_name == "int8[]", text)?,
        _ => return None,
    })
}

/// `1 2 3` as a one-dimensional array.
fn int_array(wide: bool, text: &str) -> Option<Vec<u8>> {
    let values: Vec<i64> = text
        .trim_matches(['{', '}'])
        .split([' ', ','])
        .filter(|value| !value.is_empty())
        .map(|value| value.parse().ok())
        .collect::<Option<_>>()?;
    let mut bytes = Vec::new();
    let element: u32 = if wide { 20 } else { 23 };
    for word in [1, 0, element, values.len() as u32, 1] {
        bytes.put_u32(word);
    }
    for value in values {
        if wide {
            bytes.put_u32(8);
            bytes.put_i64(value);
        } else {
            bytes.put_u32(4);
            bytes.put_i32(value.try_into().ok()?);
        }
    }
    Some(bytes)
}

fn copy_messages(data: &str) -> Vec<u8> {
    let mut out = frame(b'd', data.as_bytes());
    out.extend(frame(b'c', b""));
    out
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.put_u32(body.len() as u32 + 4);
    out.put_slice(body);
    out
}

fn succeed(client: &mut Client, sql: &str) -> Result<(), String> {
    let answer = client.query(sql).map_err(|error| error.to_string())?;
    match error(&answer) {
        Some(error) => Err(transcript::line(error)),
        None => Ok(()),
    }
}

fn error(answer: &[Message]) -> Option<&Message> {
    answer.iter().find(|message| message.tag == b'E')
}

fn status(answer: &[Message]) -> u8 {
    let last = answer.last().and_then(|message| message.body.first());
    last.copied().unwrap_or(b'I')
}

/// An answer as text to compare.
fn lines(answer: &[Message], unordered: bool) -> Vec<String> {
    let mut lines: Vec<String> = answer
        .iter()
        .map(|message| transcript::line(&without_user_oids(message)))
        .collect();
    if unordered {
        let is_row = |line: &String| line.starts_with("DataRow") || line.starts_with("CopyData");
        let mut rows: Vec<String> = lines.iter().filter(|line| is_row(line)).cloned().collect();
        rows.sort();
        let mut rows = rows.into_iter();
        for line in lines.iter_mut().filter(|line| is_row(line)) {
            if let Some(row) = rows.next() {
                *line = row;
            }
        }
    }
    lines
}

/// The message with one and the same oid for all types that users made.
pub(crate) fn without_user_oids(message: &Message) -> Message {
    let mut message = message.clone();
    for at in type_positions(&message) {
        let Some(bytes) = message.body.get_mut(at..at + 4) else {
            continue;
        };
        let oid = bytes
            .iter()
            .fold(0, |oid, byte| oid << 8 | u32::from(*byte));
        if oid >= FIRST_USER_OID {
            bytes.copy_from_slice(&FIRST_USER_OID.to_be_bytes());
        }
    }
    message
}

/// Where in the body of a ParameterDescription or RowDescription the types' oids are.
fn type_positions(message: &Message) -> Vec<usize> {
    let body = &message.body;
    match message.tag {
        b't' => (2..body.len()).step_by(4).collect(),
        b'T' => {
            let mut positions = Vec::new();
            let mut at = 2;
            while let Some(name) = body
                .get(at..)
                .and_then(|rest| rest.iter().position(|byte| *byte == 0))
            {
                // Behind the name and its zero come the table's oid, the column's number and the type.
                positions.push(at + name + 7);
                at += name + 19;
            }
            positions
        }
        _ => Vec::new(),
    }
}
