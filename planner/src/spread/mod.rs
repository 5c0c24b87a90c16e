//! A write that no single shard can carry out: each shard does its part, if the parts together are the whole.
//!
//! Entry point: [`spread`]. Rows of INSERT … VALUES go each to the shard of its key. UPDATE and DELETE run on every shard that may
//! have rows, if `distribute` proves that what they do to one row needs that row's shard only. What is computed once for a
//! whole statement must be the same on all shards: the time is told to them, other things are refused.

pub(crate) mod errand;
mod shift;
mod text;
mod transfer;

use catalog::ShardId;

use crate::bind::Binder;
use crate::distribute::{split, split_insert};
use crate::key::row_keys;
use crate::operand::Source;
use crate::parse::Node;
use crate::query::{Bound, Findings, Insert, InsertRows, QueryId, QueryKind};
use crate::scope::{Namespace, Scope};
use crate::{
    Context, Edit, EditKind, Error, Learned, Plan, Spread, SpreadKind, SpreadRow, SpreadRows,
    StatementTag,
};

use text::{Outline, outline};

/// Plans a write. `refusal`: why one shard cannot carry it out, for writes that several cannot carry out either. `shards`: those
/// that its values have led to, if they have.
pub(crate) fn spread(
    node: Node<'_>,
    span: (usize, usize),
    source: Source<'_>,
    context: &Context<'_>,
    shards: Option<Vec<ShardId>>,
    refusal: Error,
) -> Result<Plan, Error> {
    let source = Source {
        literals: None,
        ..source
    };
    let Some(own) = source.sql.get(span.0..span.1) else {
        return Err(Error::internal("a write is not where it was parsed"));
    };
    let mut binder = Binder::new(*context, source);
    let namespace = Namespace::default();
    let scope = Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let root = binder.write(node, &scope)?;
    let findings = &binder.bound.findings;
    if let Some(error) = &findings.refusal {
        return Err(error.clone());
    }
    if context.manual.is_some()
        || findings.sharded.is_empty()
        || !findings.reference_writes.is_empty()
    {
        return Err(refusal);
    }
    let (tag, returns_rows) = match node {
        Node::InsertStmt(insert) => ("INSERT", insert.returning_clause().is_some()),
        Node::UpdateStmt(update) => ("UPDATE", update.returning_clause().is_some()),
        Node::DeleteStmt(delete) => ("DELETE", delete.returning_clause().is_some()),
        Node::MergeStmt(merge) => ("MERGE", merge.returning_clause().is_some()),
        _ => return Err(refusal),
    };
    let parameters = u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX);
    if let (Some(refused), Node::UpdateStmt(update)) = (&findings.moves, node) {
        is_alike_everywhere(findings)?;
        if findings.moments {
            return Err(Error::unsupported(format!(
                "{} by a statement that asks for the time",
                refused.message()
            ))
            .with_hint("Ask for now() first and give it as a parameter."));
        }
        let group = split(&binder.bound, root).map(|split| split.group);
        let group = group.ok_or_else(|| refused.clone())?;
        let place = (own, span.0);
        let shift = shift::shift(update, place, (group, shards), parameters, context, refused);
        return shift.map(|transfer| Plan::Transfer(Box::new(transfer)));
    }
    // Which rows are stored is for the shards to say.
    let skips = matches!(node, Node::InsertStmt(insert) if insert.on_conflict_clause().is_some());
    let part = is_alike_everywhere(findings)
        .and_then(|()| part_of(&binder, root, own, shards, source.sql, skips, &refusal));
    let part = match part {
        Ok(part) => part,
        Err(error) => {
            let moved = match node {
                // Of a moment's word each shard would make its own moment as it stores it.
                Node::InsertStmt(insert)
                    if stores_query(&binder.bound, root) && findings.moment_words.is_empty() =>
                {
                    transfer::transfer(insert, (own, span.0), parameters, context)
                }
                _ => None,
            };
            return match moved {
                Some(transfer) => Ok(Plan::Transfer(Box::new(transfer))),
                None => Err(error),
            };
        }
    };
    let edits = edits(own, span.0, &part, &binder.bound, root)?;
    Ok(Plan::Spread(Spread {
        statement: span.0..span.1,
        tag: StatementTag(tag),
        group: part.group,
        kind: part.kind,
        edits: edits.into(),
        returns_rows,
        parameters,
        moment: findings.moments,
        learned: Learned::default(),
    }))
}

