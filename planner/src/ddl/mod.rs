//! DDL: on which shards it runs and what the catalog must re-read.
//!
//! Entry point: [`statement`]. Objects that are not tables (types, schemas, functions, roles …) are on every shard; tables are where
//! the catalog says; new tables are on the default shard unless a registered column shards them. Constraints that cannot hold over
//! shards are refused by `constraints`.

pub(crate) mod constraints;
mod drop;
mod object;
pub(crate) mod placement;
mod table;

use catalog::ShardId;

use self::object::{function_change, function_named, relation_or_holding};
use self::placement::{Placement, everywhere_of, placement_of};
use crate::operand::Source;
use crate::parse::{Node, ObjectType, nodes};
use crate::relation::creation_schema;
use crate::utility::{outside_block, single};
use crate::{
    Change, Context, DdlEffect, Effects, Error, EverywhereKind, Name, Pins, Plan, Route, Single,
    StatementTag,
};
use drop::{dropped, moved, renamed};
use object::*;
use table::{alter_table, create_index, create_table};

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
                ObjectType::OBJECT_AGGREGATE | ObjectType::OBJECT_OPERATOR => {
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
        // Its checks run in every table that has a column of it.
        Node::AlterDomainStmt(_) => everywhere("ALTER DOMAIN", function_named(&[""])),
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

fn temporary(name: &str, until_commit: bool, tag: &'static str, context: &Context<'_>) -> Plan {
    Plan::Single(Single {
        pins: Pins::TEMPORARY,
        effects: Effects {
            creates_temporary: vec![name.to_owned()],
            until_commit,
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
