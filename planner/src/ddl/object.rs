//! Views, sequences, and what hangs on tables: triggers, policies, grants, comments.

use catalog::View;

use super::drop::{object_path, split};
use super::placement::{Placement, everywhere_of, named, one, placement_of};
use super::{concurrently, is_temporary, new_name, plan, temporary};
use crate::bind::Binder;
use crate::operand::Source;
use crate::parse::{Node, NodeList, ObjectType, ReindexObjectType, names, nodes, parse};
use crate::piece::{Piece, piece};
use crate::relation::{FoundSequence, creation_schema, full_name, look_up_sequence};
use crate::scope::{Namespace, Scope};
use crate::utility::outside_block;
use crate::{Change, Context, Error, EverywhereKind, Name, Plan};

pub(super) fn create_view(
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
            false,
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

/// Where a view's tables are: every shard, or the one that holds the unsharded tables it reads.
pub(super) fn placement_of_query(
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

pub(super) fn create_sequence(
    create: &nodes::CreateSeqStmt,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(sequence) = create.sequence() else {
        return Err(Error::internal("CREATE SEQUENCE without a name"));
    };
    if is_temporary(sequence) {
        return Ok(temporary(
            sequence.relname().unwrap_or_default(),
            false,
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

/// A sequence is with its unsharded table, or where it is found.
pub(super) fn relation_or_holding(
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
    match look_up_sequence(context, Some(&full.schema), &full.name) {
        FoundSequence::OfTable(shard) => Ok((Placement::Shard(shard), full)),
        // The catalog does not say which shards have it.
        FoundSequence::Known | FoundSequence::Unknown => {
            Ok((Placement::Holding(full.clone()), full))
        }
    }
}

pub(super) fn on_table(
    relation: Option<&nodes::RangeVar>,
    tag: &'static str,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    match relation {
        Some(relation) => {
            let (schema, name) = (relation.schemaname(), relation.relname());
            let table = full_name(context, schema, name.unwrap_or_default());
            // What a trigger or a policy may do is judged like the table's other properties.
            let change = Change::TableAltered { table };
            Ok(plan(
                placement_of(relation, source, context)?,
                tag,
                vec![change],
            ))
        }
        None => Err(Error::internal("a statement without its table")),
    }
}

/// A rule rewrites statements behind the router's back.
pub(super) fn create_rule(
    rule: &nodes::RuleStmt,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Some(relation) = rule.relation() else {
        return Err(Error::internal("CREATE RULE without a table"));
    };
    match placement_of(relation, source, context)? {
        placement @ (Placement::Shard(_) | Placement::Temporary(_)) => {
            let name = relation.relname().unwrap_or_default();
            let table = full_name(context, relation.schemaname(), name);
            let change = Change::TableAltered { table };
            Ok(plan(placement, "CREATE RULE", vec![change]))
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
pub(super) fn create_statistics(source: Source<'_>, context: &Context<'_>) -> Result<Plan, Error> {
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

pub(super) fn reindexed(
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

pub(super) fn granted(
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

pub(super) fn commented(
    comment: &nodes::CommentStmt,
    context: &Context<'_>,
) -> Result<Plan, Error> {
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
            match look_up_sequence(context, Some(&full.schema), &full.name) {
                FoundSequence::OfTable(shard) => Placement::Shard(shard),
                FoundSequence::Known | FoundSequence::Unknown => Placement::Holding(full),
            }
        }
        _ => Placement::All,
    };
    Ok(plan(placement, "COMMENT", vec![Change::Other]))
}

pub(super) fn create_schema(create: &nodes::CreateSchemaStmt) -> Result<Plan, Error> {
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

pub(super) fn function_change(path: &NodeList) -> Change {
    function_named(&names(path))
}

pub(super) fn function_named(path: &[&str]) -> Change {
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
