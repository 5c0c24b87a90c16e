//! DROP, RENAME and SET SCHEMA.

use catalog::GUARD;

use super::constraints::guarded;
use super::object::relation_or_holding;
use super::placement::{Placement, named, one, placement_of};
use super::{alter_tag, concurrently, drop_tag, plan};
use crate::operand::Source;
use crate::parse::{Node, ObjectType, names, nodes};
use crate::relation::{Found, full_name, look_up};
use crate::utility::single;
use crate::{Change, Context, Effects, Error, Name, Pins, Plan, Route, Single};

pub(super) fn dropped(drop: &nodes::DropStmt, context: &Context<'_>) -> Result<Plan, Error> {
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
            let table = full_name(context, schema, name);
            Ok(plan(
                named(schema, name, context)?,
                tag,
                vec![Change::TableAltered { table }],
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

pub(super) fn dropped_relations(
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
        if matches!(look_up(context, schema, name), Found::Temporary(_)) {
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

pub(super) fn renamed(
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
            | ObjectType::OBJECT_AGGREGATE => functions([(schema, name), (schema, &new)]),
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
        ObjectType::OBJECT_TABCONSTRAINT if rename.subname() == Some(GUARD) || new == GUARD => {
            Err(guarded().at(source.sql, relation.location))
        }
        _ => Ok(plan(
            placement_of(relation, source, context)?,
            tag,
            vec![Change::Other],
        )),
    }
}

pub(super) fn moved(
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
            | ObjectType::OBJECT_AGGREGATE => functions([(schema, name), (Some(&new), name)]),
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

/// A function goes from one name to the other.
fn functions(names: [(Option<&str>, &str); 2]) -> Vec<Change> {
    let function = |(schema, name): (Option<&str>, &str)| Change::Function {
        schema: schema.map(str::to_owned),
        name: name.to_owned(),
    };
    names.map(function).to_vec()
}

/// The names of DROP's objects: a list of names, a function with its arguments, a type or one name.
pub(super) fn object_path(node: Node<'_>) -> Vec<String> {
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

pub(super) fn split(path: &[String]) -> (Option<&str>, &str) {
    match path {
        [.., schema, name] => (Some(schema), name),
        [name] => (None, name),
        [] => (None, ""),
    }
}
