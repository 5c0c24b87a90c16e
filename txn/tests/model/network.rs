//! Connections between routers and servers.
//!
//! A connection delivers in order or breaks; connections are independent, so anything may overtake anything else. What a
//! router sent before it died may still arrive, or a part of it. Each side learns in its own time that the other is gone.

use std::collections::VecDeque;

use catalog::ShardId;
use txn::{Completion, collection, recovery};

use super::server::{Answer, Backend, Open, Statement, fatal};
use super::world::World;

pub enum Purpose {
    Participant {
        transaction: usize,
    },
    Resolve {
        transaction: usize,
    },
    Recovery {
        pass: usize,
        action: recovery::Action,
    },
    Collection {
        pass: usize,
        action: collection::Action,
    },
}

pub struct Connection {
    pub router: usize,
    pub shard: usize,
    /// Taken when it ends.
    pub purpose: Option<Purpose>,
    /// Whether each side still has its end open, and whether it is going to learn that the other has not.
    pub router_end: bool,
    pub server_end: bool,
    pub router_hears: bool,
    pub server_hears: bool,
    pub to_server: VecDeque<Statement>,
    pub to_router: VecDeque<Answer>,
    /// The network holds everything back until then.
    pub stalled_until: u64,
    /// Answers that a planted bug did not wait for.
    pub ignored: usize,
    pub open: Option<Open>,
}

