//! A scripted conversation with a server, which leaves a transcript.
//!
//! The messages gather until something is to be received, and then leave in one write, so that a script says exactly
//! what is pipelined.

use std::io;
use std::net::SocketAddr;

use bytes::{BufMut, BytesMut};
use router::wire::encode;

use crate::client::{Client, Message};
use crate::transcript;

/// One connection, what it is about to say, and what it has heard.
pub struct Conversation {
    pub client: Client,
    pub address: SocketAddr,
    database: String,
    out: BytesMut,
    pub lines: Vec<String>,
}

/// A value of a Bind message: its format (0 text, 1 binary) and bytes.
pub type Argument<'a> = (i16, Option<&'a [u8]>);

/// A text value for [`Conversation::bind`].
pub fn text(value: &str) -> Argument<'_> {
    (0, Some(value.as_bytes()))
}

/// A binary value.
pub fn binary(value: &[u8]) -> Argument<'_> {
    (1, Some(value))
}

/// NULL.
pub const NULL: Argument<'static> = (0, None);

impl Conversation {
    pub fn open(
        address: SocketAddr,
        database: &str,
        parameters: &[(&str, &str)],
    ) -> io::Result<Self> {
        let mut all = vec![("database", database)];
        all.extend_from_slice(parameters);
        Ok(Self {
            client: Client::connect(address, &all)?,
            address,
            database: database.to_owned(),
            out: BytesMut::new(),
            lines: Vec::new(),
        })
    }

    /// A second connection to the same server. It has a transcript of its own.
    pub fn other(&self) -> Self {
        Self::open(self.address, &self.database, &[]).unwrap()
    }

    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.put_slice(bytes);
        self
    }

    pub fn query(&mut self, sql: &str) -> &mut Self {
        encode::query(&mut self.out, sql.as_bytes());
        self
    }

    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> &mut Self {
        encode::parse(&mut self.out, name.as_bytes(), sql.as_bytes(), types);
        self
    }

    pub fn bind(&mut self, portal: &str, statement: &str, arguments: &[Argument<'_>]) -> &mut Self {
        self.bind_as(portal, statement, arguments, &[])
    }

    /// Bind with result formats.
    pub fn bind_as(
        &mut self,
        portal: &str,
        statement: &str,
        arguments: &[Argument<'_>],
        results: &[i16],
    ) -> &mut Self {
        let mut body = BytesMut::new();
        for name in [portal, statement] {
            body.put_slice(name.as_bytes());
            body.put_u8(0);
        }
        body.put_u16(arguments.len() as u16);
        for (format, _) in arguments {
            body.put_i16(*format);
        }
        body.put_u16(arguments.len() as u16);
        for (_, value) in arguments {
            match value {
                Some(value) => {
                    body.put_u32(value.len() as u32);
                    body.put_slice(value);
                }
                None => body.put_i32(-1),
            }
        }
        body.put_u16(results.len() as u16);
        for format in results {
            body.put_i16(*format);
        }
        self.message(b'B', &body)
    }

    pub fn message(&mut self, tag: u8, body: &[u8]) -> &mut Self {
        self.out.put_u8(tag);
        self.out.put_u32(body.len() as u32 + 4);
        self.out.put_slice(body);
        self
    }

    pub fn describe_statement(&mut self, name: &str) -> &mut Self {
        encode::describe(&mut self.out, b'S', name.as_bytes());
        self
    }

    pub fn describe_portal(&mut self, name: &str) -> &mut Self {
        encode::describe(&mut self.out, b'P', name.as_bytes());
        self
    }

    pub fn execute(&mut self, portal: &str, max_rows: i32) -> &mut Self {
        encode::execute(&mut self.out, portal.as_bytes(), max_rows);
        self
    }

    pub fn close_statement(&mut self, name: &str) -> &mut Self {
        encode::close(&mut self.out, b'S', name.as_bytes());
        self
    }

    pub fn close_portal(&mut self, name: &str) -> &mut Self {
        encode::close(&mut self.out, b'P', name.as_bytes());
        self
    }

    pub fn flush(&mut self) -> &mut Self {
        encode::flush(&mut self.out);
        self
    }

    pub fn sync(&mut self) -> &mut Self {
        encode::sync(&mut self.out);
        self
    }

    /// Parse, Bind, Describe and Execute of the unnamed statement, without Sync.
    pub fn run(&mut self, sql: &str, arguments: &[Argument<'_>]) -> &mut Self {
        self.parse("", sql, &[])
            .bind("", "", arguments)
            .describe_portal("")
            .execute("", 0)
    }

    /// Sends what has gathered without waiting for anything.
    pub fn send(&mut self) -> &mut Self {
        let out = self.out.split();
        if let Err(error) = self.client.send(&out) {
            self.lines.push(format!("cannot send: {}", error.kind()));
        }
        self
    }

    /// Receives up to and including the first message with that tag, or the end of the connection.
    pub fn until(&mut self, tag: u8) -> &mut Self {
        self.send();
        while let Some(message) = self.receive() {
            if message.tag == tag {
                break;
            }
        }
        self
    }

    /// Receives up to ReadyForQuery.
    pub fn ready(&mut self) -> &mut Self {
        self.until(b'Z')
    }

    /// Receives that many ReadyForQuery messages and all before.
    pub fn ready_times(&mut self, count: usize) -> &mut Self {
        for _ in 0..count {
            self.ready();
        }
        self
    }

    /// Receives one message.
    pub fn receive(&mut self) -> Option<Message> {
        match self.client.receive() {
            Ok(message) => {
                self.lines.push(transcript::line(&message));
                Some(message)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("no answer; so far:\n{}", self.lines.join("\n"))
            }
            Err(_) => {
                self.lines.push("closed".to_owned());
                None
            }
        }
    }

    /// A simple query and its answer.
    pub fn ask(&mut self, sql: &str) -> &mut Self {
        self.note(sql).query(sql).ready()
    }

    /// A line of the script's own, to read the transcript by.
    pub fn note(&mut self, text: &str) -> &mut Self {
        self.lines.push(format!("-- {text}"));
        self
    }
}
