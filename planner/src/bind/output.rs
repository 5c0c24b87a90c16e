//! The output columns of a target list or of RETURNING, `*` expanded.

use super::Binder;
use super::name::column_name;
use crate::facts::Variable;
use crate::operand::{OperandValue, operand};
use crate::parse::{Node, nodes};
use crate::query::Output;
use crate::scope::{Namespace, Resolved, Scope};

impl<'c: 's, 's> Binder<'c, 's> {
    /// The output columns of a target list or RETURNING: the columns, whether positions and whether names are reliable.
    pub(super) fn outputs(
        &self,
        targets: &[&nodes::ResTarget],
        scope: &Scope<'_>,
    ) -> (Vec<Output>, bool, bool) {
        let mut outputs = Vec::with_capacity(targets.len());
        let (mut positions_known, mut names_known) = (true, true);
        for target in targets {
            match target.val() {
                Node::ColumnRef(reference) => {
                    let last = reference.fields().iter().next_back();
                    if matches!(last, Some(Node::A_Star(_))) {
                        let (columns, certain) = self.star(reference, scope.namespace);
                        match columns {
                            Some(columns) => {
                                outputs.extend(columns);
                                positions_known &= certain;
                            }
                            None => (positions_known, names_known) = (false, false),
                        }
                        continue;
                    }
                    let variable = match self.relations.resolve(reference, scope) {
                        Resolved::Column(variable) => Some(variable),
                        Resolved::Unclear => None,
                    };
                    let name = target
                        .name()
                        .or_else(|| last.and_then(Node::as_str))
                        .map(str::to_owned);
                    outputs.push(Output {
                        name,
                        variable,
                        operand: None,
                    });
                }
                Node::A_Indirection(indirection)
                    if matches!(
                        indirection.indirection().iter().next_back(),
                        Some(Node::A_Star(_))
                    ) =>
                {
                    (positions_known, names_known) = (false, false);
                }
                expression => {
                    let operand = operand(expression, self.source)
                        .filter(|operand| !operand.array && operand.value != OperandValue::Null);
                    let name = target
                        .name()
                        .map(str::to_owned)
                        .or_else(|| column_name(expression));
                    names_known &= name.is_some();
                    outputs.push(Output {
                        name,
                        variable: None,
                        operand,
                    });
                }
            }
        }
        (outputs, positions_known, names_known)
    }

    /// The columns of `*` or `relation.*`; `None` when they are not all known. The flag: their order is certain.
    pub(super) fn star(
        &self,
        reference: &nodes::ColumnRef,
        namespace: &Namespace,
    ) -> (Option<Vec<Output>>, bool) {
        let path: Vec<&str> = reference.fields().iter().filter_map(Node::as_str).collect();
        let mut columns = Vec::new();
        if let Some(name) = path.last() {
            let mut called = namespace
                .entries
                .iter()
                .filter(|entry| entry.qualified)
                .filter(|entry| {
                    let relation = &self.relations.0[entry.relation];
                    relation.name == *name
                        && (path.len() == 1
                            || relation.schema.as_deref() == path.iter().rev().nth(1).copied())
                });
            let (Some(entry), None) = (called.next(), called.next()) else {
                return (None, false);
            };
            let relation = &self.relations.0[entry.relation];
            if !relation.complete() {
                return (None, false);
            }
            columns.extend(relation.variables().map(column_output));
            return (Some(columns), true);
        }
        if namespace.open {
            return (None, false);
        }
        columns.extend(namespace.merged.iter().map(|(name, variable)| Output {
            name: Some(name.clone()),
            variable: *variable,
            operand: None,
        }));
        for entry in namespace.entries.iter().filter(|entry| entry.unqualified) {
            let relation = &self.relations.0[entry.relation];
            if !relation.complete() {
                return (None, false);
            }
            columns.extend(
                relation
                    .variables()
                    .filter(|(name, _)| {
                        !name.is_some_and(|name| entry.hidden.iter().any(|hidden| hidden == name))
                    })
                    .map(column_output),
            );
        }
        let plain = namespace.merged.is_empty()
            && namespace
                .entries
                .iter()
                .all(|entry| entry.unqualified || !entry.qualified);
        (Some(columns), plain)
    }
}

fn column_output((name, variable): (Option<&str>, Variable)) -> Output {
    Output {
        name: name.map(str::to_owned),
        variable: Some(variable),
        operand: None,
    }
}

pub(super) fn without_variables(outputs: Vec<Output>) -> Vec<Output> {
    outputs
        .into_iter()
        .map(|output| Output {
            variable: None,
            operand: None,
            ..output
        })
        .collect()
}
