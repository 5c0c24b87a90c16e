//! The router's merge engine against a PostgreSQL server: the same order, the same bytes.
//!
//! `values` makes random values and those at the edges, `order` compares sort keys with ORDER BY, `rows` merges rows of
//! several tables, `aggregates` combines partial aggregates, and `floats` compares the text form of floats.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

mod aggregates;
mod floats;
mod order;
mod rows;
mod values;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use router::local::{LocalServer, ServerOptions};
use router::merge::Format;
use router::merge::row::Row;
use tests::client::{Client, Message};
use tokio::runtime::Runtime;

/// One server for all tests of this binary; it ends with the process.
static SERVER: OnceLock<(Runtime, LocalServer)> = OnceLock::new();

/// The seed of everything random here.
const SEED: u64 = 20_241_117;

/// Small enough for a message, large enough to be quick.
const ROWS_PER_INSERT: usize = 1000;

/// A session of its own, so that temporary tables may have any name.
struct Session(Client);

impl Session {
    fn new() -> Self {
        let (_, server) = SERVER.get_or_init(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let options = ServerOptions {
                durable: false,
                ..ServerOptions::default()
            };
            let server = runtime.block_on(LocalServer::scratch(options)).unwrap();
            (runtime, server)
        });
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
        Self(Client::connect(address, &[]).unwrap())
    }

    fn run(&mut self, sql: &str) {
        let answer = self.0.query(sql).unwrap();
        let error = answer.iter().find(|message| message.tag == b'E');
        assert!(error.is_none(), "{sql:.500}: {error:?}");
    }

    /// SQLSTATE and message of a statement that fails.
    fn error(&mut self, sql: &str) -> (String, String) {
        let answer = self.0.query(sql).unwrap();
        let error = answer.iter().find(|message| message.tag == b'E').unwrap();
        (error.field(b'C').unwrap(), error.field(b'M').unwrap())
    }

    /// A new temporary table with these rows, each a list of expressions.
    fn table(&mut self, name: &str, columns: &str, rows: &[String]) {
        self.run(&format!(
            "DROP TABLE IF EXISTS {name}; CREATE TEMPORARY TABLE {name} ({columns})"
        ));
        for rows in rows.chunks(ROWS_PER_INSERT) {
            self.run(&format!(
                "INSERT INTO {name} VALUES ({})",
                rows.join("), (")
            ));
        }
        self.run(&format!("ANALYZE {name}"));
    }

    /// The bodies of the rows of an answer.
    fn rows(&mut self, sql: &str, format: Format) -> Vec<Vec<u8>> {
        let answer = match format {
            Format::Text => self.0.query(sql),
            Format::Binary => self.0.extended(sql, &[], true),
        };
        let answer: Vec<Message> = answer.unwrap();
        let error = answer.iter().find(|message| message.tag == b'E');
        assert!(error.is_none(), "{sql}: {error:?}");
        let rows = answer.into_iter().filter(|message| message.tag == b'D');
        rows.map(|message| message.body).collect()
    }

    fn type_oid(&mut self, name: &str) -> u32 {
        let rows = self.rows(
            &format!("SELECT '{}'::regtype::oid", name.replace('\'', "''")),
            Format::Text,
        );
        let text = cell(&rows[0], 0).unwrap();
        String::from_utf8_lossy(&text).parse().unwrap()
    }
}

/// A cell of a row's body.
fn cell(body: &[u8], column: u16) -> Option<Vec<u8>> {
    let row = Row::new(body).unwrap();
    row.cell(column).unwrap().map(<[u8]>::to_vec)
}
