//! DDL: on which shards it runs and what the catalog must re-read.
//!
//! Entry point: [`statement`]. Objects that are not tables (types, schemas, functions, roles …) are on every shard; tables are where
//! the catalog says; new tables are on the default shard unless a registered column shards them. Constraints that cannot hold over
//! shards are refused by `constraints`.

use catalog::{ShardId, TableKind, View};

use crate::bind::Binder;
use crate::constraints::{self, TableShape};
use crate::operand::Source;
use crate::parse::{
    AlterTableType, ConstrType, Node, NodeList, ObjectType, ReindexObjectType, names, nodes, parse,
};
use crate::placement::{Placement, everywhere_of, named, one, placement_of};
use crate::relation::{creation_schema, full_name};
use crate::scan::{Piece, piece};
use crate::scope::{Namespace, Scope};
use crate::utility::{outside_block, single};
use crate::{
    Change, Context, DdlEffect, Effects, Error, EverywhereKind, Name, NewTable, Pins, Plan, Route,
    Single, StatementTag,
};

pub(crate) fn statement(
    node: Node<'_>,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let everywhere = |tag, change| Ok(plan(Placement::All, tag, vec![change]));
    let alone = |tag| {
        Ok(outside_block(plan(
            Placement::All,
            tag,
            vec![Change::Other],
        )))
    };
    let on_default = |tag| {
        Ok(outside_block(Plan::Single(single(
            Route::Shard(context.catalog.default_shard()),
            tag,
        ))))
    };
    match node {
        Node::CreateStmt(create) => create_table(create, source, context),
        Node::AlterTableStmt(alter) => alter_table(alter, source, context),
        Node::IndexStmt(index) => create_index(index, source, context),
        Node::DropStmt(drop) => dropped(drop, context),
        Node::RenameStmt(rename) => renamed(rename, source, context),
        Node::AlterObjectSchemaStmt(alter) => moved(alter, source, context),
        Node::AlterOwnerStmt(alter) => match alter.relation() {
            Some(relation) => Ok(plan(
                placement_of(relation, source, context)?,
                "ALTER TABLE",
                vec![Change::Other],
            )),
            None => everywhere(alter_tag(alter.object_type), Change::Other),
        },
        Node::AlterObjectDependsStmt(_) => everywhere("ALTER", Change::Other),
        Node::ViewStmt(view) => create_view(view, source, context),
        Node::RefreshMatViewStmt(refresh) => match refresh.relation() {
            Some(relation) => {
                let placement = placement_of(relation, source, context)?;
                Ok(everywhere_of(
                    placement,
                    "REFRESH MATERIALIZED VIEW",
                    EverywhereKind::Rows,
                ))
            }
            None => Err(Error::internal("REFRESH without a name")),
        },
        Node::CreateSeqStmt(create) => create_sequence(create, context),
        Node::AlterSeqStmt(alter) => match alter.sequence() {
            Some(sequence) => {
                let (placement, name) = relation_or_holding(sequence, context)?;
                Ok(plan(
                    placement,
                    "ALTER SEQUENCE",
                    vec![Change::Sequence { sequence: name }],
                ))
            }
            None => Err(Error::internal("ALTER SEQUENCE without a name")),
        },
        Node::CreateTrigStmt(trigger) => {
            on_table(trigger.relation(), "CREATE TRIGGER", source, context)
        }
        Node::CreatePolicyStmt(policy) => {
            on_table(policy.table(), "CREATE POLICY", source, context)
        }
        Node::AlterPolicyStmt(policy) => on_table(policy.table(), "ALTER POLICY", source, context),
        Node::RuleStmt(rule) => create_rule(rule, source, context),
        Node::CreateStatsStmt(_) => create_statistics(source, context),
        Node::AlterStatsStmt(_) => Err(Error::unsupported("ALTER STATISTICS")),
        Node::ReindexStmt(reindex) => reindexed(reindex, source, context),
        Node::GrantStmt(grant) => granted(grant, source, context),
        Node::CommentStmt(comment) => commented(comment, context),
        Node::SecLabelStmt(_) => everywhere("SECURITY LABEL", Change::Other),
        Node::CreateSchemaStmt(create) => create_schema(create),
        Node::CreateFunctionStmt(create) => {
            let tag = if create.is_procedure {
                "CREATE PROCEDURE"
            } else {
                "CREATE FUNCTION"
            };
            everywhere(tag, function_change(create.funcname()))
        }
        Node::AlterFunctionStmt(alter) => {
            let change = alter.func().map_or(Change::Other, |function| {
                function_change(function.objname())
            });
            everywhere("ALTER FUNCTION", change)
        }
        Node::DefineStmt(define) => {
            let change = match define.kind {
                ObjectType::OBJECT_AGGREGATE => {
                    let path: Vec<&str> = define
                        .defnames()
                        .iter()
                        .filter_map(|name| name.sval())
                        .collect();
                    function_named(&path)
                }
                _ => Change::Other,
            };
            everywhere("CREATE", change)
        }
        Node::CompositeTypeStmt(_) | Node::CreateEnumStmt(_) | Node::CreateRangeStmt(_) => {
            everywhere("CREATE TYPE", Change::Other)
        }
        Node::AlterEnumStmt(_) | Node::AlterTypeStmt(_) => everywhere("ALTER TYPE", Change::Other),
        Node::CreateDomainStmt(_) => everywhere("CREATE DOMAIN", Change::Other),
        Node::AlterDomainStmt(_) => everywhere("ALTER DOMAIN", Change::Other),
        Node::CreateExtensionStmt(_) => everywhere(
            "CREATE EXTENSION",
            Change::Function {
                schema: None,
                name: String::new(),
            },
        ),
        Node::AlterExtensionStmt(_) | Node::AlterExtensionContentsStmt(_) => everywhere(
            "ALTER EXTENSION",
            Change::Function {
                schema: None,
                name: String::new(),
            },
        ),
        Node::CreateRoleStmt(_) => everywhere("CREATE ROLE", Change::Other),
        Node::AlterRoleStmt(_) | Node::AlterRoleSetStmt(_) => {
            everywhere("ALTER ROLE", Change::Other)
        }
        Node::DropRoleStmt(_) => everywhere("DROP ROLE", Change::Other),
        Node::GrantRoleStmt(grant) => everywhere(
            if grant.is_grant {
                "GRANT ROLE"
            } else {
                "REVOKE ROLE"
            },
            Change::Other,
        ),
        Node::AlterDefaultPrivilegesStmt(_) => {
            everywhere("ALTER DEFAULT PRIVILEGES", Change::Other)
        }
        Node::AlterDatabaseStmt(_)
        | Node::AlterDatabaseSetStmt(_)
        | Node::AlterDatabaseRefreshCollStmt(_) => everywhere("ALTER DATABASE", Change::Other),
        Node::DropOwnedStmt(_) => everywhere("DROP OWNED", Change::Other),
        Node::ReassignOwnedStmt(_) => everywhere("REASSIGN OWNED", Change::Other),
        Node::CreateCastStmt(_) => everywhere("CREATE CAST", Change::Other),
        Node::CreateConversionStmt(_) => everywhere("CREATE CONVERSION", Change::Other),
        Node::CreateTransformStmt(_) => everywhere("CREATE TRANSFORM", Change::Other),
        Node::CreateOpClassStmt(_) => everywhere("CREATE OPERATOR CLASS", Change::Other),
        Node::CreateOpFamilyStmt(_) => everywhere("CREATE OPERATOR FAMILY", Change::Other),
        Node::AlterOpFamilyStmt(_) => everywhere("ALTER OPERATOR FAMILY", Change::Other),
        Node::AlterOperatorStmt(_) => everywhere("ALTER OPERATOR", Change::Other),
        Node::AlterCollationStmt(_) => everywhere("ALTER COLLATION", Change::Other),
        Node::AlterTSDictionaryStmt(_) => everywhere("ALTER TEXT SEARCH DICTIONARY", Change::Other),
        Node::AlterTSConfigurationStmt(_) => {
            everywhere("ALTER TEXT SEARCH CONFIGURATION", Change::Other)
        }
        Node::CreatePLangStmt(_) => everywhere("CREATE LANGUAGE", Change::Other),
        Node::CreateAmStmt(_) => everywhere("CREATE ACCESS METHOD", Change::Other),
        Node::CreateEventTrigStmt(_) => everywhere("CREATE EVENT TRIGGER", Change::Other),
        Node::AlterEventTrigStmt(_) => everywhere("ALTER EVENT TRIGGER", Change::Other),
        Node::CreateFdwStmt(_) => everywhere("CREATE FOREIGN DATA WRAPPER", Change::Other),
        Node::AlterFdwStmt(_) => everywhere("ALTER FOREIGN DATA WRAPPER", Change::Other),
        Node::CreateForeignServerStmt(_) => everywhere("CREATE SERVER", Change::Other),
        Node::AlterForeignServerStmt(_) => everywhere("ALTER SERVER", Change::Other),
        Node::CreateUserMappingStmt(_) => everywhere("CREATE USER MAPPING", Change::Other),
        Node::AlterUserMappingStmt(_) => everywhere("ALTER USER MAPPING", Change::Other),
        Node::DropUserMappingStmt(_) => everywhere("DROP USER MAPPING", Change::Other),
        Node::CreateTableSpaceStmt(_) => alone("CREATE TABLESPACE"),
        Node::DropTableSpaceStmt(_) => alone("DROP TABLESPACE"),
        Node::AlterTableSpaceOptionsStmt(_) => everywhere("ALTER TABLESPACE", Change::Other),
        Node::AlterSystemStmt(_) => alone("ALTER SYSTEM"),
        Node::CreatedbStmt(_) => on_default("CREATE DATABASE"),
        Node::DropdbStmt(_) => on_default("DROP DATABASE"),
        Node::CreateSubscriptionStmt(_) => on_default("CREATE SUBSCRIPTION"),
        Node::AlterSubscriptionStmt(_) => on_default("ALTER SUBSCRIPTION"),
        Node::DropSubscriptionStmt(_) => on_default("DROP SUBSCRIPTION"),
        _ => Err(Error::unsupported(
            "this statement is not supported by the router",
        )),
    }
}

