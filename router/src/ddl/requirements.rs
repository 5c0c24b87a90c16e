//! Can this table be placed that way? What cannot hold over shards is refused here, with a hint.
//!
//! Entry points: [`sharded`], [`reference`], [`unsharded`]. They judge a definition as read from a shard, after the statement that
//! made or altered it; what they refuse is rolled back.

use catalog::{Catalog, GroupId, KeyColumn, KeyType, ShardId, TableKind, Touches};

use super::definition::{ConstraintKind, Generated, Persistence, RelationKind, TableDefinition};
use super::error::{Answer, Error};
use super::foreign_keys::{inbound, kind_of, outbound, refused};

/// A table that is to be sharded by `key`, in a group that has the id `group` in `catalog`, or is none yet.
/// Returns the key's columns with their types.
pub fn sharded(
    table: &TableDefinition,
    key: &[String],
    group: Option<GroupId>,
    catalog: &Catalog,
) -> Result<Vec<KeyColumn>, Error> {
    any_distributed(table)?;
    let columns = key_columns(table, key)?;
    for constraint in &table.constraints {
        let what = match constraint.kind {
            ConstraintKind::PrimaryKey => "primary key",
            ConstraintKind::Unique => "unique constraint",
            ConstraintKind::Exclude => "exclusion constraint",
            ConstraintKind::Check | ConstraintKind::ForeignKey => continue,
        };
        contains_key(table, what, &constraint.name, &constraint.columns, key)?;
    }
    for index in table
        .indexes
        .iter()
        .filter(|index| index.is_unique && !index.of_constraint)
    {
        contains_key(table, "unique index", &index.name, &index.columns, key)?;
    }
    for constraint in &table.constraints {
        if let Some(foreign) = &constraint.foreign {
            outbound(table, foreign, key, group, catalog)?;
        }
    }
    for foreign in &table.inbound {
        inbound(table, foreign, key, group, catalog)?;
    }
    for trigger in &table.triggers {
        harmless_trigger(
            table,
            &trigger.name,
            (&trigger.function_schema, &trigger.function_name),
            catalog,
        )?;
    }
    policies(table)?;
    for sequence in &table.sequences {
        if sequence.cycle {
            return Err(Answer::new(format!(
                "sequence {}.{} cycles",
                sequence.schema, sequence.name
            ))
            .detail("Its values are to be unique over all shards.")
            .hint(format!("ALTER SEQUENCE {} NO CYCLE.", sequence.qualified()))
            .unsupported());
        }
    }
    Ok(columns)
}

/// A table that is to have a full copy on every shard.
pub fn reference(table: &TableDefinition, catalog: &Catalog) -> Result<(), Error> {
    any_distributed(table)?;
    if let Some(trigger) = table.triggers.first() {
        return Err(Answer::new(format!("table {} has trigger {}", table.display_name(), trigger.name))
            .detail("A trigger runs once on each copy of a reference table, and the copies could come apart.")
            .hint(format!("DROP TRIGGER {} ON {}.", trigger.name, table.display_name()))
            .unsupported());
    }
    for foreign in table
        .constraints
        .iter()
        .filter_map(|constraint| constraint.foreign.as_ref())
    {
        let to_self = foreign.to_schema == table.schema && foreign.to_table == table.name;
        if !to_self
            && kind_of(catalog, &foreign.to_schema, &foreign.to_table)
                != Some(&TableKind::Reference)
        {
            return Err(refused(
                foreign,
                "a reference table can refer to reference tables only",
            )
            .hint(format!(
                "Make {}.{} a reference table first.",
                foreign.to_schema, foreign.to_table
            ))
            .unsupported());
        }
    }
    policies(table)
}

/// A table that is to live on one shard, which is where it is now or another.
pub fn unsharded(
    table: &TableDefinition,
    shard: ShardId,
    moves: bool,
    catalog: &Catalog,
) -> Result<(), Error> {
    plain(table)?;
    if moves {
        lineage(table)?;
    }
    for foreign in table
        .constraints
        .iter()
        .filter_map(|constraint| constraint.foreign.as_ref())
    {
        let to_self = foreign.to_schema == table.schema && foreign.to_table == table.name;
        let fits = match kind_of(catalog, &foreign.to_schema, &foreign.to_table) {
            Some(TableKind::Reference) => true,
            Some(TableKind::Unsharded { shard: there }) => *there == shard,
            Some(TableKind::Sharded { .. }) => false,
            None => catalog.default_shard() == shard,
        };
        if !to_self && !fits {
            return Err(refused(foreign, "the referenced rows are not all on the table's shard")
                .hint("Shard both tables by the same key, or make the referenced table a reference table.")
                .unsupported());
        }
    }
    if moves && let Some(foreign) = table.inbound.first() {
        return Err(
            refused(foreign, "the referenced table would move to another shard")
                .hint("Drop the foreign key, move both tables, and add it again.")
                .unsupported(),
        );
    }
    Ok(())
}

/// What holds for any table: ordinary and permanent.
pub fn plain(table: &TableDefinition) -> Result<(), Error> {
    match table.kind {
        RelationKind::Ordinary | RelationKind::Partitioned => {}
        RelationKind::Other { what } => {
            return Err(
                Answer::new(format!("{} is {what}, not a table", table.display_name()))
                    .invalid_argument(),
            );
        }
    }
    if table.persistence == Persistence::Temporary {
        return Err(
            Answer::new(format!("table {} is temporary", table.display_name()))
                .detail("A temporary table belongs to one session on one shard.")
                .unsupported(),
        );
    }
    Ok(())
}

