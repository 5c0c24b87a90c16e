//! One client's session, from its first statement to its last.
//!
//! Entry point: [`Session::run`]. Messages are taken in turn and handed to `simple` or `extended`; both plan the
//! statement, find its shard, take a link to that shard (`links`) and move bytes (`execute`).
//!
//! Invariants: answers reach the client in the order of its messages. A server connection goes back to its pool only
//! when its transaction has ended and nothing of this session is left on it. No buffer is held while idle.

mod allowance;
mod arguments;
mod batch;
pub mod block;
mod bringing;
pub mod budget;
pub mod client;
mod combine;
mod commit;
mod copy;
mod copy_out;
mod create_as;
mod cursor;
mod deadline;
mod describing;
mod everywhere;
pub mod explain;
mod extended;
mod finish;
mod gather;
mod groups;
mod links;
mod load;
mod local;
mod locking;
mod merge_session;
mod merging;
mod need;
pub mod outbox;
mod parts;
mod portal;
pub mod prepared;
mod preparing;
pub mod report;
mod rest;
pub mod saga;
mod savepoints;
mod scatter;
mod schema;
mod served;
pub mod settings;
pub mod shapes;
mod show;
mod simple;
mod small;
mod snapshot;
mod spread;
pub mod start;
mod statement;
mod temporary;
mod transaction;
mod transfer;
mod views;
mod work;

use std::sync::Arc;

use bytes::BytesMut;
use catalog::{Catalog, ShardId};
use planner::{Literals, Planned};
use smallvec::SmallVec;

use crate::backend::AppliedSettings;
use crate::cancel::SessionHandle;
use crate::config::{Consistency, ReadPreference, ScatterMode};
use crate::execute::Link;
use crate::execute::expect::Undo;
use crate::execute::relay::Notes;
use crate::pool::PoolIdentity;
use crate::router::Router;
use crate::wire::encode;
use crate::worker::WorkerLocal;

use block::Block;
use client::ClientIo;
use cursor::Cursor;
use portal::Portal;
use prepared::{Reading, Statement};
use report::{End, Failure, Report};
use savepoints::Savepoints;
use settings::{Assignment, Settings};
use temporary::Temporary;

pub use start::serve_client;

/// The result of a step.
type Step<T = ()> = Result<T, Failure>;

/// One client's session.
pub struct Session {
    router: Arc<Router>,
    worker: Arc<WorkerLocal>,
    handle: Arc<SessionHandle>,
    client: ClientIo,
    identity: Arc<PoolIdentity>,
    settings: Settings,
    /// search_path as a server gives it to this user by default.
    server_search_path: String,
    /// What the planner and the router need to know of the settings.
    derived: Derived,
    unnamed: Option<Arc<Statement>>,
    /// A Parse that has not been answered yet, because the Bind that follows decides which server answers it.
    unanswered: Option<Arc<Statement>>,
    /// The name that the unanswered Parse registered.
    registered: Option<Box<[u8]>>,
    portals: Vec<(Box<[u8]>, Portal)>,
    /// The number of the latest portal of the router's own, and the next one's at each savepoint.
    number_portals: u64,
    portal_marks: Savepoints<u64>,
    /// Those that are being read in parts, by their numbers.
    open_cursors: Vec<(u64, Cursor)>,
    cursors: Vec<(String, ShardId)>,
    temporary: Temporary,
    links: SmallVec<[Link; 1]>,
    timeout: deadline::Known,
    block: Option<Block>,
    /// Prepared transactions of this session's that are committed, but whose shards have not been told.
    unfinished: Vec<txn::ParticipantGid>,
    notes: Notes,
    literals: Literals,
    /// By the simple protocol: a shard has begun to execute its part of a query whose result the client has not been described yet.
    has_begun: bool,
    /// What EXPLAIN ANALYZE measures meanwhile.
    measures: Option<Box<explain::Measures>>,
    /// An extended message has failed: skip to Sync.
    skipping: bool,
    /// The shard that a forwarded statement went to.
    last_shard: Option<ShardId>,
}

/// What settings mean to the router itself.
#[derive(Clone, Debug, Default)]
struct Derived {
    search_path: Arc<[String]>,
    manual: Option<Manual>,
    read_preference: ReadPreference,
    consistency: Consistency,
    /// Of queries that no single shard answers.
    scatter: ScatterMode,
    standard_conforming_strings: bool,
    /// The settings by which servers read this session's statements.
    reading: AppliedSettings,
    /// The client's encoding is UTF-8.
    utf8: bool,
}

/// Manual routing as the client asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manual {
    Shard(String),
    ShardKey(String),
}