impl World {
    pub fn progress_any(&mut self) {
        if self.focus.is_some_and(|(_, until)| until <= self.now) {
            self.focus = None;
        }
        let focus = self.focus;
        let moves = |connection: &Connection| {
            let in_focus = focus.is_none_or(|(router, _)| {
                connection.router == router
                    && !matches!(connection.purpose, Some(Purpose::Participant { .. }))
            });
            connection.stalled_until <= self.now && in_focus
        };
        let ids: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| moves(connection))
            .map(|(&id, _)| id)
            .collect();
        if let Some(id) = self.random.pick(&ids) {
            let router_first = self.random.one_in(2);
            let _ = self.progress(id, router_first) || self.progress(id, !router_first);
        }
    }

    /// One thing happens at one end of a connection. False: nothing can.
    pub fn progress(&mut self, id: usize, at_router: bool) -> bool {
        let moved = if at_router {
            self.progress_router(id)
        } else {
            self.progress_server(id)
        };
        if self
            .connections
            .get(&id)
            .is_some_and(|connection| !connection.router_end && !connection.server_end)
        {
            self.connections.remove(&id);
        }
        moved
    }

    pub fn progress_router(&mut self, id: usize) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let router = connection.router;
        if !connection.router_end || self.routers[router].paused_until > self.now {
            return false;
        }
        let shard = self.shards[connection.shard].id;
        if let Some(answer) = connection.to_router.pop_front() {
            if connection.ignored > 0 {
                connection.ignored -= 1;
                return true;
            }
            let purpose = match &connection.purpose {
                Some(Purpose::Participant { transaction }) => Some(Purpose::Participant {
                    transaction: *transaction,
                }),
                _ => {
                    // One question, one answer.
                    connection.router_end = false;
                    connection.server_hears = true;
                    connection.purpose.take()
                }
            };
            if let Some(purpose) = purpose {
                self.trace(|| format!("router {router} hears from shard {shard}: {answer:?}"));
                self.receive(router, purpose, shard, Some(answer));
            }
            return true;
        }
        if !connection.router_hears {
            return false;
        }
        connection.router_end = false;
        if let Some(purpose) = connection.purpose.take() {
            self.trace(|| format!("router {router} loses a connection to shard {shard}"));
            self.receive(router, purpose, shard, None);
        }
        true
    }

    pub fn progress_server(&mut self, id: usize) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        if !connection.server_end {
            return false;
        }
        let index = connection.shard;
        let others: Vec<Open> = self
            .connections
            .iter()
            .filter(|(other, others)| **other != id && others.shard == index)
            .filter_map(|(_, others)| others.open.clone())
            .collect();
        let Some(connection) = self.connections.get_mut(&id) else {
            return false;
        };
        let Some(statement) = connection.to_server.front() else {
            if connection.server_hears {
                connection.server_end = false;
                connection.open = None;
            }
            return connection.server_hears;
        };
        let shard = &mut self.shards[index];
        let server = &mut self.servers[shard.server];
        let mut backend = Backend {
            server,
            shard,
            index,
            open: &mut connection.open,
            others: &others,
            now: self.now,
            random: &mut self.random,
            faulty: self.faulty,
            mutation: self.mutation,
            events: Vec::new(),
            rest: None,
        };
        let answer = backend.execute(statement);
        let (events, rest) = (backend.events, backend.rest);
        if let Some(rest) = rest {
            connection.to_server[0] = rest;
            return true;
        }
        let mut answer = match answer {
            Some(answer) => answer,
            // The wait for a lock may time out; then it is an error.
            None if matches!(statement, Statement::DecideAbort(_))
                && self.faulty
                && self.random.one_in(4) =>
            {
                Answer::Refused
            }
            None => return false,
        };
        let described = self.tracing.then(|| format!("{statement:?}"));
        connection.to_server.pop_front();
        if self.faulty
            && matches!(answer, Answer::Completion(Completion::Done))
            && self.random.one_in(60)
        {
            // Terminated by the administrator, after the work and before the answer.
            answer = Answer::Completion(fatal());
            connection.open = None;
            connection.server_end = false;
            connection.router_hears = true;
            connection.to_server.clear();
        }
        if let Some(statement) = described {
            println!(
                "{:5} shard {index}+1 executes {statement}: {answer:?}",
                self.now
            );
        }
        if connection.router_end {
            connection.to_router.push_back(answer);
        }
        for event in events {
            self.note(event);
        }
        true
    }

    /// Each side learns of it in its own time.
    pub fn break_connection(&mut self, id: usize) {
        let (keep_question, keep_answer) = (self.random.below(2), self.random.below(2));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.to_server.truncate(keep_question);
            connection.to_router.truncate(keep_answer);
            connection.router_hears = true;
            connection.server_hears = true;
        }
    }

    pub fn connect(&mut self, router: usize, shard: usize, purpose: Purpose) -> usize {
        let up = !self.servers[self.shards[shard].server].down;
        self.made += 1;
        let connection = Connection {
            router,
            shard,
            purpose: Some(purpose),
            router_end: true,
            server_end: up,
            router_hears: !up,
            server_hears: false,
            to_server: VecDeque::new(),
            to_router: VecDeque::new(),
            stalled_until: 0,
            ignored: 0,
            open: None,
        };
        self.connections.insert(self.made, connection);
        self.made
    }

    /// A connection for one statement.
    pub fn call(&mut self, router: usize, shard: ShardId, purpose: Purpose, statement: Statement) {
        // Foreign names mention shards that are not there.
        let index = self
            .shards
            .iter()
            .position(|candidate| candidate.id == shard)
            .unwrap_or(0);
        let id = self.connect(router, index, purpose);
        self.send(id, statement, false);
    }

    /// False: the connection is known to be closed.
    pub fn send(&mut self, id: usize, statement: Statement, ignore_answer: bool) -> bool {
        let Some(connection) = self
            .connections
            .get_mut(&id)
            .filter(|connection| connection.router_end)
        else {
            return false;
        };
        if connection.server_end {
            connection.to_server.push_back(statement);
            connection.ignored += usize::from(ignore_answer);
        }
        true
    }

    pub fn hang_up(&mut self, id: usize) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.router_end = false;
            connection.server_hears = true;
        }
    }

    /// Back to the pool: it must be idle and outside any transaction.
    pub fn release(&mut self, id: usize) {
        if let Some(connection) = self.connections.get(&id)
            && connection.router_end
            && connection.ignored == 0
            && (connection.open.is_some()
                || !connection.to_server.is_empty()
                || !connection.to_router.is_empty())
        {
            self.violate("a connection was released in the middle of a transaction".into());
        }
        self.hang_up(id);
    }

    pub fn deliver_all(&mut self) {
        loop {
            let ids: Vec<usize> = self.connections.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                while self.progress(id, true) || self.progress(id, false) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }
}
