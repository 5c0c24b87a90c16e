//! Which names are visible where, as PostgreSQL's `parse_relation.c` sees it.
//!
//! Entry points: [`Scope`] and [`Relations::resolve`]. A name resolves to a variable only when there is no doubt; in doubt the
//! answer is [`Resolved::Unclear`], which proves nothing.

use catalog::Table;

use crate::facts::Variable;
use crate::parse::{Node, nodes};
use crate::query::QueryId;

pub(crate) type RelationId = usize;

/// One appearance of a relation.
pub(crate) struct BoundRelation<'c> {
    /// The name it is called by: alias or own name.
    pub name: String,
    /// Its schema, when it can be called by it (no alias).
    pub schema: Option<String>,
    pub columns: Columns<'c>,
    /// Aliases of its first columns.
    pub renamed: Vec<String>,
    pub first: Variable,
}

pub(crate) enum Columns<'c> {
    Table(&'c Table),
    /// Names of a subquery's outputs, and whether there are no others.
    Listed {
        names: Vec<Option<String>>,
        complete: bool,
    },
    /// Not known.
    Open,
}

impl BoundRelation<'_> {
    /// Column names in order; `None` for one whose name is not known.
    fn count(&self) -> usize {
        match &self.columns {
            Columns::Table(table) => table.columns.len(),
            Columns::Listed { names, .. } => names.len(),
            Columns::Open => 0,
        }
    }

    pub fn column_name(&self, index: usize) -> Option<&str> {
        if let Some(name) = self.renamed.get(index) {
            return Some(name);
        }
        match &self.columns {
            Columns::Table(table) => table.columns.get(index).map(|column| column.name.as_str()),
            Columns::Listed { names, .. } => names.get(index)?.as_deref(),
            Columns::Open => None,
        }
    }

    pub fn variables(&self) -> impl Iterator<Item = (Option<&str>, Variable)> {
        (0..self.count()).map(|index| (self.column_name(index), self.first + index as Variable))
    }

    pub fn complete(&self) -> bool {
        match &self.columns {
            Columns::Table(_) => true,
            Columns::Listed { names, complete } => *complete && names.iter().all(Option::is_some),
            Columns::Open => false,
        }
    }

    pub fn column(&self, name: &str) -> Option<Variable> {
        let index = (0..self.count()).find(|index| self.column_name(*index) == Some(name))?;
        Some(self.first + index as Variable)
    }
}

/// What FROM, or a part of it, makes visible.
#[derive(Default, Clone)]
pub(crate) struct Namespace {
    pub entries: Vec<Entry>,
    /// Columns merged by USING or NATURAL; `None`: merged into something that is no plain column.
    pub merged: Vec<(String, Option<Variable>)>,
    /// A NATURAL join with unknown columns: nothing unqualified is certain.
    pub open: bool,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub relation: RelationId,
    /// May be called by its own name.
    pub qualified: bool,
    /// Its columns may be called without its name, but for the hidden ones.
    pub unqualified: bool,
    pub hidden: Vec<String>,
}

impl Namespace {
    pub fn of(relation: RelationId) -> Namespace {
        Namespace {
            entries: vec![Entry {
                relation,
                qualified: true,
                unqualified: true,
                hidden: Vec::new(),
            }],
            ..Namespace::default()
        }
    }

    pub fn append(&mut self, other: Namespace) {
        self.entries.extend(other.entries);
        self.merged.extend(other.merged);
        self.open |= other.open;
    }

    /// A join with an alias hides what is inside it.
    pub fn hide(&mut self) {
        for entry in &mut self.entries {
            entry.qualified = false;
            entry.unqualified = false;
        }
        self.merged.clear();
        self.open = false;
    }
}

/// The chain of name spaces around an expression, innermost first.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub namespace: &'s Namespace,
    pub parent: Option<&'s Scope<'s>>,
    pub ctes: Option<&'s CteScope<'s>>,
}

/// The WITH clauses around an expression, innermost first.
#[derive(Clone, Copy)]
pub(crate) struct CteScope<'s> {
    pub ctes: &'s [Cte],
    pub parent: Option<&'s CteScope<'s>>,
}

#[derive(Clone)]
pub(crate) struct Cte {
    pub name: String,
    pub columns: Vec<String>,
    pub body: CteBody,
}

