//! What ROLLBACK and ROLLBACK TO return to: copies of a value, taken when the open block began and at each savepoint.

/// The copies, the oldest first. Without a block there are none.
#[derive(Clone, Debug)]
pub struct Savepoints<T> {
    /// The first one has no name: it is of the block's beginning.
    saved: Vec<(Box<str>, T)>,
}

impl<T: Clone> Savepoints<T> {
    pub fn none() -> Self {
        Self { saved: Vec::new() }
    }

    pub fn in_block(&self) -> bool {
        !self.saved.is_empty()
    }

    /// The value at the beginning of the open block.
    pub fn before_block(&self) -> Option<&T> {
        self.saved.first().map(|(_, value)| value)
    }

    pub fn begin(&mut self, value: T) {
        self.saved.clear();
        self.savepoint("", value);
    }

    pub fn savepoint(&mut self, name: &str, value: T) {
        self.saved.push((name.into(), value));
    }

    /// The value at the savepoint, which stays; those after it are forgotten. `None`: there is no such savepoint.
    pub fn rollback_to(&mut self, name: &str) -> Option<T> {
        let index = self.position(name)?;
        self.saved.truncate(index + 1);
        self.saved.last().map(|(_, value)| value.clone())
    }

    /// The savepoint and those after it are forgotten.
    pub fn release(&mut self, name: &str) {
        if let Some(index) = self.position(name) {
            self.saved.truncate(index);
        }
    }

    /// The block ends, and its beginning with it.
    pub fn end(&mut self) -> Option<T> {
        self.saved.drain(..).next().map(|(_, value)| value)
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.saved
            .iter()
            .skip(1)
            .rposition(|(savepoint, _)| &**savepoint == name)
            .map(|index| index + 1)
    }
}
