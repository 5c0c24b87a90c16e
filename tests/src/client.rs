//! A client that speaks the protocol message by message, blocking, and hides nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use bytes::BytesMut;
use router::wire::encode;

/// Longer than any answer in a test takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// One message from the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {:?}",
            char::from(self.tag),
            String::from_utf8_lossy(&self.body)
        )
    }
}

impl Message {
    /// One field of an error or notice.
    pub fn field(&self, code: u8) -> Option<String> {
        router::wire::backend::fields(&self.body)
            .find(|(found, _)| *found == code)
            .map(|(_, text)| String::from_utf8_lossy(text).into_owned())
    }
}

/// One connection.
pub struct Client {
    stream: TcpStream,
    pub parameters: Vec<(String, String)>,
    pub process_id: u32,
    pub key: Vec<u8>,
}

impl Client {
    /// Connects as `postgres` with further startup parameters.
    pub fn connect(address: SocketAddr, parameters: &[(&str, &str)]) -> io::Result<Self> {
        let mut client = Self::open(address)?;
        let mut out = BytesMut::new();
        let standard = [("user", "postgres"), ("database", "postgres")];
        encode::startup(
            &mut out,
            standard.into_iter().chain(parameters.iter().copied()),
        );
        client.send(&out)?;
        loop {
            let message = client.receive()?;
            match message.tag {
                b'S' => {
                    let mut parts = message.body.split(|byte| *byte == 0);
                    let mut part =
                        || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
                    client.parameters.push((part(), part()));
                }
                b'K' => {
                    client.process_id =
                        u32::from_be_bytes(message.body[..4].try_into().unwrap_or_default());
                    client.key = message.body[4..].to_vec();
                }
                b'Z' => return Ok(client),
                b'E' => return Err(io::Error::other(format!("{message:?}"))),
                _ => {}
            }
        }
    }

    /// A connection on which nothing has been said yet.
    pub fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            parameters: Vec::new(),
            process_id: 0,
            key: Vec::new(),
        })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn receive(&mut self) -> io::Result<Message> {
        let mut header = [0u8; 5];
        self.stream.read_exact(&mut header)?;
        let [tag, a, b, c, d] = header;
        let mut body = vec![0u8; (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4)];
        self.stream.read_exact(&mut body)?;
        Ok(Message { tag, body })
    }

    /// Bytes that are no message: answers to requests for encryption.
    pub fn skip(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0u8; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Ends one or both directions of the connection.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    /// Everything up to and including ReadyForQuery.
    pub fn until_ready(&mut self) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let message = self.receive()?;
            let last = message.tag == b'Z';
            messages.push(message);
            if last {
                return Ok(messages);
            }
        }
    }

    /// One simple query and its whole answer.
    pub fn query(&mut self, sql: &str) -> io::Result<Vec<Message>> {
        let mut out = BytesMut::new();
        encode::query(&mut out, sql.as_bytes());
        self.send(&out)?;
        self.until_ready()
    }

    /// One statement by Parse, Bind, Describe, Execute, Sync, and its whole answer.
    pub fn extended(
        &mut self,
        sql: &str,
        parameters: &[Option<&[u8]>],
        binary: bool,
    ) -> io::Result<Vec<Message>> {
        let mut out = BytesMut::new();
        encode::parse(&mut out, b"", sql.as_bytes(), &[]);
        bind(&mut out, "", "", parameters, binary);
        encode::describe(&mut out, b'P', b"");
        encode::execute(&mut out, b"", 0);
        encode::sync(&mut out);
        self.send(&out)?;
        self.until_ready()
    }

    /// Whether the server has closed the connection, after whatever it still says.
    pub fn is_closed_by_server(&mut self) -> bool {
        loop {
            match self.receive() {
                Ok(_) => {}
                Err(error) => {
                    return matches!(
                        error.kind(),
                        io::ErrorKind::UnexpectedEof
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::BrokenPipe
                    );
                }
            }
        }
    }
}

/// Bind with text parameters; all results in one format.
pub fn bind(
    out: &mut BytesMut,
    portal: &str,
    statement: &str,
    parameters: &[Option<&[u8]>],
    binary: bool,
) {
    let mut body = Vec::new();
    body.extend_from_slice(portal.as_bytes());
    body.push(0);
    body.extend_from_slice(statement.as_bytes());
    body.push(0);
    body.extend_from_slice(&0u16.to_be_bytes());
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        match parameter {
            Some(value) => {
                body.extend_from_slice(&(value.len() as u32).to_be_bytes());
                body.extend_from_slice(value);
            }
            None => body.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }
    body.extend_from_slice(&1u16.to_be_bytes());
    body.extend_from_slice(&u16::from(binary).to_be_bytes());
    out.extend_from_slice(b"B");
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(&body);
}

/// Rows as text, NULL as `None`, from an answer.
pub fn rows(messages: &[Message]) -> Vec<Vec<Option<String>>> {
    messages
        .iter()
        .filter(|message| message.tag == b'D')
        .map(|message| {
            let mut reader = router::wire::Reader(&message.body);
            let count = reader.u16().unwrap_or(0);
            (0..count)
                .map(|_| {
                    let value = reader.value().ok().flatten();
                    value.map(|value| String::from_utf8_lossy(value).into_owned())
                })
                .collect()
        })
        .collect()
}

/// The SQLSTATE of an answer's error, if there is one.
pub fn sqlstate(answer: &[Message]) -> Option<String> {
    answer
        .iter()
        .find(|message| message.tag == b'E')
        .and_then(|message| message.field(b'C'))
}

/// The rows of a simple query that must succeed.
#[track_caller]
pub fn ask(client: &mut Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let answer = client
        .query(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(sqlstate(&answer), None, "{sql}: {answer:?}");
    rows(&answer)
}

/// The first value of a simple query that must succeed, which is not NULL.
#[track_caller]
pub fn one(client: &mut Client, sql: &str) -> String {
    ask(client, sql)[0][0]
        .clone()
        .unwrap_or_else(|| panic!("{sql}: NULL"))
}