fn plan(placement: Placement, tag: &'static str, changes: Vec<Change>) -> Plan {
    everywhere_of(placement, tag, EverywhereKind::Ddl(DdlEffect { changes }))
}

fn concurrently(mut plan: Plan, concurrent: bool) -> Plan {
    if concurrent && let Plan::Everywhere(everywhere) = &mut plan {
        everywhere.concurrently = true;
        everywhere.no_block = true;
    }
    plan
}

pub(crate) fn is_temporary(relation: &nodes::RangeVar) -> bool {
    relation.relpersistence == b't' as std::ffi::c_char
        || relation
            .schemaname()
            .is_some_and(|schema| schema == "pg_temp")
}

/// Temporary relations of a session live together.
pub(crate) fn temporary_shard(context: &Context<'_>) -> ShardId {
    match (context.temporary.first(), context.manual) {
        (Some((_, shard)), _) => *shard,
        (None, Some(shard)) => shard,
        (None, None) => context.catalog.default_shard(),
    }
}

fn temporary(name: &str, tag: &'static str, context: &Context<'_>) -> Plan {
    Plan::Single(Single {
        pins: Pins::TEMPORARY,
        effects: Effects {
            creates_temporary: vec![name.to_owned()],
            ..Effects::default()
        },
        tag: StatementTag(tag),
        ..single(Route::Shard(temporary_shard(context)), tag)
    })
}