#[derive(Clone, Copy)]
pub(crate) enum CteBody {
    Query(QueryId),
    /// The recursive reference inside its own definition; its variables start here.
    Itself {
        base: QueryId,
        first: Variable,
    },
    /// In WITH RECURSIVE, defined further down.
    Later,
}

impl<'s> Scope<'s> {
    /// The same with a WITH clause around it.
    pub fn with(&self, clause: &'s CteScope<'s>) -> Scope<'s> {
        Scope {
            ctes: if clause.ctes.is_empty() {
                self.ctes
            } else {
                Some(clause)
            },
            ..*self
        }
    }
}

impl CteScope<'_> {
    pub fn find(&self, name: &str) -> Option<&Cte> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(cte) = here.ctes.iter().rev().find(|cte| cte.name == name) {
                return Some(cte);
            }
            scope = here.parent;
        }
        None
    }
}

/// What a column reference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolved {
    Column(Variable),
    Unclear,
}

const SYSTEM_COLUMNS: [&str; 7] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"];

pub(crate) fn is_system_column(name: &str) -> bool {
    SYSTEM_COLUMNS.contains(&name)
}

/// All appearances of relations in one statement.
#[derive(Default)]
pub(crate) struct Relations<'c>(pub Vec<BoundRelation<'c>>);

impl Relations<'_> {
    pub fn resolve(&self, reference: &nodes::ColumnRef, scope: &Scope<'_>) -> Resolved {
        let mut fields = reference.fields().iter();
        let parts = [fields.next(), fields.next(), fields.next(), fields.next()];
        let text = |node: Option<Node<'_>>| node.and_then(|node| node.as_str().map(str::to_owned));
        match (text(parts[0]), text(parts[1]), text(parts[2])) {
            (Some(column), None, None) if parts[1].is_none() => self.unqualified(&column, scope),
            (Some(relation), Some(column), None) if parts[2].is_none() => {
                self.qualified(None, &relation, &column, scope)
            }
            (Some(schema), Some(relation), Some(column)) if parts[3].is_none() => {
                self.qualified(Some(&schema), &relation, &column, scope)
            }
            _ => Resolved::Unclear,
        }
    }

    pub fn unqualified(&self, column: &str, scope: &Scope<'_>) -> Resolved {
        if is_system_column(column) {
            return Resolved::Unclear;
        }
        let mut scope = Some(scope);
        while let Some(here) = scope {
            match self.in_namespace(column, here.namespace) {
                Some(resolved) => return resolved,
                None => scope = here.parent,
            }
        }
        Resolved::Unclear
    }

    /// `None`: this name space has no such column.
    pub fn in_namespace(&self, column: &str, namespace: &Namespace) -> Option<Resolved> {
        if namespace.open {
            return Some(Resolved::Unclear);
        }
        let mut found: Option<Option<Variable>> = None;
        let mut doubt = false;
        for (name, variable) in &namespace.merged {
            if name == column {
                if found.is_some() {
                    return Some(Resolved::Unclear);
                }
                found = Some(*variable);
            }
        }
        for entry in &namespace.entries {
            if !entry.unqualified || entry.hidden.iter().any(|hidden| hidden == column) {
                continue;
            }
            let Some(relation) = self.0.get(entry.relation) else {
                continue;
            };
            match relation.column(column) {
                Some(variable) if found.is_none() => found = Some(Some(variable)),
                Some(_) => return Some(Resolved::Unclear),
                None => doubt |= !relation.complete(),
            }
        }
        match found {
            Some(Some(variable)) => Some(Resolved::Column(variable)),
            Some(None) => Some(Resolved::Unclear),
            None if doubt => Some(Resolved::Unclear),
            None => None,
        }
    }

    fn qualified(
        &self,
        schema: Option<&str>,
        name: &str,
        column: &str,
        scope: &Scope<'_>,
    ) -> Resolved {
        let mut scope = Some(scope);
        while let Some(here) = scope {
            let mut matches = here
                .namespace
                .entries
                .iter()
                .filter(|entry| entry.qualified)
                .filter_map(|entry| {
                    let relation = self.0.get(entry.relation)?;
                    let called = relation.name == name
                        && (schema.is_none() || relation.schema.as_deref() == schema);
                    called.then_some(relation)
                });
            if let Some(relation) = matches.next() {
                if matches.next().is_some() {
                    return Resolved::Unclear;
                }
                return relation
                    .column(column)
                    .map_or(Resolved::Unclear, Resolved::Column);
            }
            scope = here.parent;
        }
        Resolved::Unclear
    }
}