impl Session {
    /// Serves the client until one side ends the session.
    pub async fn run(mut self) {
        let end = match self.serve().await {
            Err(Failure::End(end)) => end,
            Err(Failure::Report(report)) => End::Fatal(report),
            Ok(()) | Err(Failure::Sent) => End::Closed,
        };
        match end {
            End::Closed => {
                // Terminate may come in one packet with statements, whose answers are still due.
                let _ = self.client.flush().await;
            }
            End::Client(error) => {
                tracing::debug!(pid = self.handle.process_id, %error, "client connection lost");
            }
            End::Fatal(mut report) => {
                report.severity = "FATAL";
                encode::error_response(&mut self.client.out, &report);
                // The client may be gone already; there is nobody else to tell.
                let _ = self.client.flush().await;
            }
        }
        Box::pin(self.give_up_cursors()).await;
        self.give_up_links().await;
        self.router.sessions.remove(self.handle.process_id);
    }

    async fn serve(&mut self) -> Step {
        loop {
            while let Some(frame) = self.client.next_frame().map_err(protocol_end)? {
                if matches!(frame.tag, b'd' | b'c' | b'f') && self.copy_is_ahead() {
                    self.copy_ahead().await?;
                    continue;
                }
                let message = self.client.take(frame);
                self.dispatch(frame.tag, message).await?;
            }
            self.handle.pass_turn();
            let waited = self.idle().await;
            self.handle.pass_turn();
            waited?;
            if self.client.fill().await.map_err(client_end)? == 0 {
                return Err(End::Closed.into());
            }
        }
    }

    async fn dispatch(&mut self, tag: u8, message: BytesMut) -> Step {
        if self.skipping && !matches!(tag, b'S' | b'X') {
            return Ok(());
        }
        match tag {
            b'Q' => self.simple_query(message).await,
            b'P' | b'B' | b'D' | b'E' | b'C' | b'H' => self.extended_message(tag, &message).await,
            b'S' => self.sync(&message).await,
            b'X' => Err(End::Closed.into()),
            // After an error in COPY FROM STDIN the client may still be sending data.
            b'd' | b'c' | b'f' => Ok(()),
            b'F' => {
                let report = Report::error("0A000", "the function call protocol is not supported")
                    .hint("Call the function with SELECT.");
                self.fail_statement(report.into())?;
                self.ready().await
            }
            other => {
                let error = crate::wire::ProtocolError::invalid_message_type(other);
                Err(protocol_end(error))
            }
        }
    }

    /// Waits for the client, or for whatever else may concern an idle session.
    async fn idle(&mut self) -> Step {
        self.client.flush().await.map_err(End::Client)?;
        if !self.links.iter().any(|link| link.listening) {
            loop {
                tokio::select! {
                    biased;
                    readable = self.client.wait() => return readable.map_err(|error| End::Client(error).into()),
                    () = self.handle.wake.notified() => self.check_termination()?,
                }
            }
        }
        self.idle_listening().await
    }

    /// The same for a session that listens: its servers may speak at any time.
    async fn idle_listening(&mut self) -> Step {
        loop {
            let listening = self.links.iter_mut().find(|link| link.listening);
            let Some(link) = listening else {
                return self
                    .client
                    .wait()
                    .await
                    .map_err(|error| End::Client(error).into());
            };
            tokio::select! {
                biased;
                readable = self.client.wait() => return readable.map_err(|error| End::Client(error).into()),
                () = self.handle.wake.notified() => self.check_termination()?,
                read = link.backend.fill() => {
                    if !matches!(read, Ok(count) if count > 0) {
                        let report = Report::fatal("08006", "the connection to the shard that delivers notifications broke");
                        return Err(End::Fatal(Box::new(report)).into());
                    }
                    link.relay_asynchronous(&mut self.client)?;
                    self.client.flush().await.map_err(End::Client)?;
                }
            }
        }
    }

    /// Ends the session if an operator or a shutdown asks for it.
    fn check_termination(&mut self) -> Step {
        if !self
            .handle
            .terminate
            .load(std::sync::atomic::Ordering::Acquire)
        {
            return Ok(());
        }
        let draining = self.router.is_draining() && !self.router.is_closing();
        if draining && self.block.is_some() {
            // A drain waits for the transaction; `ready` looks again when it has ended.
            return Ok(());
        }
        Err(End::Fatal(Box::new(Report::fatal(
            "57P01",
            "terminating connection due to administrator command",
        )))
        .into())
    }

