//! Constraints over several rows: which of them can hold when the rows are on several shards.
//!
//! Entry points: [`check_new_table`], [`check`], [`check_unique`]. UNIQUE, PRIMARY KEY and EXCLUDE must contain the whole shard key, so that
//! rows that could conflict are on one shard. A foreign key must lead to a reference table, to a colocated table by both
//! shard keys, or from and to tables of one shard.

use catalog::{GUARD, GroupId, ShardId, TableKind};

use crate::bind::Binder;
use crate::operand::Source;
use crate::parse::{ConstrType, Node, names, nodes};
use crate::relation::{Found, look_up};
use crate::scope::{Namespace, Scope};
use crate::{Context, Error};

/// A table as far as constraints care.
pub(crate) enum TableShape {
    /// `group`: none yet for a table that is being created in a group of its own.
    Sharded {
        name: String,
        key: Vec<String>,
        group: Option<GroupId>,
    },
    Reference {
        name: String,
    },
    Unsharded {
        name: String,
        shard: ShardId,
    },
}

impl TableShape {
    pub fn name(&self) -> &str {
        match self {
            TableShape::Sharded { name, .. }
            | TableShape::Reference { name }
            | TableShape::Unsharded { name, .. } => name,
        }
    }
}

pub(crate) fn shape_of(relation: &nodes::RangeVar, context: &Context<'_>) -> TableShape {
    let name = relation.relname().unwrap_or_default();
    match look_up(context, relation.schemaname(), name) {
        Found::Table(table) => shape(table),
        Found::Temporary(shard) => TableShape::Unsharded {
            name: name.to_owned(),
            shard,
        },
        Found::View(_) | Found::System | Found::Pgweave | Found::Unknown => TableShape::Unsharded {
            name: name.to_owned(),
            shard: context.catalog.default_shard(),
        },
    }
}

/// The columns that CREATE TABLE lists, those taken over by LIKE included.
pub(crate) fn column_names(create: &nodes::CreateStmt, context: &Context<'_>) -> Vec<String> {
    let mut columns = Vec::new();
    for element in create.table_elts() {
        match element {
            Node::ColumnDef(column) => columns.extend(column.colname().map(str::to_owned)),
            Node::TableLikeClause(like) => {
                let relation = like.relation();
                let name = relation
                    .and_then(nodes::RangeVar::relname)
                    .unwrap_or_default();
                if let Found::Table(table) = look_up(
                    context,
                    relation.and_then(nodes::RangeVar::schemaname),
                    name,
                ) {
                    columns.extend(table.columns.iter().map(|column| column.name.clone()));
                }
            }
            _ => {}
        }
    }
    columns
}

