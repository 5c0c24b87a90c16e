//! The session's temporary relations: which names it has made, on which shard, and what the end of a transaction
//! does to them.
//!
//! They decide what an unqualified name means, so this must say at each moment what the servers would say: ROLLBACK takes
//! back what the block has created and dropped, COMMIT takes what was created ON COMMIT DROP.

use catalog::ShardId;

use super::savepoints::Savepoints;

/// Names of temporary relations, with what a ROLLBACK returns to.
#[derive(Clone, Debug)]
pub struct Temporary {
    now: Names,
    saved: Savepoints<Names>,
}

#[derive(Clone, Debug, Default)]
struct Names {
    relations: Vec<(String, ShardId)>,
    /// Those of them that COMMIT drops.
    until_commit: Vec<String>,
}

impl Temporary {
    pub fn none() -> Self {
        Self {
            now: Names::default(),
            saved: Savepoints::none(),
        }
    }

    pub fn relations(&self) -> &[(String, ShardId)] {
        &self.now.relations
    }

    /// Records what one statement dropped and created. `until_commit`: it said ON COMMIT DROP.
    pub fn replace(
        &mut self,
        drops: &[String],
        creates: &[String],
        shard: ShardId,
        until_commit: bool,
    ) {
        let now = &mut self.now;
        // A relation that is given another name stays what it is.
        let until_commit = until_commit || drops.iter().any(|name| now.until_commit.contains(name));
        now.relations.retain(|(name, _)| !drops.contains(name));
        now.until_commit.retain(|name| !drops.contains(name));
        for name in creates {
            let known = now.relations.iter().any(|(known, _)| known == name);
            // IF NOT EXISTS leaves a known one alone; outside a block the statement has committed already.
            if known || until_commit && !self.saved.in_block() {
                continue;
            }
            now.relations.push((name.clone(), shard));
            if until_commit {
                now.until_commit.push(name.clone());
            }
        }
    }

    /// DISCARD TEMP.
    pub fn clear(&mut self) {
        self.now = Names::default();
    }

    pub fn begin(&mut self) {
        self.saved.begin(self.now.clone());
    }

    pub fn savepoint(&mut self, name: &str) {
        self.saved.savepoint(name, self.now.clone());
    }

    pub fn rollback_to(&mut self, name: &str) {
        if let Some(then) = self.saved.rollback_to(name) {
            self.now = then;
        }
    }

    pub fn release(&mut self, name: &str) {
        self.saved.release(name);
    }

    pub fn commit(&mut self) {
        self.saved.end();
        let gone = std::mem::take(&mut self.now.until_commit);
        self.now.relations.retain(|(name, _)| !gone.contains(name));
    }

    pub fn rollback(&mut self) {
        if let Some(before) = self.saved.end() {
            self.now = before;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(temporary: &mut Temporary, name: &str, until_commit: bool) {
        temporary.replace(&[], &[name.to_owned()], ShardId(1), until_commit);
    }

    fn names(temporary: &Temporary) -> Vec<&str> {
        temporary
            .relations()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    #[test]
    fn the_end_of_a_block_decides_what_stays() {
        let mut temporary = Temporary::none();
        create(&mut temporary, "before", false);
        temporary.begin();
        create(&mut temporary, "undone", false);
        temporary.replace(&["before".to_owned()], &[], ShardId(1), false);
        assert_eq!(names(&temporary), ["undone"]);
        temporary.rollback();
        assert_eq!(names(&temporary), ["before"]);
        temporary.begin();
        create(&mut temporary, "gone", true);
        temporary.replace(
            &["gone".to_owned()],
            &["renamed".to_owned()],
            ShardId(1),
            false,
        );
        create(&mut temporary, "kept", false);
        temporary.savepoint("s");
        create(&mut temporary, "later", false);
        temporary.rollback_to("s");
        assert_eq!(names(&temporary), ["before", "renamed", "kept"]);
        temporary.commit();
        assert_eq!(names(&temporary), ["before", "kept"]);
    }

    #[test]
    fn outside_a_block_on_commit_drop_leaves_nothing() {
        let mut temporary = Temporary::none();
        create(&mut temporary, "gone", true);
        assert!(names(&temporary).is_empty());
    }
}
