//! What a query needs of its tables' rows: which columns, and which conditions rows must satisfy to matter.
//!
//! Columns go by name, not by what the name resolves to: one too many costs a little, one too few would be wrong. Conditions are
//! conjuncts of WHERE, and of the conditions of joins, over one table's columns and constants; the query still asks them itself.
//! Collected only when the rows are to be moved ([`Binder::collect`]).

use std::collections::{BTreeMap, HashSet};

use catalog::Reached;

use super::Binder;
use crate::functions::{Builtin, classify};
use crate::parse::{BoolExprType, ConstValue, Node, SetOperation, names, nodes};
use crate::query::{Item, ItemId, JoinKind, TableOid};
use crate::rewrite::expression;
use crate::scope::{BoundRelation, Columns, RelationId, Resolved, Scope};
use crate::walk::children;

#[derive(Default)]
pub(crate) struct Needed {
    /// Last parts of column references.
    columns: HashSet<String>,
    /// Names that may stand for a whole row.
    rows: HashSet<String>,
    /// Names of relations before a star that stands for columns.
    starred: HashSet<String>,
    /// Where such stars are.
    expanded: HashSet<i32>,
    /// Where stars are that nobody looks at.
    idle: HashSet<i32>,
    /// Relations whose columns are all shown.
    whole: HashSet<RelationId>,
    /// What is shown could not be told.
    everything: bool,
    /// Conditions by the relation that they are about.
    conditions: BTreeMap<RelationId, Vec<String>>,
}

impl Needed {
    /// Whether a column of a relation that is called so may be needed. `renamed`: its columns have other names here.
    pub fn column(&self, relation: RelationId, called: &str, renamed: bool, column: &str) -> bool {
        self.everything
            || renamed
            || self.whole.contains(&relation)
            || self.rows.contains(called)
            || self.starred.contains(called)
            || self.columns.contains(column)
    }

    /// Whether a row of what is called so may be used as a whole.
    pub fn row(&self, called: &str) -> bool {
        self.everything || self.rows.contains(called)
    }

    /// What rows of a relation must satisfy.
    pub fn conditions(&self, relation: RelationId) -> &[String] {
        self.conditions.get(&relation).map_or(&[], Vec::as_slice)
    }
}