/// Whether the statement is an INSERT of a query's rows into a sharded table.
fn stores_query(bound: &Bound<'_>, root: QueryId) -> bool {
    matches!(&bound.queries[root].kind, QueryKind::Level(level)
        if matches!(&level.insert, Some(insert) if matches!(insert.rows, InsertRows::Query { .. })))
}

/// What each shard does.
struct Part {
    group: catalog::GroupId,
    kind: SpreadKind,
    outline: Outline,
}

fn part_of(
    binder: &Binder<'_, '_>,
    root: QueryId,
    own: &str,
    shards: Option<Vec<ShardId>>,
    sql: &str,
    skips: bool,
    refusal: &Error,
) -> Result<Part, Error> {
    let bound = &binder.bound;
    let misplaced = || Error::internal("the parts of a write cannot be told apart");
    let QueryKind::Level(level) = &bound.queries[root].kind else {
        return Err(refusal.clone());
    };
    let group = match &level.insert {
        Some(Insert {
            group,
            rows: InsertRows::Values(_),
            ..
        }) => Some(*group),
        Some(_) => split_insert(bound, root),
        None => split(bound, root).map(|split| split.group),
    };
    let group = group.ok_or_else(|| refusal.clone())?;
    let stores_rows = matches!(
        &level.insert,
        Some(Insert {
            rows: InsertRows::Values(_),
            ..
        })
    );
    // Writes in WITH are carried out whoever reads them: each must be local by itself.
    let inside = bound.standalone.iter().filter(
        |query| matches!(&bound.queries[**query].kind, QueryKind::Level(level) if level.writes),
    );
    for query in inside {
        let local = split(bound, *query).is_some_and(|split| split.group == group);
        if stores_rows || !local {
            return Err(refusal.clone());
        }
    }
    match &level.insert {
        Some(Insert {
            rows: InsertRows::Values(rows),
            table,
            key_types,
            ..
        }) => {
            if bound.findings.sharded.len() > 1 {
                return Err(Error::unsupported(format!(
                    "INSERT of rows of several shards into {table} together with a query of sharded tables"
                ))
                .with_hint("Send one INSERT per shard key, or read the values first."));
            }
            let outline = outline(own, rows.len()).ok_or_else(misplaced)?;
            let keys = row_keys(bound, root, sql)?;
            let rows = keys
                .into_iter()
                .zip(outline.rows.iter().cloned())
                .map(|(key, span)| SpreadRow { key, span })
                .collect();
            let repeats = repeats(&outline);
            let tells = match skips && outline.returning.is_some() {
                true => key_types.clone(),
                false => Vec::new(),
            };
            Ok(Part {
                group,
                kind: SpreadKind::Rows(
                    SpreadRows {
                        rows,
                        repeats,
                        tells,
                    }
                    .into(),
                ),
                outline,
            })
        }
        _ => Ok(Part {
            group,
            kind: SpreadKind::Each(shards),
            outline: outline(own, 0).ok_or_else(misplaced)?,
        }),
    }
}

/// Whether a parameter is named more than once.
fn repeats(outline: &Outline) -> bool {
    let mut numbers: Vec<u16> = outline.parameters.iter().map(|(_, n)| *n).collect();
    numbers.sort_unstable();
    numbers.windows(2).any(|pair| pair[0] == pair[1])
}

