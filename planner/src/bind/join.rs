//! Joins: their conditions, and the names that are visible through them.

use super::Binder;
use super::from::FromItem;
use crate::Error;
use crate::facts::{Fact, Variable};
use crate::parse::{JoinType, Node, nodes};
use crate::query::{Item, Join, JoinKind, QueryId};
use crate::scope::{Namespace, Resolved, Scope};

impl<'c: 's, 's> Binder<'c, 's> {
    /// A join and all joins down its left side, without recursion along them.
    pub(super) fn join(
        &mut self,
        join: &nodes::JoinExpr,
        outer: &Scope<'_>,
        lateral: &Scope<'_>,
        loose: &mut Vec<QueryId>,
    ) -> Result<FromItem, Error> {
        let mut spine = vec![join];
        let mut leftmost = join.larg();
        while let Node::JoinExpr(inner) = leftmost {
            spine.push(inner);
            leftmost = inner.larg();
        }
        let mut left = self.bind_from_item(leftmost, outer, lateral, loose)?;
        for join in spine.into_iter().rev() {
            let beside = Scope {
                namespace: &left.namespace,
                parent: Some(lateral),
                ctes: outer.ctes,
            };
            let right = self.bind_from_item(join.rarg(), outer, &beside, loose)?;
            left = self.joined(join, left, right, outer)?;
        }
        Ok(left)
    }

    pub(super) fn joined(
        &mut self,
        join: &nodes::JoinExpr,
        left: FromItem,
        right: FromItem,
        outer: &Scope<'_>,
    ) -> Result<FromItem, Error> {
        let kind = match join.jointype {
            JoinType::JOIN_INNER => JoinKind::Inner,
            JoinType::JOIN_LEFT => JoinKind::Left,
            JoinType::JOIN_RIGHT => JoinKind::Right,
            JoinType::JOIN_FULL => JoinKind::Full,
            _ => return Err(Error::internal("a join of a kind that no text can ask for")),
        };
        let mut facts = Vec::new();
        let mut subqueries = Vec::new();
        let (mut left_names, mut right_names) = (left.namespace, right.namespace);
        let mut merged = Vec::new();
        let common = self.merged_columns(join, &left_names, &right_names);
        let unknown_natural = join.is_natural && common.is_none();
        for column in common.unwrap_or_default() {
            let variable = self.merge(&column, kind, &left_names, &right_names, &mut facts);
            for names in [&mut left_names, &mut right_names] {
                names.merged.retain(|(name, _)| *name != column);
                for entry in &mut names.entries {
                    entry.hidden.push(column.clone());
                }
            }
            merged.push((column, variable));
        }
        let mut namespace = Namespace {
            entries: Vec::new(),
            merged,
            open: unknown_natural,
        };
        namespace.append(left_names);
        namespace.append(right_names);
        let scope = Scope {
            namespace: &namespace,
            parent: Some(outer),
            ctes: outer.ctes,
        };
        self.expression(join.quals(), &scope, &mut subqueries)?;
        self.conditions(join.quals(), &scope, &mut facts);
        self.note_merged(join);
        match kind {
            JoinKind::Inner => self.note_conditions(join.quals(), &[left.item, right.item], &scope),
            JoinKind::Left => self.note_conditions(join.quals(), &[right.item], &scope),
            JoinKind::Right => self.note_conditions(join.quals(), &[left.item], &scope),
            JoinKind::Full => {}
        }
        let holds = match kind {
            JoinKind::Inner => [
                left.facts.as_slice(),
                right.facts.as_slice(),
                facts.as_slice(),
            ]
            .concat(),
            JoinKind::Left => left.facts.clone(),
            JoinKind::Right => right.facts.clone(),
            JoinKind::Full => Vec::new(),
        };
        self.bound.items.push(Item::Join(Join {
            kind,
            left: left.item,
            right: right.item,
            facts,
            left_facts: left.facts,
            right_facts: right.facts,
            subqueries,
        }));
        let item = self.bound.items.len() - 1;
        if let Some(alias) = join.join_using_alias().and_then(|alias| alias.aliasname()) {
            let relation = self.add_open(alias);
            let mut names = Namespace::of(relation);
            names.entries[0].unqualified = false;
            namespace.append(names);
        }
        if let Some(alias) = join.alias().and_then(|alias| alias.aliasname()) {
            // Its columns go by the alias now; none of them is traced.
            namespace.hide();
            let relation = self.add_open(alias);
            namespace.append(Namespace::of(relation));
        }
        Ok(FromItem {
            item,
            facts: holds,
            namespace,
        })
    }

    /// The columns of USING, or those that NATURAL finds. `None`: cannot be told.
    pub(super) fn merged_columns(
        &self,
        join: &nodes::JoinExpr,
        left: &Namespace,
        right: &Namespace,
    ) -> Option<Vec<String>> {
        if !join.is_natural {
            return Some(
                join.using_clause()
                    .iter()
                    .filter_map(|name| name.sval().map(str::to_owned))
                    .collect(),
            );
        }
        let left = self.visible_columns(left)?;
        let right = self.visible_columns(right)?;
        Some(
            left.into_iter()
                .filter(|column| right.contains(column))
                .collect(),
        )
    }

    pub(super) fn visible_columns(&self, namespace: &Namespace) -> Option<Vec<String>> {
        if namespace.open {
            return None;
        }
        let mut columns: Vec<String> = namespace
            .merged
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        for entry in namespace.entries.iter().filter(|entry| entry.unqualified) {
            let relation = &self.relations.0[entry.relation];
            if !relation.complete() {
                return None;
            }
            columns.extend(
                relation
                    .variables()
                    .filter_map(|(name, _)| name)
                    .filter(|name| !entry.hidden.iter().any(|hidden| hidden == name))
                    .map(str::to_owned),
            );
        }
        Some(columns)
    }

    pub(super) fn merge(
        &self,
        column: &str,
        kind: JoinKind,
        left: &Namespace,
        right: &Namespace,
        facts: &mut Vec<Fact>,
    ) -> Option<Variable> {
        let (Some(Resolved::Column(left)), Some(Resolved::Column(right))) = (
            self.relations.in_namespace(column, left),
            self.relations.in_namespace(column, right),
        ) else {
            return None;
        };
        if self.family(left).is_none() || self.family(left) != self.family(right) {
            return None;
        }
        if self.trusted_equality {
            facts.push(Fact::Same(left, right));
        }
        match kind {
            JoinKind::Inner | JoinKind::Left => Some(left),
            JoinKind::Right => Some(right),
            JoinKind::Full => None,
        }
    }
}