impl<'c: 's, 's> Binder<'c, 's> {
    /// From here on what is needed is noted.
    pub fn collect(&mut self) {
        self.needed = Some(Needed::default());
    }

    /// A star among the outputs stands for columns.
    pub(super) fn note_output(&mut self, target: &nodes::ResTarget) {
        if let (Some(needed), Node::ColumnRef(reference)) = (&mut self.needed, target.val()) {
            needed.expanded.insert(reference.location);
        }
    }

    /// EXISTS asks for rows, not for what is in them: a star there stands for nothing. With DISTINCT or GROUP BY it says which rows there are.
    pub(super) fn note_exists(&mut self, subselect: Node<'_>) {
        if let (Some(needed), None, Node::SelectStmt(select)) =
            (&mut self.needed, self.within, subselect)
            && select.op == SetOperation::SETOP_NONE
            && select.distinct_clause().is_empty()
            && select.group_clause().is_empty()
        {
            let stars = select
                .target_list()
                .iter()
                .filter_map(|target| match target.val() {
                    Node::ColumnRef(reference) => Some(reference.location),
                    _ => None,
                });
            // What the grammar adds, such as the star of `TABLE name`, stands nowhere.
            needed.idle.extend(stars.filter(|location| *location >= 0));
        }
    }

    pub(super) fn note_reference(&mut self, reference: &nodes::ColumnRef, scope: &Scope<'_>) {
        let Some(needed) = &mut self.needed else {
            return;
        };
        let star = matches!(reference.fields().iter().next_back(), Some(Node::A_Star(_)));
        // Places in a view's definition are others.
        if star && self.within.is_none() && needed.idle.contains(&reference.location) {
            return;
        }
        let path: Vec<&str> = reference.fields().iter().filter_map(Node::as_str).collect();
        match path.as_slice() {
            // Of the level that the reference stands in.
            [] => {
                let entries = &scope.namespace.entries;
                needed
                    .whole
                    .extend(entries.iter().map(|entry| entry.relation));
            }
            [name] if !star => {
                needed.columns.insert((*name).to_owned());
                needed.rows.insert((*name).to_owned());
            }
            [.., relation, column] if !star => {
                needed.columns.insert((*column).to_owned());
                // A function of the row, written like a column.
                if matches!(self.relations.resolve(reference, scope), Resolved::Unclear) {
                    needed.rows.insert((*relation).to_owned());
                }
            }
            [.., relation] => {
                // As an argument it is the whole row.
                match needed.expanded.contains(&reference.location) {
                    true => needed.starred.insert((*relation).to_owned()),
                    false => needed.rows.insert((*relation).to_owned()),
                };
                let mut around = Some(scope);
                while let Some(here) = around {
                    let entries = here.namespace.entries.iter();
                    // The alias of a join stands for tables of other names.
                    needed.everything |= entries
                        .map(|entry| &self.relations.0[entry.relation])
                        .any(|known| {
                            known.name == *relation && matches!(known.columns, Columns::Open)
                        });
                    around = here.parent;
                }
            }
        }
    }

    /// The column tableoid of a table that has no other rows than its own. `false`: it cannot be told which table's.
    pub(super) fn note_tableoid(
        &mut self,
        reference: &nodes::ColumnRef,
        scope: &Scope<'_>,
    ) -> bool {
        let path: Vec<&str> = reference.fields().iter().filter_map(Node::as_str).collect();
        let mut around = Some(scope);
        let found = loop {
            let Some(here) = around else {
                return false;
            };
            let entries = here.namespace.entries.iter();
            let mut known = entries.map(|entry| &self.relations.0[entry.relation]);
            let found = match path.as_slice() {
                [_] => known.next().map(|first| (first, known.next().is_some())),
                [called, _] => {
                    let mut called = known.filter(|known| known.name == *called);
                    called.next().map(|first| (first, called.next().is_some()))
                }
                _ => return false,
            };
            match found {
                Some((only, false)) => break only,
                Some((_, true)) => return false,
                None => around = here.parent,
            }
        };
        let Columns::Table(table) = found.columns else {
            return false;
        };
        // Its partitions, among others.
        let reactions = self.context.catalog.reactions(&table.schema, &table.name);
        let has_parts = reactions
            .iter()
            .any(|reaction| matches!(reaction.reaches, Reached::Along(..)));
        if has_parts || self.within.is_some() {
            return false;
        }
        let place = TableOid {
            location: reference.location,
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            called: found.name.clone(),
            table,
        };
        self.bound.findings.tableoids.push(place);
        true
    }

    /// A column that is named with its table's schema: where copies stand for tables it goes by the table's name alone, if that
    /// means the same table.
    pub(super) fn note_schema(&mut self, reference: &nodes::ColumnRef, scope: &Scope<'_>) {
        let path: Vec<&str> = reference.fields().iter().filter_map(Node::as_str).collect();
        let star = matches!(reference.fields().iter().next_back(), Some(Node::A_Star(_)));
        let (schema, relation) = match (path.as_slice(), star) {
            ([schema, relation, _], false) | ([schema, relation], true) => (*schema, *relation),
            _ => {
                let why = "it names a column with its database";
                return self.bound.findings.keep_in_place(why);
            }
        };
        let mut around = Some(scope);
        while let Some(here) = around {
            let entries = here.namespace.entries.iter();
            let mut called = entries
                .map(|entry| &self.relations.0[entry.relation])
                .filter(|known| known.name == relation);
            match (called.next(), called.next()) {
                (None, _) => around = here.parent,
                (Some(only), None) if only.schema.as_deref() == Some(schema) => {
                    if self.within.is_none() {
                        let place = (reference.location, schema.to_owned());
                        self.bound.findings.schema_names.push(place);
                    }
                    return;
                }
                _ => {
                    let why = format!("{schema}.{relation} is not the only table of that name");
                    return self.bound.findings.keep_in_place(why);
                }
            }
        }
        // A server says what is wrong with it.
    }

    /// Columns that a join merges by name.
    pub(super) fn note_merged(&mut self, join: &nodes::JoinExpr) {
        if let Some(needed) = &mut self.needed {
            // Columns of a join's alias go by position.
            let renames = join
                .alias()
                .is_some_and(|alias| !alias.colnames().is_empty());
            needed.everything |= join.is_natural || renames;
            let using = join.using_clause().iter().filter_map(|name| name.sval());
            needed.columns.extend(using.map(str::to_owned));
        }
    }

    /// Conditions on tables among these items of which every row of the result uses one.
    pub(super) fn note_conditions(&mut self, root: Node<'_>, items: &[ItemId], scope: &Scope<'_>) {
        if self.needed.is_none() || self.within.is_some() || matches!(root, Node::None) {
            return;
        }
        let mut kept = Vec::new();
        for item in items {
            self.kept(*item, &mut kept);
        }
        if kept.is_empty() {
            return;
        }
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            match node {
                Node::BoolExpr(all) if all.boolop == BoolExprType::AND_EXPR => {
                    let parts: Vec<Node<'_>> = all.args().iter().collect();
                    stack.extend(parts.into_iter().rev());
                }
                _ => {
                    if let Some(relation) = self.only_relation(node, &kept, scope)
                        && let Ok(text) = expression(node)
                        && let Some(needed) = &mut self.needed
                    {
                        needed.conditions.entry(relation).or_default().push(text);
                    }
                }
            }
        }
    }

    /// Sharded and reference tables, and views, that no outer join fills up with NULLs.
    fn kept(&self, item: ItemId, out: &mut Vec<RelationId>) {
        let mut stack = vec![item];
        while let Some(item) = stack.pop() {
            match &self.bound.items[item] {
                Item::Sharded { relation, .. } | Item::Reference { relation } => {
                    out.push(*relation);
                }
                Item::Derived { first, .. } => {
                    let listed = |relation: &BoundRelation<'_>| {
                        relation.first == *first
                            && matches!(&relation.columns, Columns::Listed { names, .. } if !names.is_empty())
                    };
                    out.extend(self.relations.0.iter().position(listed));
                }
                Item::Other => {}
                Item::Join(join) => match join.kind {
                    JoinKind::Inner => stack.extend([join.left, join.right]),
                    JoinKind::Left => stack.push(join.left),
                    JoinKind::Right => stack.push(join.right),
                    JoinKind::Full => {}
                },
            }
        }
    }

    /// The one relation whose columns a condition is about, if it says the same of a row wherever it is asked.
    fn only_relation(
        &self,
        root: Node<'_>,
        kept: &[RelationId],
        scope: &Scope<'_>,
    ) -> Option<RelationId> {
        let mut of: Option<RelationId> = None;
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            match node {
                Node::SelectStmt(_) | Node::SubLink(_) | Node::SQLValueFunction(_) => return None,
                Node::FuncCall(call) => {
                    let path = names(call.funcname());
                    let name = path.last()?;
                    let own = path.len() > 1 && path.first() != Some(&"pg_catalog");
                    if own
                        || !self.context.catalog.functions(name).is_empty()
                        || classify(name) != Builtin::Settled
                    {
                        return None;
                    }
                }
                Node::A_Const(constant) if matches!(constant.val(), Some(ConstValue::String(text)) if super::means_now(text)) =>
                {
                    return None;
                }
                // With its schema a column is not known by the alias that it is asked with.
                Node::ColumnRef(reference) if reference.fields().len() > 2 => return None,
                Node::ColumnRef(reference) => {
                    let Resolved::Column(variable) = self.relations.resolve(reference, scope)
                    else {
                        return None;
                    };
                    let relation = self.relation_of(variable)?;
                    if *of.get_or_insert(relation) != relation {
                        return None;
                    }
                }
                _ => {}
            }
            children(node, &mut stack).ok()?;
        }
        of.filter(|relation| kept.contains(relation))
    }

    fn relation_of(&self, variable: u32) -> Option<RelationId> {
        self.relations
            .0
            .iter()
            .position(|relation| match &relation.columns {
                Columns::Table(table) => variable
                    .checked_sub(relation.first)
                    .is_some_and(|index| (index as usize) < table.columns.len()),
                Columns::Listed { names, .. } => variable
                    .checked_sub(relation.first)
                    .is_some_and(|index| (index as usize) < names.len()),
                Columns::Open => false,
            })
    }
}