/// Whether nothing but rows decides what a shard does: what else the statement asks for is the same on all of them.
fn is_alike_everywhere(findings: &Findings<'_>) -> Result<(), Error> {
    let refused = |why: String| Error::unsupported(format!("a write over several shards {why}"));
    if let Some((_, name)) = findings.homes.first() {
        return Err(
            refused(format!("that uses {name}, which exists on one shard only"))
                .with_hint("Give the values as constants or parameters, or name the shard key."),
        );
    }
    if findings.uses_pgweave {
        return Err(refused("that uses schema pgweave".into()));
    }
    if let Some(name) = findings.reference_locks.first() {
        return Err(refused(format!(
            "that locks rows of the reference table {name}"
        )));
    }
    if !findings.recalls.is_empty() {
        return Err(refused("that uses currval or lastval".into())
            .with_hint("Use INSERT … RETURNING, and give the value as a parameter."));
    }
    if !findings.pins.is_empty() || !findings.effects.is_empty() {
        return Err(refused(
            "that changes settings or takes locks of the session".into(),
        ));
    }
    let own_of_servers = (findings.system_column.as_ref())
        .map(|column| format!("it reads the system column {column}"))
        .or_else(|| {
            findings
                .tableoid
                .then(|| "it reads the system column tableoid".to_owned())
        })
        .or_else(|| {
            Some(format!(
                "it reads the system catalog {}",
                findings.system.as_ref()?
            ))
        })
        .or_else(|| (!findings.sizes.is_empty()).then(|| "it asks for sizes".to_owned()));
    if let Some(why) = findings.not_gathered.as_ref().or(own_of_servers.as_ref()) {
        return Err(refused(format!("cannot be split: {why}"))
            .with_hint("What a server says of its own rows means another row on each shard."));
    }
    if !findings.moment_words.is_empty() {
        return Err(refused(
            "that uses 'now', 'today' or the like, which differs between shards".into(),
        )
        .with_hint("Use now() or CURRENT_DATE, which are the same on all shards."));
    }
    if let Some(what) = &findings.differs {
        return Err(
            refused(format!("that uses {what}, which differs between shards")).with_hint(
                "Compute the value first and give it as a constant or a parameter; now() and CURRENT_DATE are the same on all shards.",
            ),
        );
    }
    if let Some(what) = &findings.volatile_within {
        return Err(refused(format!(
            "that uses {what} in a subquery, which one server would evaluate once"
        ))
        .with_hint("Compute the value first and give it as a constant or a parameter."));
    }
    Ok(())
}

/// What shards are sent otherwise: the time as a parameter, and other numbers of parameters.
fn edits(
    own: &str,
    start: usize,
    part: &Part,
    bound: &Bound<'_>,
    root: QueryId,
) -> Result<Vec<Edit>, Error> {
    let (outline, findings) = (&part.outline, &bound.findings);
    let mut edits: Vec<Edit> = outline
        .parameters
        .iter()
        .map(|(range, index)| Edit {
            range: range.clone(),
            what: EditKind::Parameter(*index),
        })
        .collect();
    for place in &findings.moment_places {
        let at = usize::try_from(*place)
            .ok()
            .and_then(|at| at.checked_sub(start));
        let edit = at
            .and_then(|at| text::moment(own, at))
            .ok_or_else(|| moment_out_of_place("in a view"))?;
        if outline
            .returning
            .is_some_and(|returning| returning < edit.range.start)
        {
            return Err(moment_out_of_place("in RETURNING"));
        }
        edits.push(edit);
    }
    let tells = matches!(&part.kind, SpreadKind::Rows(rows) if !rows.tells.is_empty());
    if let (true, Some(returning)) = (tells, outline.returning)
        && let QueryKind::Level(level) = &bound.queries[root].kind
        && let Some(insert) = &level.insert
    {
        let after = returning + "returning".len();
        let columns: String = insert
            .key_names
            .iter()
            .map(|name| format!(" {},", catalog::quote_identifier(name)))
            .collect();
        edits.push(Edit {
            range: after..after,
            what: EditKind::Hidden(columns.into()),
        });
    }
    edits.sort_by_key(|edit| edit.range.start);
    Ok(edits)
}

fn moment_out_of_place(place: &str) -> Error {
    Error::unsupported(format!(
        "a write over several shards that asks for the time of the transaction {place}"
    ))
    .with_hint("Ask for it first and give it as a parameter.")
}
