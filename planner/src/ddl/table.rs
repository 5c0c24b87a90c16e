//! CREATE TABLE, ALTER TABLE and CREATE INDEX.

use catalog::GUARD;

use super::constraints::{self, TableShape};
use super::placement::{Placement, one, placement_of};
use super::{alter_tag, concurrently, is_temporary, new_name, plan, temporary};
use crate::operand::Source;
use crate::parse::{AlterTableType, Node, ObjectType, OnCommitAction, nodes};
use crate::relation::full_name;
use crate::{Change, Context, Error, NewTable, Plan};

pub(super) fn create_table(
    create: &nodes::CreateStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(relation) = create.relation() else {
        return Err(Error::internal("CREATE TABLE without a name"));
    };
    if is_temporary(relation) {
        return Ok(temporary(
            relation.relname().unwrap_or_default(),
            create.oncommit == OnCommitAction::ONCOMMIT_DROP,
            "CREATE TABLE",
            context,
        ));
    }
    let table = new_name(relation, context)?;
    let at = |error: Error| error.at(source.sql, relation.location);
    let created = |placement: Placement, sharding: NewTable| {
        let change = Change::TableCreated {
            table: table.clone(),
            if_not_exists: create.if_not_exists,
            sharding,
        };
        Ok(plan(placement, "CREATE TABLE", vec![change]))
    };
    if let Some(Node::RangeVar(parent)) = create.inh_relations().first() {
        let placement = placement_of(parent, source, context)?;
        let shape = constraints::shape_of(parent, context);
        constraints::check_new_table(create, &shape, context).map_err(at)?;
        let parent = full_name(
            context,
            parent.schemaname(),
            parent.relname().unwrap_or_default(),
        );
        return created(placement, NewTable::Child { parent });
    }
    let columns = constraints::column_names(create, context);
    if let Some(auto) = context
        .catalog
        .auto_shard()
        .iter()
        .find(|auto| columns.contains(&auto.column))
    {
        let shape = TableShape::Sharded {
            name: table.name.clone(),
            key: vec![auto.column.clone()],
            group: auto.group,
        };
        constraints::check_new_table(create, &shape, context).map_err(at)?;
        let placement = auto.group.map_or(Placement::All, Placement::Group);
        return created(
            placement,
            NewTable::Auto {
                column: auto.column.clone(),
                group: auto.group,
            },
        );
    }
    let shard = context.catalog.default_shard();
    let shape = TableShape::Unsharded {
        name: table.name.clone(),
        shard,
    };
    constraints::check_new_table(create, &shape, context).map_err(at)?;
    created(Placement::Shard(shard), NewTable::Unsharded { shard })
}

pub(super) fn alter_table(
    alter: &nodes::AlterTableStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(relation) = alter.relation() else {
        return Err(Error::internal("ALTER TABLE without a name"));
    };
    let tag = alter_tag(alter.objtype);
    if matches!(
        alter.objtype,
        ObjectType::OBJECT_INDEX | ObjectType::OBJECT_TYPE
    ) {
        return match alter.objtype {
            ObjectType::OBJECT_TYPE => Ok(plan(Placement::All, tag, vec![Change::Other])),
            _ => {
                let name = full_name(
                    context,
                    relation.schemaname(),
                    relation.relname().unwrap_or_default(),
                );
                Ok(plan(Placement::Holding(name), tag, vec![Change::Other]))
            }
        };
    }
    let placement = placement_of(relation, source, context)?;
    let name = full_name(
        context,
        relation.schemaname(),
        relation.relname().unwrap_or_default(),
    );
    let shape = constraints::shape_of(relation, context);
    let mut concurrent = false;
    for command in alter.cmds() {
        if let Node::AlterTableCmd(command) = command {
            alter_command(command, &shape, &placement, source, context)
                .map_err(|error| error.at(source.sql, relation.location))?;
            if command.subtype == AlterTableType::AT_DetachPartition
                && let Node::PartitionCmd(partition) = command.def()
            {
                concurrent |= partition.concurrent;
            }
        }
    }
    let change = match alter.objtype {
        ObjectType::OBJECT_VIEW | ObjectType::OBJECT_MATVIEW => Change::View { view: name },
        ObjectType::OBJECT_SEQUENCE => Change::Sequence { sequence: name },
        _ => Change::TableAltered { table: name },
    };
    Ok(concurrently(plan(placement, tag, vec![change]), concurrent))
}

