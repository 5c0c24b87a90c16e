//! What is known to hold for the rows that matter at one place of a query.
//!
//! Entry points: [`Fact`] and [`Known`]. A fact is an equality of two columns or of a column and a set of values, true for every
//! relevant row; `Known` closes a set of facts under transitivity. Columns are numbered variables; only columns whose
//! type makes equality exact are ever given a variable in a fact.

/// A column of one appearance of a relation.
pub(crate) type Variable = u32;
/// A set of values: an index into the binder's list.
pub(crate) type SetId = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Same(Variable, Variable),
    In(Variable, SetId),
}

/// Facts with their transitive closure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    facts: Vec<Fact>,
    /// Variables that occur, sorted, each with its class.
    classes: Vec<(Variable, u32)>,
}

impl Known {
    pub fn new(facts: Vec<Fact>) -> Known {
        let mut variables: Vec<Variable> = Vec::with_capacity(facts.len() * 2);
        for fact in &facts {
            match *fact {
                Fact::Same(a, b) => variables.extend([a, b]),
                Fact::In(a, _) => variables.push(a),
            }
        }
        variables.sort_unstable();
        variables.dedup();
        let mut parents: Vec<u32> = (0..variables.len() as u32).collect();
        for fact in &facts {
            if let Fact::Same(a, b) = *fact
                && let (Ok(a), Ok(b)) = (variables.binary_search(&a), variables.binary_search(&b))
            {
                let (a, b) = (root(&mut parents, a as u32), root(&mut parents, b as u32));
                parents[a as usize] = b;
            }
        }
        let classes = variables
            .iter()
            .enumerate()
            .map(|(index, variable)| (*variable, root(&mut parents, index as u32)))
            .collect();
        Known { facts, classes }
    }

    /// These facts and more.
    pub fn with(&self, more: impl IntoIterator<Item = Fact>) -> Known {
        let mut facts = self.facts.clone();
        facts.extend(more);
        Known::new(facts)
    }

    fn class(&self, variable: Variable) -> Option<u32> {
        let at = self
            .classes
            .binary_search_by_key(&variable, |(variable, _)| *variable)
            .ok()?;
        Some(self.classes[at].1)
    }

    pub fn same(&self, a: Variable, b: Variable) -> bool {
        a == b
            || self
                .class(a)
                .is_some_and(|class| self.class(b) == Some(class))
    }

    /// The sets that contain this column's value.
    pub fn sets(&self, variable: Variable) -> impl Iterator<Item = SetId> + '_ {
        let class = self.class(variable);
        self.facts.iter().filter_map(move |fact| match *fact {
            Fact::In(other, set) if class.is_some() && self.class(other) == class => Some(set),
            Fact::In(..) | Fact::Same(..) => None,
        })
    }

    /// All columns equal to this one, itself included.
    pub fn equals(&self, variable: Variable) -> impl Iterator<Item = Variable> + '_ {
        let class = self.class(variable);
        self.classes
            .iter()
            .filter(move |(_, other)| Some(*other) == class)
            .map(|(variable, _)| *variable)
    }
}

fn root(parents: &mut [u32], mut index: u32) -> u32 {
    while parents[index as usize] != index {
        let grandparent = parents[parents[index as usize] as usize];
        parents[index as usize] = grandparent;
        index = grandparent;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closure_is_transitive() {
        let known = Known::new(vec![
            Fact::Same(1, 2),
            Fact::Same(3, 2),
            Fact::In(3, 9),
            Fact::In(7, 8),
        ]);
        assert_eq!(known.sets(1).collect::<Vec<_>>(), vec![9]);
        assert_eq!(known.sets(7).collect::<Vec<_>>(), vec![8]);
        assert_eq!(known.sets(4).count(), 0);
        assert!(known.same(1, 3) && !known.same(1, 7));
        assert_eq!(known.with([Fact::Same(7, 1)]).sets(2).count(), 2);
    }
}