fn lineage(table: &TableDefinition) -> Result<(), Error> {
    if table.kind == RelationKind::Partitioned {
        return Err(
            Answer::new(format!("table {} is partitioned", table.display_name()))
                .hint("Sharding spreads the rows already: create the table without PARTITION BY.")
                .unsupported(),
        );
    }
    if let Some(what) = table.lineage {
        return Err(
            Answer::new(format!("table {} is {what}", table.display_name()))
                .hint("Create it as a table of its own.")
                .unsupported(),
        );
    }
    Ok(())
}

fn any_distributed(table: &TableDefinition) -> Result<(), Error> {
    plain(table)?;
    lineage(table)?;
    if let Some(rule) = table.rules.first() {
        return Err(
            Answer::new(format!("table {} has rule {rule}", table.display_name()))
                .detail("A rule rewrites statements after they were routed.")
                .hint(format!("DROP RULE {rule} ON {}.", table.display_name()))
                .unsupported(),
        );
    }
    Ok(())
}

fn key_columns(table: &TableDefinition, key: &[String]) -> Result<Vec<KeyColumn>, Error> {
    let mut columns = Vec::with_capacity(key.len());
    for name in key {
        let column = table.column(name).ok_or_else(|| {
            Answer::new(format!(
                "column \"{name}\" of table {} does not exist",
                table.display_name()
            ))
            .hint("The shard key must stay. To shard by another column, create a new table.")
            .undefined_column()
        })?;
        let Some(key_type) = KeyType::from_oid(column.type_oid) else {
            let names: Vec<&str> = KeyType::ALL
                .iter()
                .map(|key_type| key_type.name())
                .collect();
            return Err(Answer::new(format!(
                "column \"{name}\" has type {}, which cannot be a shard key",
                column.type_name
            ))
            .hint(format!("Use one of these types: {}.", names.join(", ")))
            .unsupported());
        };
        if !column.deterministic {
            return Err(Answer::new(format!(
                "column \"{name}\" has a nondeterministic collation"
            ))
            .detail("Equal keys would hash to different points.")
            .hint("Use a deterministic collation for the shard key.")
            .unsupported());
        }
        if matches!(
            column.generated,
            Some(Generated::Stored | Generated::Virtual)
        ) {
            return Err(Answer::new(format!(
                "column \"{name}\" is generated, and cannot be a shard key"
            ))
            .detail("Where a row belongs must be known before it is inserted.")
            .hint("Shard by the columns that it is generated from.")
            .unsupported());
        }
        if columns.iter().any(|known: &KeyColumn| known.name == *name) {
            return Err(
                Answer::new(format!("column \"{name}\" is in the shard key twice"))
                    .invalid_argument(),
            );
        }
        columns.push(KeyColumn {
            name: name.clone(),
            key_type,
        });
    }
    if columns.is_empty() || columns.len() > catalog::MAX_KEY_COLUMNS {
        return Err(Answer::new(format!(
            "a shard key has 1 to {} columns",
            catalog::MAX_KEY_COLUMNS
        ))
        .invalid_argument());
    }
    Ok(columns)
}

fn contains_key(
    table: &TableDefinition,
    what: &str,
    name: &str,
    columns: &[String],
    key: &[String],
) -> Result<(), Error> {
    if key.iter().all(|key_column| columns.contains(key_column)) {
        return Ok(());
    }
    Err(Answer::new(format!(
        "{what} \"{name}\" of table {} does not include the shard key ({})",
        table.display_name(),
        key.join(", ")
    ))
    .detail("Each shard can enforce it for its own rows only.")
    .hint(format!(
        "Add the shard key to it: ({}).",
        with_key(columns, key).join(", ")
    ))
    .unsupported())
}

fn with_key(columns: &[String], key: &[String]) -> Vec<String> {
    let missing = key
        .iter()
        .filter(|key_column| !columns.contains(key_column));
    columns.iter().chain(missing).cloned().collect()
}

fn harmless_trigger(
    table: &TableDefinition,
    name: &str,
    function: (&str, &str),
    catalog: &Catalog,
) -> Result<(), Error> {
    // Functions of PostgreSQL itself, such as suppress_redundant_updates_trigger, see the row and nothing else.
    if function.0 == "pg_catalog" {
        return Ok(());
    }
    let mut known = catalog
        .functions(function.1)
        .iter()
        .filter(|known| known.schema == function.0)
        .peekable();
    let touches_nothing =
        known.peek().is_some() && known.all(|known| known.touches == Touches::Nothing);
    if touches_nothing {
        return Ok(());
    }
    Err(Answer::new(format!(
        "trigger {name} of table {} may touch other tables",
        table.display_name()
    ))
    .detail(format!(
        "Its function {}.{} would see the rows of one shard only.",
        function.0, function.1
    ))
    .hint(format!(
        "DROP TRIGGER {name} ON {}; triggers that only change the row itself may stay.",
        table.display_name()
    ))
    .unsupported())
}

/// A policy that looks into other tables would see the rows of one shard only.
fn policies(table: &TableDefinition) -> Result<(), Error> {
    match table
        .policies
        .iter()
        .find(|policy| policy.contains("SELECT "))
    {
        None => Ok(()),
        Some(_) => Err(Answer::new(format!(
            "a row security policy of table {} reads other tables",
            table.display_name()
        ))
        .hint("Write the policy with the row's own columns and settings only.")
        .unsupported()),
    }
}