pub(crate) fn check_new_table(
    create: &nodes::CreateStmt,
    shape: &TableShape,
    context: &Context<'_>,
) -> Result<(), Error> {
    for element in create.table_elts() {
        match element {
            Node::ColumnDef(column) => check_column(column, shape, context)?,
            Node::Constraint(constraint) => check(constraint, &[], shape, context)?,
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn check_column(
    column: &nodes::ColumnDef,
    shape: &TableShape,
    context: &Context<'_>,
) -> Result<(), Error> {
    let own = [column.colname().unwrap_or_default().to_owned()];
    for constraint in column.constraints() {
        if let Node::Constraint(constraint) = constraint {
            check(constraint, &own, shape, context)?;
        }
    }
    Ok(())
}

/// `own`: the column that a column constraint belongs to.
pub(crate) fn check(
    constraint: &nodes::Constraint,
    own: &[String],
    shape: &TableShape,
    context: &Context<'_>,
) -> Result<(), Error> {
    if constraint.conname() == Some(GUARD) {
        return Err(guarded());
    }
    if is_local(constraint.contype) {
        return Ok(());
    }
    let columns = |list: Vec<&str>| -> Vec<String> {
        if list.is_empty() {
            own.to_vec()
        } else {
            list.into_iter().map(str::to_owned).collect()
        }
    };
    match constraint.contype {
        ConstrType::CONSTR_PRIMARY if constraint.indexname().is_none() => {
            check_unique("PRIMARY KEY", &columns(names(constraint.keys())), shape)
        }
        ConstrType::CONSTR_UNIQUE if constraint.indexname().is_none() => {
            check_unique("UNIQUE", &columns(names(constraint.keys())), shape)
        }
        // USING INDEX: the index was checked when it was made.
        ConstrType::CONSTR_PRIMARY | ConstrType::CONSTR_UNIQUE => Ok(()),
        ConstrType::CONSTR_EXCLUSION => check_exclusion(constraint, shape),
        _ => check_foreign_key(
            constraint,
            &columns(names(constraint.fk_attrs())),
            shape,
            context,
        ),
    }
}

/// The placement guard comes and goes with the table's placement.
pub(crate) fn guarded() -> Error {
    Error::unsupported(format!("a change of the constraint {GUARD}"))
        .with_detail(
            "The router keeps rows off shards where nobody would look for them by this constraint.",
        )
        .with_hint("Use another name for a constraint of your own.")
}

pub(crate) fn check_unique(
    what: &str,
    columns: &[String],
    shape: &TableShape,
) -> Result<(), Error> {
    let TableShape::Sharded { name, key, .. } = shape else {
        return Ok(());
    };
    match key.iter().find(|key| !columns.contains(key)) {
        None => Ok(()),
        Some(_) => Err(Error::unsupported(format!(
            "{what} on the sharded table {name} without its shard key"
        ))
        .with_detail("Uniqueness over rows on several shards cannot be enforced.")
        .with_hint(format!(
            "Add the shard key {} to the columns.",
            key.join(", ")
        ))),
    }
}

fn check_exclusion(constraint: &nodes::Constraint, shape: &TableShape) -> Result<(), Error> {
    let TableShape::Sharded { name, key, .. } = shape else {
        return Ok(());
    };
    // Pairs of an index element and an operator's name.
    let mut equal = Vec::new();
    for pair in constraint.exclusions() {
        let Node::NodeList(pair) = pair else { continue };
        if let (Some(Node::IndexElem(element)), Some(Node::NodeList(operator))) =
            (pair.get(0), pair.get(1))
            && names(operator).last() == Some(&"=")
        {
            equal.extend(element.name().map(str::to_owned));
        }
    }
    if key.iter().all(|key| equal.contains(key)) {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "EXCLUDE on the sharded table {name} without its shard key"
    ))
    .with_detail("Exclusion over rows on several shards cannot be enforced.")
    .with_hint(format!("Add {} WITH = to the constraint.", key.join(", "))))
}

fn check_foreign_key(
    constraint: &nodes::Constraint,
    columns: &[String],
    shape: &TableShape,
    context: &Context<'_>,
) -> Result<(), Error> {
    let Some(target) = constraint.pktable() else {
        return Ok(());
    };
    let target_name = target.relname().unwrap_or_default();
    let referenced: Vec<&str> = names(constraint.pk_attrs());
    let own_name = target.schemaname().is_none() && target_name == shape.name();
    let found = match look_up(context, target.schemaname(), target_name) {
        Found::Table(table) => Some(table),
        _ => None,
    };
    let refused = |why: &str, hint: String| {
        Err(Error::unsupported(format!(
            "a foreign key from {} to {target_name} {why}",
            shape.name()
        ))
        .with_hint(hint))
    };
    match (shape, found.map(|table| &table.kind)) {
        (_, Some(TableKind::Reference)) => Ok(()),
        (TableShape::Sharded { key, .. }, None) if own_name => {
            colocated(columns, &referenced, key, key).map_or_else(
                || {
                    refused(
                        "does not join their shard keys",
                        format!("Add the shard key {} to both sides.", key.join(", ")),
                    )
                },
                Ok,
            )
        }
        (
            TableShape::Sharded { key, group, .. },
            Some(TableKind::Sharded {
                group: other,
                key: other_key,
            }),
        ) => {
            if *group != Some(*other) {
                return refused(
                    "which is not colocated with it",
                    format!("Shard {} colocated with {target_name}.", shape.name()),
                );
            }
            let other_key: Vec<String> = other_key.iter().map(|key| key.name.clone()).collect();
            let listed = if referenced.is_empty() {
                columns.iter().map(String::as_str).collect()
            } else {
                referenced.clone()
            };
            let by_key = if referenced.is_empty() {
                // Without a list it is the primary key, which contains the shard key at a place that we do not know.
                key.iter().all(|key| columns.contains(key)) && *key == other_key
            } else {
                colocated(columns, &listed, key, &other_key).is_some()
            };
            if by_key {
                Ok(())
            } else {
                refused(
                    "that does not join their shard keys",
                    format!(
                        "Add {} to the columns, referencing {}.",
                        key.join(", "),
                        other_key.join(", ")
                    ),
                )
            }
        }
        (TableShape::Sharded { .. }, _) => refused(
            "which is not on all its shards",
            format!("Make {target_name} a reference table, or shard it colocated."),
        ),
        (TableShape::Reference { .. }, None) if own_name => Ok(()),
        (TableShape::Reference { .. }, _) => refused(
            "which is not a reference table",
            format!("Make {target_name} a reference table."),
        ),
        (TableShape::Unsharded { .. }, None) if own_name => Ok(()),
        (TableShape::Unsharded { shard, .. }, Some(TableKind::Unsharded { shard: other }))
            if shard == other =>
        {
            Ok(())
        }
        (TableShape::Unsharded { shard, .. }, None)
            if *shard == context.catalog.default_shard() =>
        {
            Ok(())
        }
        (TableShape::Unsharded { .. }, _) => refused(
            "which is not on the same shard",
            format!("Make {target_name} a reference table, or place both on one shard."),
        ),
    }
}

/// Every key column stands at the same place as its counterpart.
fn colocated(
    columns: &[String],
    referenced: &[&str],
    key: &[String],
    other_key: &[String],
) -> Option<()> {
    let at = |name: &String, list: &[String]| list.iter().position(|column| column == name);
    key.iter()
        .zip(other_key)
        .all(|(own, other)| match at(own, columns) {
            Some(position) if referenced.is_empty() => columns.get(position) == Some(other),
            Some(position) => referenced.get(position).copied() == Some(other.as_str()),
            None => false,
        })
        .then_some(())
}

/// A new column of a reference table gets its default on each copy: it must be the same there.
pub(crate) fn settled_default(
    column: &nodes::ColumnDef,
    table: &str,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<(), Error> {
    let name = column.colname().unwrap_or_default();
    let refused = |why: String| {
        Err(Error::unsupported(format!(
            "the new column {name} of the reference table {table} with {why}"
        ))
        .with_hint("Add the column without a default, then UPDATE it."))
    };
    let serial = column
        .type_name()
        .and_then(|name| name.names().iter().next_back())
        .and_then(|name| name.sval());
    if serial.is_some_and(|name| name.contains("serial")) {
        return refused("values from a sequence".to_owned());
    }
    for constraint in column.constraints() {
        let Node::Constraint(constraint) = constraint else {
            continue;
        };
        if constraint.contype == ConstrType::CONSTR_IDENTITY {
            return refused("values from a sequence".to_owned());
        }
        if constraint.contype == ConstrType::CONSTR_DEFAULT
            && let Some(what) = unsettled(constraint.raw_expr(), source, context)?
        {
            return refused(format!(
                "a default that may differ between its copies: {what}"
            ));
        }
    }
    Ok(())
}

/// ALTER COLUMN TYPE … USING computes the column anew on each copy.
pub(crate) fn settled_using(
    column: &str,
    using: Node<'_>,
    table: &str,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<(), Error> {
    match unsettled(using, source, context)? {
        None => Ok(()),
        Some(what) => Err(Error::unsupported(format!(
            "a new type of column {column} of the reference table {table} by an expression that may differ between its copies: {what}"
        ))
        .with_hint("Change the type by an expression of the row's values alone, then UPDATE the column.")),
    }
}

/// The first thing in an expression that two copies could disagree about.
fn unsettled(
    expression: Node<'_>,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Option<String>, Error> {
    let namespace = Namespace::default();
    let scope = Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let mut binder = Binder::new(
        *context,
        Source {
            literals: None,
            ..source
        },
    );
    binder.expression(expression, &scope, &mut Vec::new())?;
    Ok(binder.bound.findings.unsettled)
}

/// What constraint checks need to know of a table that exists.
pub(crate) fn shape(table: &catalog::Table) -> TableShape {
    match &table.kind {
        TableKind::Sharded { group, key } => TableShape::Sharded {
            name: table.name.clone(),
            key: key.iter().map(|key| key.name.clone()).collect(),
            group: Some(*group),
        },
        TableKind::Reference => TableShape::Reference {
            name: table.name.clone(),
        },
        TableKind::Unsharded { shard } => TableShape::Unsharded {
            name: table.name.clone(),
            shard: *shard,
        },
    }
}

/// Whether a constraint's kind is known to hold per row: nothing to check.
pub(crate) fn is_local(kind: ConstrType::Type) -> bool {
    !matches!(
        kind,
        ConstrType::CONSTR_PRIMARY
            | ConstrType::CONSTR_UNIQUE
            | ConstrType::CONSTR_EXCLUSION
            | ConstrType::CONSTR_FOREIGN
    )
}
