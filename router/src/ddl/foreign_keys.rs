//! Can a foreign key be enforced where its two tables are?
//!
//! Entry points: [`outbound`] and [`inbound`], for a table that is sharded. A shard can check what is on it: a reference table,
//! or rows that are tied to the referring row by the shard key.

use catalog::{Catalog, GroupId, TableKind};

use super::definition::{ForeignKey, TableDefinition};
use super::error::{Answer, Error};

/// The placement of a table; None for one that the catalog does not know.
pub(super) fn kind_of<'a>(catalog: &'a Catalog, schema: &str, name: &str) -> Option<&'a TableKind> {
    catalog.table(schema, name).map(|table| &table.kind)
}

pub(super) fn refused(foreign: &ForeignKey, why: &str) -> Answer {
    Answer::new(format!(
        "foreign key \"{}\" from {}.{} to {}.{} cannot be enforced: {why}",
        foreign.name, foreign.from_schema, foreign.from_table, foreign.to_schema, foreign.to_table
    ))
}

/// True if each key column of the one table refers to the same key column of the other.
fn pairs_keys(foreign: &ForeignKey, from_key: &[String], to_key: &[String]) -> bool {
    let pairs = || foreign.from_columns.iter().zip(&foreign.to_columns);
    from_key.len() == to_key.len()
        && from_key.iter().zip(to_key).all(|(from, to)| {
            pairs().any(|(from_column, to_column)| from_column == from && to_column == to)
        })
}

pub(super) fn outbound(
    table: &TableDefinition,
    foreign: &ForeignKey,
    key: &[String],
    group: Option<GroupId>,
    catalog: &Catalog,
) -> Result<(), Error> {
    if foreign.to_schema == table.schema && foreign.to_table == table.name {
        if pairs_keys(foreign, key, key) {
            return Ok(());
        }
        return Err(refused(
            foreign,
            "a row and the row it refers to may be on different shards",
        )
        .hint(format!(
            "Add the shard key ({}) to both sides of the foreign key.",
            key.join(", ")
        ))
        .unsupported());
    }
    match kind_of(catalog, &foreign.to_schema, &foreign.to_table) {
        Some(TableKind::Reference) => Ok(()),
        Some(TableKind::Sharded {
            group: to_group,
            key: to_key,
        }) => {
            let to_key: Vec<String> = to_key.iter().map(|column| column.name.clone()).collect();
            if Some(*to_group) != group {
                return Err(refused(foreign, "the tables are not colocated")
                    .hint(format!(
                        "Use colocate_with => '{}.{}', with keys of the same types.",
                        foreign.to_schema, foreign.to_table
                    ))
                    .unsupported());
            }
            if pairs_keys(foreign, key, &to_key) {
                return Ok(());
            }
            Err(
                refused(foreign, "it does not pair the shard keys of both tables")
                    .hint(format!(
                        "Let ({}) refer to ({}) within the foreign key.",
                        key.join(", "),
                        to_key.join(", ")
                    ))
                    .unsupported(),
            )
        }
        Some(TableKind::Unsharded { .. }) | None => Err(refused(
            foreign,
            "the referenced table is on one shard only",
        )
        .hint(format!(
            "Shard {}.{} first, by the referenced columns, or make it a reference table.",
            foreign.to_schema, foreign.to_table
        ))
        .unsupported()),
    }
}

/// A foreign key of another table. That table may still be whole, since of two tables one has to be sharded first; until
/// it is sharded too, the shard where it is refuses rows that refer to other shards, which is strict and not wrong.
pub(super) fn inbound(
    table: &TableDefinition,
    foreign: &ForeignKey,
    key: &[String],
    group: Option<GroupId>,
    catalog: &Catalog,
) -> Result<(), Error> {
    match kind_of(catalog, &foreign.from_schema, &foreign.from_table) {
        Some(TableKind::Sharded {
            group: from_group,
            key: from_key,
        }) => {
            let from_key: Vec<String> = from_key.iter().map(|column| column.name.clone()).collect();
            if Some(*from_group) == group && pairs_keys(foreign, &from_key, key) {
                return Ok(());
            }
            Err(refused(foreign, "the tables are not colocated by it")
                .hint(format!(
                    "Drop the foreign key, or include the shard key ({}) in it.",
                    key.join(", ")
                ))
                .unsupported())
        }
        Some(TableKind::Reference) => Err(refused(
            foreign,
            "a reference table can refer to reference tables only",
        )
        .hint("Drop the foreign key.")
        .unsupported()),
        Some(TableKind::Unsharded { .. }) | None => {
            if key.iter().all(|column| foreign.to_columns.contains(column)) {
                return Ok(());
            }
            Err(refused(foreign, "it does not include the shard key")
                .hint(format!(
                    "Include the shard key ({}) of {} in it.",
                    key.join(", "),
                    table.display_name()
                ))
                .unsupported())
        }
    }
}