pub(super) fn alter_command(
    command: &nodes::AlterTableCmd,
    shape: &TableShape,
    placement: &Placement,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<(), Error> {
    let is_key = |name: Option<&str>| match shape {
        TableShape::Sharded { key, .. } => {
            name.is_some_and(|name| key.iter().any(|key| key == name))
        }
        TableShape::Reference { .. } | TableShape::Unsharded { .. } => false,
    };
    match (command.subtype, command.def()) {
        (AlterTableType::AT_AddConstraint, Node::Constraint(constraint)) => {
            constraints::check(constraint, &[], shape, context)
        }
        (AlterTableType::AT_DropConstraint | AlterTableType::AT_AlterConstraint, _)
            if command.name() == Some(GUARD) =>
        {
            Err(constraints::guarded())
        }
        (AlterTableType::AT_AddColumn, Node::ColumnDef(column)) => {
            constraints::check_column(column, shape, context)?;
            if let TableShape::Reference { name } = shape {
                constraints::settled_default(column, name, source, context)?;
            }
            Ok(())
        }
        (
            AlterTableType::AT_DropColumn
            | AlterTableType::AT_AlterColumnType
            | AlterTableType::AT_DropNotNull,
            _,
        ) if is_key(command.name()) => {
            let column = command.name().unwrap_or_default();
            Err(Error::unsupported(format!(
                "a change of the shard key column {column} of {}",
                shape.name()
            ))
            .with_hint("Create a new table with the key you want and copy the rows."))
        }
        (AlterTableType::AT_AlterColumnType, Node::ColumnDef(definition)) => match shape {
            TableShape::Reference { name } => constraints::settled_using(
                command.name().unwrap_or_default(),
                definition.raw_default(),
                name,
                source,
                context,
            ),
            TableShape::Sharded { .. } | TableShape::Unsharded { .. } => Ok(()),
        },
        (
            AlterTableType::AT_AttachPartition | AlterTableType::AT_DetachPartition,
            Node::PartitionCmd(partition),
        ) => {
            let Some(child) = partition.name() else {
                return Ok(());
            };
            childless(shape)?;
            childless(&constraints::shape_of(child, context))?;
            let child_placement = placement_of(child, source, context)?;
            one(
                vec![
                    (placement.clone(), shape.name()),
                    (child_placement, child.relname().unwrap_or_default()),
                ],
                context,
            )
            .map(|_| ())
        }
        (AlterTableType::AT_AddInherit, Node::RangeVar(parent)) => {
            childless(shape)?;
            childless(&constraints::shape_of(parent, context))?;
            let parent_placement = placement_of(parent, source, context)?;
            one(
                vec![
                    (placement.clone(), shape.name()),
                    (parent_placement, parent.relname().unwrap_or_default()),
                ],
                context,
            )
            .map(|_| ())
        }
        (
            AlterTableType::AT_EnableRule
            | AlterTableType::AT_EnableAlwaysRule
            | AlterTableType::AT_EnableReplicaRule,
            _,
        ) if !matches!(shape, TableShape::Unsharded { .. }) => {
            Err(Error::unsupported(format!("rules on {}", shape.name())))
        }
        _ => Ok(()),
    }
}

/// A query of a parent reads its children's rows too, wherever those are.
fn childless(shape: &TableShape) -> Result<(), Error> {
    let what = match shape {
        TableShape::Unsharded { .. } => return Ok(()),
        TableShape::Sharded { .. } => "sharded",
        TableShape::Reference { .. } => "reference",
    };
    Err(Error::unsupported(format!(
        "inheritance or partitions with the {what} table {}",
        shape.name()
    ))
    .with_hint("Sharded tables and reference tables have no partitions, parents or children."))
}

pub(super) fn create_index(
    index: &nodes::IndexStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(relation) = index.relation() else {
        return Err(Error::internal("CREATE INDEX without a table"));
    };
    let placement = placement_of(relation, source, context)?;
    if index.unique {
        let columns: Vec<String> = index
            .index_params()
            .iter()
            .filter_map(|column| column.name().map(str::to_owned))
            .collect();
        constraints::check_unique(
            "CREATE UNIQUE INDEX",
            &columns,
            &constraints::shape_of(relation, context),
        )
        .map_err(|error| error.at(source.sql, relation.location))?;
    }
    Ok(concurrently(
        plan(placement, "CREATE INDEX", vec![Change::Other]),
        index.concurrent,
    ))
}
