//! What must hold, whatever goes wrong; as an observer sees it who sees everything.

use txn::{Access, Decision, Outcome};

use super::server::{Event, Row};
use super::world::{SERVER_OF_SHARD, World};

impl World {
    pub fn note(&mut self, event: Event) {
        match event {
            Event::Committed {
                transaction,
                access: Access::Lock,
            } => {
                let decided = self.is_decided(transaction);
                self.records[transaction].released_early |= !decided;
            }
            Event::Committed { .. } => {}
            Event::ReaderRefused { transaction } => self.records[transaction].reader_refused = true,
            Event::Deleted(gid) => {
                self.deleted.insert(gid);
            }
        }
    }

    /// Whether the decider has committed.
    pub fn is_decided(&self, transaction: usize) -> bool {
        match self.records[transaction].decider {
            Some(decider) => self
                .shards
                .iter()
                .any(|shard| shard.id == decider && shard.committed.contains(&transaction)),
            None => true,
        }
    }

    pub fn reply(&mut self, transaction: usize, outcome: Outcome) {
        self.trace(|| format!("transaction {transaction} is answered {outcome:?}"));
        if self.records[transaction].answer.is_some() {
            self.violate(format!("transaction {transaction} was answered twice"));
        }
        match &outcome {
            Outcome::Committed { unfinished } => {
                self.counts.committed += 1;
                self.counts.unfinished += usize::from(!unfinished.is_empty());
                for shard in self.records[transaction].writers() {
                    if !unfinished.contains(&shard)
                        && !self
                            .shards
                            .iter()
                            .any(|here| here.id == shard && here.committed.contains(&transaction))
                    {
                        self.violate(format!("transaction {transaction} was called committed and finished, but is not on shard {shard}"));
                    }
                }
            }
            Outcome::Aborted(_) => self.counts.aborted += 1,
            Outcome::Unknown { .. } => self.counts.unknown += 1,
        }
        self.records[transaction].answer = Some(outcome);
    }

    pub fn prepared_of_ours(&self) -> bool {
        self.servers.iter().any(|server| {
            server
                .prepared
                .values()
                .any(|prepared| prepared.transaction.is_some())
        })
    }

    /// No decision lost: while a participant of a committed transaction is prepared, its row is there.
    pub fn check_decisions(&mut self) {
        let prepared: Vec<usize> = self
            .servers
            .iter()
            .flat_map(|server| {
                server
                    .prepared
                    .values()
                    .filter_map(|prepared| prepared.transaction)
            })
            .collect();
        for transaction in prepared {
            let Some(gid) = self.records[transaction].gid else {
                continue;
            };
            let row = self
                .shards
                .iter()
                .find(|shard| shard.id == gid.coordinating)
                .and_then(|shard| shard.decisions.get(&gid));
            if self.is_decided(transaction)
                && row.is_none_or(|row: &Row| row.outcome != Decision::Commit)
            {
                self.violate(format!(
                    "transaction {transaction} is committed and prepared, but its decision is lost"
                ));
            }
        }
    }

    pub fn check_end(&self) -> Result<(), String> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        for (index, name) in &self.foreign {
            if !self.servers[SERVER_OF_SHARD[*index]]
                .prepared
                .contains_key(name)
            {
                return Err(format!(
                    "somebody else's prepared transaction {name} was touched"
                ));
            }
        }
        if self.prepared_of_ours() {
            return Err("a prepared transaction is left".into());
        }
        for (transaction, record) in self.records.iter().enumerate() {
            let writers = record.writers();
            let committed = writers
                .iter()
                .filter(|&&shard| {
                    self.shards
                        .iter()
                        .any(|here| here.id == shard && here.committed.contains(&transaction))
                })
                .count();
            let all = committed == writers.len();
            if committed > 0 && !all {
                return Err(format!(
                    "transaction {transaction} is committed on {committed} of {} shards",
                    writers.len()
                ));
            }
            match &record.answer {
                Some(Outcome::Committed { .. }) if !all => {
                    return Err(format!(
                        "transaction {transaction} was called committed and is not"
                    ));
                }
                Some(Outcome::Aborted(_)) if committed > 0 => {
                    return Err(format!(
                        "transaction {transaction} was called rolled back and is committed"
                    ));
                }
                _ => {}
            }
            if committed > 0 && record.serializable && record.reader_refused {
                return Err(format!(
                    "transaction {transaction} is committed, but what it read was refused"
                ));
            }
            if committed > 0 && record.released_early {
                return Err(format!(
                    "transaction {transaction} released locks before it was committed"
                ));
            }
            if let Some(gid) = record.gid.filter(|gid| !self.deleted.contains(gid)) {
                let row = self
                    .shards
                    .iter()
                    .find(|shard| shard.id == gid.coordinating)
                    .and_then(|shard| shard.decisions.get(&gid));
                let told = row.is_some_and(|row| row.outcome == Decision::Commit);
                if told != (committed > 0) {
                    return Err(format!(
                        "transaction {transaction}: the decision row does not tell the truth"
                    ));
                }
            }
        }
        Ok(())
    }
}