    /// Sends an error to the client and fails the block; passes on what ends the session.
    fn fail_statement(&mut self, failure: Failure) -> Step {
        match failure {
            Failure::End(end) => return Err(Failure::End(end)),
            Failure::Report(report) => encode::error_response(&mut self.client.out, &report),
            Failure::Sent => {}
        }
        if let Some(block) = &mut self.block {
            block.failed = true;
        }
        Ok(())
    }

    /// ReadyForQuery of the router's own, after which the client may go on.
    async fn ready(&mut self) -> Step {
        let status = match &self.block {
            None => b'I',
            Some(block) if block.failed => b'E',
            Some(_) => b'T',
        };
        self.client.report_late();
        encode::ready_for_query(&mut self.client.out, status);
        self.after_ready().await
    }

    /// The client has been told that it may go on: links that nothing holds go back, and output is sent.
    async fn after_ready(&mut self) -> Step {
        self.handle
            .statements
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if std::mem::take(&mut self.client.deadlocked) {
            Box::pin(self.leave_deadlock()).await?;
        }
        if self.block.is_none() {
            if !self.portals.is_empty() || !self.open_cursors.is_empty() {
                self.end_portals().await?;
            }
            self.release_links().await;
        }
        if self.client.next_frame().map_err(protocol_end)?.is_none() {
            self.client.flush().await.map_err(End::Client)?;
        }
        self.check_termination()
    }

    /// The catalog of this moment. A statement takes it once.
    fn catalog(&self) -> Arc<Catalog> {
        schema::current(self)
    }

    fn context<'a>(
        &'a self,
        catalog: &'a Catalog,
        manual: Option<ShardId>,
    ) -> planner::Context<'a> {
        planner::Context {
            catalog,
            search_path: &self.derived.search_path,
            temporary: self.temporary.relations(),
            user: self.identity.user(),
            manual,
            standard_conforming_strings: self.derived.standard_conforming_strings,
            statistics: &self.router.estimates,
        }
    }

    /// How this session reads a statement now.
    fn reading(&self) -> Reading {
        Reading {
            search_path: self.derived.search_path.clone(),
            temporary: self.temporary.relations().into(),
            standard_conforming_strings: self.derived.standard_conforming_strings,
            settings: self.derived.reading.clone(),
        }
    }

    /// Applies what completed statements did to the session, and takes back what skipped messages did.
    fn settle_notes(&mut self, index: usize) {
        for planned in std::mem::take(&mut self.notes.completed) {
            self.apply_effects(index, &planned);
        }
        for undo in self.notes.undo.drain(..).rev() {
            match undo {
                Undo::Statement { name, previous } if name.is_empty() => self.unnamed = previous,
                Undo::Statement { name, previous } => match previous {
                    Some(statement) => {
                        self.client.statements.insert(name, statement);
                    }
                    None => {
                        self.client.statements.remove(&name);
                    }
                },
            }
        }
    }

    /// What a completed statement of the client's changed in the session.
    fn apply_effects(&mut self, index: usize, planned: &Planned) {
        let planner::Plan::Single(single) = &*planned.plan else {
            return;
        };
        for set in &single.effects.set_config {
            match (&set.value, set.is_local) {
                (Some(value), false) => {
                    self.settings
                        .set(&set.name, Assignment::Text(value.as_str().into()));
                }
                (None, false) => self.settings.reset(&set.name),
                // Without a block it has ended with the statement.
                (_, true) if self.block.is_none() => {}
                (value, true) => self.settings.set_local(
                    &set.name,
                    value.as_deref().map(|value| Assignment::Text(value.into())),
                ),
            }
            if let (Some(value), Some(block)) = (&set.value, &mut self.block) {
                block.remember(block::set_config_text(&set.name, value, set.is_local));
            }
        }
        if !single.effects.set_config.is_empty() {
            self.adopt_settings();
            // In force where the function ran, and nowhere else yet.
            self.links[index]
                .backend
                .set_applied(self.settings.wanted().clone());
        }
        self.temporary.replace(
            &single.effects.drops_temporary,
            &single.effects.creates_temporary,
            self.links[index].shard,
            single.effects.until_commit,
        );
    }
}

/// The end of a session whose client cannot be read any more.
fn client_end(error: std::io::Error) -> End {
    if error.kind() == std::io::ErrorKind::OutOfMemory {
        return End::Fatal(Box::new(
            Report::fatal("53200", "out of memory for clients' messages")
                .hint("Send smaller messages, or raise listen.max_buffered_bytes of the router."),
        ));
    }
    End::Client(error)
}

fn protocol_end(error: crate::wire::ProtocolError) -> Failure {
    End::Fatal(Box::new(Report {
        severity: "FATAL",
        ..Report::from(error)
    }))
    .into()
}
