//! The session's temporary relations: which names it has made, on which shard, and what the end of a transaction
//! does to them.
//!
//! They decide what an unqualified name means, so this must say at each moment what the servers would say: ROLLBACK takes
//! back what the block has created and dropped, COMMIT takes what was created ON COMMIT DROP.

use catalog::ShardId;

/// Names of temporary relations, with what a ROLLBACK returns to.
#[derive(Clone, Debug, Default)]
pub struct Temporary {
    relations: Vec<(String, ShardId)>,
    /// Those of them that COMMIT drops.
    until_commit: Vec<String>,
    /// Both as they were when the open block began, then at each savepoint, by name.
    saved: Vec<Saved>,
}

#[derive(Clone, Debug)]
struct Saved {
    savepoint: Box<str>,
    relations: Vec<(String, ShardId)>,
    until_commit: Vec<String>,
}

impl Temporary {
    pub fn relations(&self) -> &[(String, ShardId)] {
        &self.relations
    }

    /// Records what one statement dropped and created. `until_commit`: it said ON COMMIT DROP.
    pub fn replace(
        &mut self,
        drops: &[String],
        creates: &[String],
        shard: ShardId,
        until_commit: bool,
    ) {
        // A relation that is given another name stays what it is.
        let until_commit =
            until_commit || drops.iter().any(|name| self.until_commit.contains(name));
        self.relations.retain(|(name, _)| !drops.contains(name));
        self.until_commit.retain(|name| !drops.contains(name));
        let in_block = !self.saved.is_empty();
        for name in creates {
            let known = self.relations.iter().any(|(known, _)| known == name);
            // IF NOT EXISTS leaves a known one alone; outside a block the statement has committed already.
            if known || until_commit && !in_block {
                continue;
            }
            self.relations.push((name.clone(), shard));
            if until_commit {
                self.until_commit.push(name.clone());
            }
        }
    }

    /// DISCARD TEMP.
    pub fn clear(&mut self) {
        self.relations.clear();
        self.until_commit.clear();
    }

    pub fn begin(&mut self) {
        self.saved.clear();
        self.savepoint("");
    }

    pub fn savepoint(&mut self, name: &str) {
        self.saved.push(Saved {
            savepoint: name.into(),
            relations: self.relations.clone(),
            until_commit: self.until_commit.clone(),
        });
    }

    pub fn rollback_to(&mut self, name: &str) {
        if let Some(index) = self.position(name) {
            self.saved.truncate(index + 1);
            self.relations = self.saved[index].relations.clone();
            self.until_commit = self.saved[index].until_commit.clone();
        }
    }

    pub fn release(&mut self, name: &str) {
        if let Some(index) = self.position(name) {
            self.saved.truncate(index);
        }
    }

    pub fn commit(&mut self) {
        self.saved.clear();
        let gone = std::mem::take(&mut self.until_commit);
        self.relations.retain(|(name, _)| !gone.contains(name));
    }

    pub fn rollback(&mut self) {
        if let Some(before) = self.saved.drain(..).next() {
            self.relations = before.relations;
            self.until_commit = before.until_commit;
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.saved
            .iter()
            .skip(1)
            .rposition(|saved| &*saved.savepoint == name)
            .map(|index| index + 1)
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
        let mut temporary = Temporary::default();
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
        let mut temporary = Temporary::default();
        create(&mut temporary, "gone", true);
        assert!(names(&temporary).is_empty());
    }
}