fn new_name(relation: &nodes::RangeVar, context: &Context<'_>) -> Result<Name, Error> {
    let schema = relation
        .schemaname()
        .map_or_else(|| creation_schema(context), str::to_owned);
    if schema == "pgweave" {
        return Err(Error::unsupported("schema pgweave belongs to the router")
            .with_hint("Use another schema."));
    }
    Ok(Name {
        schema,
        name: relation.relname().unwrap_or_default().to_owned(),
    })
}

fn create_table(
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

fn alter_table(
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

fn alter_command(
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
        (
            AlterTableType::AT_AttachPartition | AlterTableType::AT_DetachPartition,
            Node::PartitionCmd(partition),
        ) => {
            let Some(child) = partition.name() else {
                return Ok(());
            };
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

fn create_index(
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

/// The names of DROP's objects: a list of names, a function with its arguments, a type or one name.
fn object_path(node: Node<'_>) -> Vec<String> {
    match node {
        Node::NodeList(path) => path
            .iter()
            .filter_map(|part| part.as_str().map(str::to_owned))
            .collect(),
        Node::ObjectWithArgs(object) => names(object.objname())
            .into_iter()
            .map(str::to_owned)
            .collect(),
        Node::TypeName(name) => name
            .names()
            .iter()
            .filter_map(|part| part.sval().map(str::to_owned))
            .collect(),
        Node::String(name) => name.sval().map(str::to_owned).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn split(path: &[String]) -> (Option<&str>, &str) {
    match path {
        [.., schema, name] => (Some(schema), name),
        [name] => (None, name),
        [] => (None, ""),
    }
}

fn dropped(drop: &nodes::DropStmt, context: &Context<'_>) -> Result<Plan, Error> {
    let paths: Vec<Vec<String>> = drop.objects().iter().map(object_path).collect();
    let tag = drop_tag(drop.remove_type);
    let full = |path: &[String]| {
        let (schema, name) = split(path);
        full_name(context, schema, name)
    };
    match drop.remove_type {
        ObjectType::OBJECT_TABLE
        | ObjectType::OBJECT_VIEW
        | ObjectType::OBJECT_MATVIEW
        | ObjectType::OBJECT_FOREIGN_TABLE
        | ObjectType::OBJECT_SEQUENCE => dropped_relations(drop.remove_type, &paths, tag, context),
        ObjectType::OBJECT_INDEX => {
            let [path] = paths.as_slice() else {
                return Err(Error::unsupported("DROP INDEX of several indexes")
                    .with_hint("Use one statement for each."));
            };
            let plan = plan(Placement::Holding(full(path)), tag, vec![Change::Other]);
            Ok(concurrently(plan, drop.concurrent))
        }
        // The path ends with the object's own name; before it stands its table's.
        ObjectType::OBJECT_TRIGGER | ObjectType::OBJECT_POLICY | ObjectType::OBJECT_RULE => {
            let Some((_, table)) = paths.first().and_then(|path| path.split_last()) else {
                return Err(Error::internal("DROP without a table"));
            };
            let (schema, name) = split(table);
            Ok(plan(
                named(schema, name, context)?,
                tag,
                vec![Change::Other],
            ))
        }
        ObjectType::OBJECT_STATISTIC_EXT => match paths.as_slice() {
            [path] => Ok(plan(
                Placement::Holding(full(path)),
                tag,
                vec![Change::Other],
            )),
            _ => Err(Error::unsupported("DROP STATISTICS of several")
                .with_hint("Use one statement for each.")),
        },
        ObjectType::OBJECT_SCHEMA => {
            let changes = paths
                .iter()
                .map(|path| Change::Schema {
                    schema: split(path).1.to_owned(),
                })
                .collect();
            if paths.iter().any(|path| split(path).1 == "pgweave") {
                return Err(Error::unsupported("schema pgweave belongs to the router"));
            }
            Ok(plan(Placement::All, tag, changes))
        }
        ObjectType::OBJECT_FUNCTION
        | ObjectType::OBJECT_PROCEDURE
        | ObjectType::OBJECT_ROUTINE
        | ObjectType::OBJECT_AGGREGATE => {
            let changes = paths
                .iter()
                .map(|path| {
                    let (schema, name) = split(path);
                    Change::Function {
                        schema: schema.map(str::to_owned),
                        name: name.to_owned(),
                    }
                })
                .collect();
            Ok(plan(Placement::All, tag, changes))
        }
        ObjectType::OBJECT_EXTENSION => Ok(plan(
            Placement::All,
            tag,
            vec![Change::Function {
                schema: None,
                name: String::new(),
            }],
        )),
        _ => Ok(plan(Placement::All, tag, vec![Change::Other])),
    }
}

fn dropped_relations(
    kind: ObjectType::Type,
    paths: &[Vec<String>],
    tag: &'static str,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let mut placements = Vec::new();
    let mut changes = Vec::new();
    let mut gone = Vec::new();
    for path in paths {
        let (schema, name) = split(path);
        if (schema.is_none() || schema == Some("pg_temp"))
            && context
                .temporary
                .iter()
                .any(|(temporary, _)| temporary == name)
        {
            gone.push(name.to_owned());
        }
        placements.push((named(schema, name, context)?, name));
        let full = full_name(context, schema, name);
        changes.push(match kind {
            ObjectType::OBJECT_VIEW | ObjectType::OBJECT_MATVIEW => Change::View { view: full },
            ObjectType::OBJECT_SEQUENCE => Change::Sequence { sequence: full },
            _ => Change::TableDropped { table: full },
        });
    }
    let placement = one(placements, context)?;
    if let (Placement::Temporary(shard) | Placement::Shard(shard), false) =
        (&placement, gone.is_empty())
    {
        if gone.len() < paths.len() {
            return Err(
                Error::unsupported("temporary and other relations in one DROP")
                    .with_hint("Use one statement for each."),
            );
        }
        return Ok(Plan::Single(Single {
            effects: Effects {
                drops_temporary: gone,
                ..Effects::default()
            },
            ..single(Route::Shard(*shard), tag)
        }));
    }
    Ok(plan(placement, tag, changes))
}

fn renamed(
    rename: &nodes::RenameStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let new = rename.newname().unwrap_or_default().to_owned();
    let tag = alter_tag(rename.rename_type);
    let Some(relation) = rename.relation() else {
        let path = object_path(rename.object());
        let (schema, name) = split(&path);
        let changes = match rename.rename_type {
            ObjectType::OBJECT_SCHEMA => {
                let schema = rename.subname().unwrap_or_default().to_owned();
                vec![Change::SchemaRenamed { schema, new }]
            }
            ObjectType::OBJECT_FUNCTION
            | ObjectType::OBJECT_PROCEDURE
            | ObjectType::OBJECT_ROUTINE
            | ObjectType::OBJECT_AGGREGATE => {
                vec![
                    Change::Function {
                        schema: schema.map(str::to_owned),
                        name: name.to_owned(),
                    },
                    Change::Function {
                        schema: schema.map(str::to_owned),
                        name: new,
                    },
                ]
            }
            _ => vec![Change::Other],
        };
        return Ok(plan(Placement::All, tag, changes));
    };
    let old = full_name(
        context,
        relation.schemaname(),
        relation.relname().unwrap_or_default(),
    );
    let renamed = Name {
        schema: old.schema.clone(),
        name: new.clone(),
    };
    let of_relation = matches!(
        rename.rename_type,
        ObjectType::OBJECT_TABLE | ObjectType::OBJECT_VIEW | ObjectType::OBJECT_SEQUENCE
    );
    if of_relation && let Placement::Temporary(shard) = placement_of(relation, source, context)? {
        return Ok(Plan::Single(Single {
            pins: Pins::TEMPORARY,
            effects: Effects {
                creates_temporary: vec![new],
                drops_temporary: vec![old.name],
                ..Effects::default()
            },
            ..single(Route::Shard(shard), tag)
        }));
    }
    match rename.rename_type {
        ObjectType::OBJECT_INDEX => Ok(plan(Placement::Holding(old), tag, vec![Change::Other])),
        ObjectType::OBJECT_SEQUENCE => {
            let (placement, old) = relation_or_holding(relation, context)?;
            Ok(plan(
                placement,
                tag,
                vec![
                    Change::Sequence { sequence: old },
                    Change::Sequence { sequence: renamed },
                ],
            ))
        }
        ObjectType::OBJECT_TABLE | ObjectType::OBJECT_FOREIGN_TABLE => {
            let placement = placement_of(relation, source, context)?;
            Ok(plan(
                placement,
                tag,
                vec![Change::TableRenamed {
                    table: old,
                    new: renamed,
                }],
            ))
        }
        ObjectType::OBJECT_VIEW | ObjectType::OBJECT_MATVIEW => {
            let placement = placement_of(relation, source, context)?;
            Ok(plan(
                placement,
                tag,
                vec![Change::View { view: old }, Change::View { view: renamed }],
            ))
        }
        ObjectType::OBJECT_COLUMN => {
            let placement = placement_of(relation, source, context)?;
            let column = rename.subname().unwrap_or_default().to_owned();
            Ok(plan(
                placement,
                "ALTER TABLE",
                vec![Change::ColumnRenamed {
                    table: old,
                    column,
                    new,
                }],
            ))
        }
        _ => Ok(plan(
            placement_of(relation, source, context)?,
            tag,
            vec![Change::Other],
        )),
    }
}

fn moved(
    alter: &nodes::AlterObjectSchemaStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let new = alter.newschema().unwrap_or_default().to_owned();
    let tag = alter_tag(alter.object_type);
    let Some(relation) = alter.relation() else {
        let path = object_path(alter.object());
        let (schema, name) = split(&path);
        let changes = match alter.object_type {
            ObjectType::OBJECT_FUNCTION
            | ObjectType::OBJECT_PROCEDURE
            | ObjectType::OBJECT_ROUTINE
            | ObjectType::OBJECT_AGGREGATE => {
                vec![
                    Change::Function {
                        schema: schema.map(str::to_owned),
                        name: name.to_owned(),
                    },
                    Change::Function {
                        schema: Some(new),
                        name: name.to_owned(),
                    },
                ]
            }
            _ => vec![Change::Other],
        };
        return Ok(plan(Placement::All, tag, changes));
    };
    let old = full_name(
        context,
        relation.schemaname(),
        relation.relname().unwrap_or_default(),
    );
    let moved = Name {
        schema: new,
        name: old.name.clone(),
    };
    let (placement, changes) = match alter.object_type {
        ObjectType::OBJECT_SEQUENCE => {
            let (placement, old) = relation_or_holding(relation, context)?;
            (
                placement,
                vec![
                    Change::Sequence { sequence: old },
                    Change::Sequence { sequence: moved },
                ],
            )
        }
        ObjectType::OBJECT_VIEW | ObjectType::OBJECT_MATVIEW => (
            placement_of(relation, source, context)?,
            vec![Change::View { view: old }, Change::View { view: moved }],
        ),
        _ => (
            placement_of(relation, source, context)?,
            vec![Change::TableRenamed {
                table: old,
                new: moved,
            }],
        ),
    };
    Ok(plan(placement, tag, changes))
}

/// Where a view's tables are: every shard, or the one that holds the unsharded tables it reads.
fn placement_of_query(
    select: &nodes::SelectStmt,
    sql: &str,
    context: &Context<'_>,
) -> Result<Placement, Error> {
    let mut binder = Binder::new(
        *context,
        Source {
            sql,
            literals: None,
        },
    );
    let namespace = Namespace::default();
    binder.select(
        select,
        &Scope {
            namespace: &namespace,
            parent: None,
            ctes: None,
        },
    )?;
    let findings = binder.bound.findings;
    match findings.homes.as_slice() {
        [] => Ok(Placement::All),
        [(shard, _)] if findings.sharded.is_empty() => Ok(Placement::Shard(*shard)),
        [(_, name), ..] => Err(Error::unsupported(format!(
            "a view over {name} and tables of other shards"
        ))
        .with_hint(
            "A view may read sharded and reference tables, or unsharded tables of one shard.",
        )),
    }
}

pub(crate) fn view_placement(view: &View, context: &Context<'_>) -> Result<Placement, Error> {
    let tree = parse(&view.definition)?;
    match tree.only() {
        Some(Node::SelectStmt(select)) => {
            // Its names are qualified: the session's path and temporary tables are not its own.
            let own = Context {
                search_path: &[],
                temporary: &[],
                manual: None,
                ..*context
            };
            placement_of_query(select, &view.definition, &own)
        }
        _ => Err(Error::unsupported(format!(
            "the definition of view {} cannot be analyzed",
            view.name
        ))),
    }
}

fn create_view(
    view: &nodes::ViewStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let (Some(relation), Node::SelectStmt(select)) = (view.view(), view.query()) else {
        return Err(Error::internal("CREATE VIEW without a query"));
    };
    if is_temporary(relation) {
        return Ok(temporary(
            relation.relname().unwrap_or_default(),
            "CREATE VIEW",
            context,
        ));
    }
    let name = new_name(relation, context)?;
    let placement = placement_of_query(select, source.sql, context)
        .map_err(|error| error.at(source.sql, relation.location))?;
    Ok(plan(
        placement,
        "CREATE VIEW",
        vec![Change::View { view: name }],
    ))
}

fn create_sequence(create: &nodes::CreateSeqStmt, context: &Context<'_>) -> Result<Plan, Error> {
    let Some(sequence) = create.sequence() else {
        return Err(Error::internal("CREATE SEQUENCE without a name"));
    };
    if is_temporary(sequence) {
        return Ok(temporary(
            sequence.relname().unwrap_or_default(),
            "CREATE SEQUENCE",
            context,
        ));
    }
    let name = new_name(sequence, context)?;
    Ok(plan(
        Placement::All,
        "CREATE SEQUENCE",
        vec![Change::Sequence { sequence: name }],
    ))
}

/// A sequence of the cluster is on every shard; another is where it is found.
fn relation_or_holding(
    relation: &nodes::RangeVar,
    context: &Context<'_>,
) -> Result<(Placement, Name), Error> {
    let name = relation.relname().unwrap_or_default();
    let full = match relation.schemaname() {
        Some(schema) => Name {
            schema: schema.to_owned(),
            name: name.to_owned(),
        },
        None => {
            let schema = context
                .search_path
                .iter()
                .find(|schema| context.catalog.sequence(schema, name).is_some());
            Name {
                schema: schema.cloned().unwrap_or_else(|| creation_schema(context)),
                name: name.to_owned(),
            }
        }
    };
    if context.catalog.sequence(&full.schema, &full.name).is_some() {
        Ok((Placement::All, full))
    } else {
        Ok((Placement::Holding(full.clone()), full))
    }
}

fn on_table(
    relation: Option<&nodes::RangeVar>,
    tag: &'static str,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    match relation {
        Some(relation) => Ok(plan(
            placement_of(relation, source, context)?,
            tag,
            vec![Change::Other],
        )),
        None => Err(Error::internal("a statement without its table")),
    }
}

/// A rule rewrites statements behind the router's back.
fn create_rule(
    rule: &nodes::RuleStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(relation) = rule.relation() else {
        return Err(Error::internal("CREATE RULE without a table"));
    };
    match placement_of(relation, source, context)? {
        placement @ (Placement::Shard(_) | Placement::Temporary(_)) => {
            Ok(plan(placement, "CREATE RULE", vec![Change::Other]))
        }
        _ => Err(Error::unsupported(format!(
            "a rule on {}, which is on several shards",
            relation.relname().unwrap_or_default()
        ))
        .with_hint("Use a trigger.")
        .at(source.sql, relation.location)),
    }
}

/// `CREATE STATISTICS … FROM table`: the tree's list may hold anything, the tokens after FROM must be one name.
fn create_statistics(source: Source<'_>, context: &Context<'_>) -> Result<Plan, Error> {
    let text = source.sql.as_bytes();
    let mut at = 0;
    let mut path: Option<Vec<String>> = None;
    while let Some((kind, range)) = piece(text, at) {
        at = range.end;
        let word = source.sql.get(range).unwrap_or_default();
        match (&mut path, kind) {
            (None, Piece::Word) if word.eq_ignore_ascii_case("from") => path = Some(Vec::new()),
            (Some(path), Piece::Word) => path.push(
                match word
                    .strip_prefix('"')
                    .and_then(|word| word.strip_suffix('"'))
                {
                    Some(quoted) => quoted.replace("\"\"", "\""),
                    None => word.to_lowercase(),
                },
            ),
            (Some(_), Piece::Mark(b'.')) | (None, _) => {}
            (Some(_), Piece::Mark(b';')) => break,
            (Some(_), Piece::Mark(_)) => {
                return Err(Error::unsupported(
                    "CREATE STATISTICS over more than one table",
                ));
            }
        }
    }
    let path = path.unwrap_or_default();
    if path.is_empty() || path.len() > 2 {
        return Err(Error::unsupported(
            "CREATE STATISTICS over more than one table",
        ));
    }
    let (schema, name) = split(&path);
    Ok(plan(
        named(schema, name, context)?,
        "CREATE STATISTICS",
        vec![Change::Other],
    ))
}

fn reindexed(
    reindex: &nodes::ReindexStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let placement = match (reindex.kind, reindex.relation()) {
        (ReindexObjectType::REINDEX_OBJECT_TABLE, Some(relation)) => {
            placement_of(relation, source, context)?
        }
        (_, Some(relation)) => Placement::Holding(full_name(
            context,
            relation.schemaname(),
            relation.relname().unwrap_or_default(),
        )),
        (_, None) => Placement::All,
    };
    let concurrent = reindex
        .params()
        .iter()
        .any(|option| option.defname() == Some("concurrently"));
    let plan = everywhere_of(placement, "REINDEX", EverywhereKind::Maintenance);
    let alone = concurrent || reindex.relation().is_none();
    Ok(concurrently(
        if alone { outside_block(plan) } else { plan },
        concurrent,
    ))
}

fn granted(
    grant: &nodes::GrantStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let tag = if grant.is_grant { "GRANT" } else { "REVOKE" };
    // Only then is the list one of relations.
    let relations = grant.targtype == 0
        && matches!(
            grant.objtype,
            ObjectType::OBJECT_TABLE | ObjectType::OBJECT_SEQUENCE
        );
    if !relations {
        return Ok(plan(Placement::All, tag, vec![Change::Other]));
    }
    let mut placements = Vec::new();
    for relation in grant.objects() {
        let placement = if grant.objtype == ObjectType::OBJECT_SEQUENCE {
            relation_or_holding(relation, context)?.0
        } else {
            placement_of(relation, source, context)?
        };
        placements.push((placement, relation.relname().unwrap_or_default()));
    }
    Ok(plan(one(placements, context)?, tag, vec![Change::Other]))
}

fn commented(comment: &nodes::CommentStmt, context: &Context<'_>) -> Result<Plan, Error> {
    let path = object_path(comment.object());
    let placement = match comment.objtype {
        ObjectType::OBJECT_TABLE
        | ObjectType::OBJECT_VIEW
        | ObjectType::OBJECT_MATVIEW
        | ObjectType::OBJECT_FOREIGN_TABLE => {
            let (schema, name) = split(&path);
            named(schema, name, context)?
        }
        // The last part is the column's, constraint's, trigger's … own name.
        ObjectType::OBJECT_COLUMN
        | ObjectType::OBJECT_TABCONSTRAINT
        | ObjectType::OBJECT_TRIGGER
        | ObjectType::OBJECT_POLICY
        | ObjectType::OBJECT_RULE => {
            let table = path
                .split_last()
                .map(|(_, table)| table)
                .unwrap_or_default();
            let (schema, name) = split(table);
            named(schema, name, context)?
        }
        ObjectType::OBJECT_INDEX
        | ObjectType::OBJECT_STATISTIC_EXT
        | ObjectType::OBJECT_SEQUENCE => {
            let (schema, name) = split(&path);
            let full = full_name(context, schema, name);
            match context.catalog.sequence(&full.schema, &full.name) {
                Some(_) => Placement::All,
                None => Placement::Holding(full),
            }
        }
        _ => Placement::All,
    };
    Ok(plan(placement, "COMMENT", vec![Change::Other]))
}

fn create_schema(create: &nodes::CreateSchemaStmt) -> Result<Plan, Error> {
    let schema = match (
        create.schemaname(),
        create.authrole().and_then(|role| role.rolename()),
    ) {
        (Some(schema), _) | (None, Some(schema)) => schema.to_owned(),
        (None, None) => String::new(),
    };
    if schema == "pgweave" {
        return Err(Error::unsupported("schema pgweave belongs to the router"));
    }
    if !create.schema_elts().is_empty() {
        return Err(Error::unsupported("CREATE SCHEMA with objects in it")
            .with_hint("Create the schema, then each object."));
    }
    Ok(plan(
        Placement::All,
        "CREATE SCHEMA",
        vec![Change::Schema { schema }],
    ))
}

fn function_change(path: &NodeList) -> Change {
    function_named(&names(path))
}

fn function_named(path: &[&str]) -> Change {
    match path {
        [.., schema, name] => Change::Function {
            schema: Some((*schema).to_owned()),
            name: (*name).to_owned(),
        },
        [name] => Change::Function {
            schema: None,
            name: (*name).to_owned(),
        },
        [] => Change::Other,
    }
}

fn alter_tag(kind: ObjectType::Type) -> &'static str {
    match kind {
        ObjectType::OBJECT_TABLE | ObjectType::OBJECT_COLUMN | ObjectType::OBJECT_TABCONSTRAINT => {
            "ALTER TABLE"
        }
        ObjectType::OBJECT_INDEX => "ALTER INDEX",
        ObjectType::OBJECT_VIEW => "ALTER VIEW",
        ObjectType::OBJECT_MATVIEW => "ALTER MATERIALIZED VIEW",
        ObjectType::OBJECT_SEQUENCE => "ALTER SEQUENCE",
        ObjectType::OBJECT_FOREIGN_TABLE => "ALTER FOREIGN TABLE",
        ObjectType::OBJECT_TYPE | ObjectType::OBJECT_ATTRIBUTE => "ALTER TYPE",
        ObjectType::OBJECT_DOMAIN | ObjectType::OBJECT_DOMCONSTRAINT => "ALTER DOMAIN",
        ObjectType::OBJECT_SCHEMA => "ALTER SCHEMA",
        ObjectType::OBJECT_FUNCTION => "ALTER FUNCTION",
        ObjectType::OBJECT_PROCEDURE => "ALTER PROCEDURE",
        ObjectType::OBJECT_AGGREGATE => "ALTER AGGREGATE",
        ObjectType::OBJECT_ROLE => "ALTER ROLE",
        ObjectType::OBJECT_DATABASE => "ALTER DATABASE",
        ObjectType::OBJECT_TRIGGER => "ALTER TRIGGER",
        ObjectType::OBJECT_POLICY => "ALTER POLICY",
        _ => "ALTER",
    }
}

fn drop_tag(kind: ObjectType::Type) -> &'static str {
    match kind {
        ObjectType::OBJECT_TABLE => "DROP TABLE",
        ObjectType::OBJECT_VIEW => "DROP VIEW",
        ObjectType::OBJECT_MATVIEW => "DROP MATERIALIZED VIEW",
        ObjectType::OBJECT_FOREIGN_TABLE => "DROP FOREIGN TABLE",
        ObjectType::OBJECT_SEQUENCE => "DROP SEQUENCE",
        ObjectType::OBJECT_INDEX => "DROP INDEX",
        ObjectType::OBJECT_SCHEMA => "DROP SCHEMA",
        ObjectType::OBJECT_FUNCTION => "DROP FUNCTION",
        ObjectType::OBJECT_PROCEDURE => "DROP PROCEDURE",
        ObjectType::OBJECT_AGGREGATE => "DROP AGGREGATE",
        ObjectType::OBJECT_TYPE => "DROP TYPE",
        ObjectType::OBJECT_DOMAIN => "DROP DOMAIN",
        ObjectType::OBJECT_EXTENSION => "DROP EXTENSION",
        ObjectType::OBJECT_TRIGGER => "DROP TRIGGER",
        ObjectType::OBJECT_POLICY => "DROP POLICY",
        ObjectType::OBJECT_RULE => "DROP RULE",
        ObjectType::OBJECT_STATISTIC_EXT => "DROP STATISTICS",
        _ => "DROP",
    }
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
