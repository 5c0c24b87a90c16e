//! Control connections: few, slow-path, by tokio-postgres.
//!
//! Entry point: [`Connector::connect`]. Invariants: every connection starts with the same settings, so that what the server
//! prints (names qualified in full, ISO dates, exact floats) can be stored, compared and run elsewhere; a
//! dropped [`Connection`] is closed, which rolls back what it had open.

use std::future::poll_fn;
use std::time::Duration;

use catalog::Server;
use tokio::sync::mpsc;
use tokio_postgres::types::{FromSql, ToSql};
use tokio_postgres::{AsyncMessage, Client, Row, SimpleQueryMessage};

use super::error::{Error, reason};
use super::tls::{MakeTls, Tls};
use crate::config::Password;

/// Rows as text, as the simple query protocol gives them. None is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// Settings that decide what the server prints; also applied around work in a client's transaction.
pub const CANONICAL_SETTINGS: &[(&str, &str)] = &[
    ("search_path", "pg_catalog"),
    ("standard_conforming_strings", "on"),
    ("datestyle", "ISO, YMD"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("quote_all_identifiers", "off"),
];

/// What a control connection sets besides: no limit that an operator set for applications may cut it off, and no
/// lock is waited for without end.
const CONTROL_SETTINGS: &str = "\
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET lock_timeout = '30s'; \
    SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
    SET check_function_bodies = off; SET client_min_messages = warning";

/// How control connections are made: the same account on every server.
#[derive(Clone)]
pub struct Connector {
    pub user: String,
    /// One for all servers, or one for each.
    pub password: Password,
    pub tls: Tls,
    pub connect_timeout: Duration,
    pub application_name: String,
}

impl Connector {
    pub fn new(user: impl Into<String>) -> Self {
        Connector {
            user: user.into(),
            password: Password::None,
            tls: Tls::Disable,
            connect_timeout: Duration::from_secs(5),
            application_name: "pgweave".to_owned(),
        }
    }

    pub async fn connect(&self, server: &Server) -> Result<Connection, Error> {
        let label = server.to_string();
        let attempt = async {
            let connection = self.open(server, &label).await?;
            let mut settings = String::from(CONTROL_SETTINGS);
            for (name, value) in CANONICAL_SETTINGS {
                settings.push_str(&format!("; SET {name} = {value}"));
            }
            connection.batch(&settings).await?;
            Ok(connection)
        };
        match tokio::time::timeout(self.connect_timeout, attempt).await {
            Ok(result) => result,
            Err(_) => Err(Error::Connect {
                server: label.clone(),
                sqlstate: None,
                reason: format!("no answer within {} ms", self.connect_timeout.as_millis()),
            }),
        }
    }

    async fn open(&self, server: &Server, label: &str) -> Result<Connection, Error> {
        let mut config = tokio_postgres::Config::new();
        config
            .host(&server.host)
            .port(server.port)
            .dbname(&server.dbname)
            .user(&self.user);
        config
            .application_name(&self.application_name)
            .ssl_mode(self.tls.mode())
            .connect_timeout(self.connect_timeout);
        config.keepalives_idle(Duration::from_secs(30));
        let password =
            self.password
                .for_server(&server.host, server.port, &server.dbname, &self.user);
        if let Some(password) = password {
            config.password(password.expose());
        }
        let failed = |error: tokio_postgres::Error| Error::Connect {
            server: label.to_owned(),
            sqlstate: error.code().map(|code| code.code().to_owned()),
            reason: reason(&error),
        };
        match self.tls.config() {
            Some(tls) => {
                let (client, connection) =
                    config.connect(MakeTls(tls.clone())).await.map_err(failed)?;
                Ok(Connection::drive(label, client, connection))
            }
            None => {
                let (client, connection) = config
                    .connect(tokio_postgres::NoTls)
                    .await
                    .map_err(failed)?;
                Ok(Connection::drive(label, client, connection))
            }
        }
    }
}

/// An open control connection.
pub struct Connection {
    client: Client,
    label: String,
    notifications: mpsc::UnboundedReceiver<String>,
}

impl Connection {
    fn drive<S, T>(
        label: &str,
        client: Client,
        mut connection: tokio_postgres::Connection<S, T>,
    ) -> Self
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, notifications) = mpsc::unbounded_channel();
        let server = label.to_owned();
        // Ends by itself once the client is dropped, after saying farewell to the server.
        tokio::spawn(async move {
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(notification))) => {
                        // Nobody listening any more is no reason to stop serving the connection.
                        let _ = sender.send(notification.payload().to_owned());
                    }
                    Some(Ok(AsyncMessage::Notice(notice))) => {
                        tracing::debug!(%server, notice = notice.message(), "notice")
                    }
                    Some(Ok(_)) => {}
                    // The error also reaches whoever waits for an answer on this connection.
                    Some(Err(_)) | None => break,
                }
            }
        });
        Connection {
            client,
            label: label.to_owned(),
            notifications,
        }
    }

    /// Where this connection goes, for messages.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Names the connection by what it is for, such as a shard's name.
    pub fn relabel(&mut self, label: impl Into<String>) {
        self.label = label.into();
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs statements without parameters and drops their rows.
    pub async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|error| Error::server(&self.label, &error))
    }

    /// Runs statements without parameters; the rows of all of them as text.
    pub async fn rows(&self, sql: &str) -> Result<Rows, Error> {
        let messages = self
            .client
            .simple_query(sql)
            .await
            .map_err(|error| Error::server(&self.label, &error))?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|index| row.get(index).map(str::to_owned))
                        .collect(),
                ),
                _ => None,
            })
            .collect())
    }

    pub async fn query(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        self.client
            .query(sql, parameters)
            .await
            .map_err(|error| Error::server(&self.label, &error))
    }

    pub async fn query_one(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Row, Error> {
        self.client
            .query_one(sql, parameters)
            .await
            .map_err(|error| Error::server(&self.label, &error))
    }

    pub async fn query_opt(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, Error> {
        self.client
            .query_opt(sql, parameters)
            .await
            .map_err(|error| Error::server(&self.label, &error))
    }

    pub async fn execute(
        &self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, Error> {
        self.client
            .execute(sql, parameters)
            .await
            .map_err(|error| Error::server(&self.label, &error))
    }

    /// The payload of the next notification; None once the connection is gone.
    pub async fn notification(&mut self) -> Option<String> {
        self.notifications.recv().await
    }
}

/// The value of a column that is never NULL.
pub fn text<'a>(row: &'a [Option<String>], index: usize, what: &str) -> Result<&'a str, Error> {
    row.get(index)
        .and_then(Option::as_deref)
        .ok_or_else(|| Error::corrupt(format!("no value in column {index} of {what}")))
}

/// Whether a boolean column is true.
pub fn truth(row: &[Option<String>], index: usize) -> bool {
    row.get(index).and_then(Option::as_deref) == Some("t")
}

/// A typed column of a row; an unexpected type or NULL is an error, not a panic.
pub fn column<'a, T: FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, Error> {
    row.try_get(index)
        .map_err(|error| Error::corrupt(format!("an unexpected value: {error}")))
}
