//! CREATE TABLE AS, SELECT INTO and CREATE MATERIALIZED VIEW.
//!
//! Entry point: [`create_table_as`]. Where the rows are where the table will be, the client's own text does it. Otherwise the table is made
//! by the same text WITH NO DATA, on a shard that has the query's tables and so gives its columns their types, and the query's rows are
//! stored there.

use catalog::quote_identifier;

use crate::bind::Binder;
use crate::build::{self, To, route};
use crate::ddl;
use crate::gather::servers;
use crate::operand::Source;
use crate::parse::{Node, OnCommitAction, nodes};
use crate::piece::{Piece, piece};
use crate::query::QueryId;
use crate::relation::creation_schema;
use crate::scope::{Namespace, Scope};
use crate::several::several;
use crate::utility::single;
use crate::{
    Access, Change, Context, CreateAs, CreatedAs, DdlEffect, Effects, Error, Everywhere,
    EverywhereKind, Load, LoadFormat, LoadTarget, Name, NewTable, Pins, Plan, Route, Single,
    StatementTag, Where,
};

/// What is created, and how the text says it.
#[derive(Clone, Copy)]
pub(crate) struct Creation<'t> {
    pub into: &'t nodes::IntoClause,
    /// Not a table but a materialized view.
    pub view: bool,
    pub if_not_exists: bool,
    /// The statement's bytes, if it is CREATE TABLE AS: not SELECT INTO.
    pub span: Option<(usize, usize)>,
}

/// CREATE TABLE AS, SELECT INTO and CREATE MATERIALIZED VIEW.
pub(crate) fn create_table_as(
    query: Node<'_>,
    creation: Creation<'_>,
    source: Source<'_>,
    context: &Context<'_>,
) -> Result<Plan, Error> {
    let Creation { into, view, .. } = creation;
    let what = if view {
        "CREATE MATERIALIZED VIEW"
    } else {
        "CREATE TABLE AS"
    };
    let Some(relation) = into.rel() else {
        return Err(Error::internal("CREATE TABLE AS without a name"));
    };
    let name = relation.relname().unwrap_or_default().to_owned();
    let source = Source {
        literals: None,
        ..source
    };
    let routed = match route(query, source, context) {
        Err(refusal @ (Error::Unsupported { .. } | Error::SeveralShards { .. })) if !view => {
            return filled(query, creation, (relation, name), source, context, refusal);
        }
        Err(refusal @ (Error::Unsupported { .. } | Error::SeveralShards { .. })) => {
            return Err(refusal.with_hint(
                "CREATE TABLE AS can do this. REFRESH could not, as it is one server's.",
            ));
        }
        other => other?,
    };
    let To::Route(to) = routed.to else {
        return Err(Error::unsupported(format!(
            "{what} from a write to a reference table"
        )));
    };
    let tag = StatementTag("SELECT");
    let parameters = u16::try_from(routed.findings.parameters.len()).unwrap_or(u16::MAX);
    if ddl::is_temporary(relation) {
        let to = match to {
            Route::Any => Route::Shard(ddl::temporary_shard(context)),
            other => other,
        };
        let mut effects = routed.findings.effects;
        effects.creates_temporary.push(name);
        effects.until_commit = into.on_commit == OnCommitAction::ONCOMMIT_DROP;
        return Ok(Plan::Single(Single {
            pins: routed.findings.pins | Pins::TEMPORARY,
            effects,
            tag,
            parameters,
            ..single(to, "SELECT")
        }));
    }
    let default = context.catalog.default_shard();
    if !matches!(to, Route::Any) && to != Route::Shard(default) {
        let refusal = Error::unsupported(format!(
            "{what} from rows that are not on the default shard"
        ))
        .with_detail(format!(
            "The new table {name} would be on the default shard."
        ))
        .with_hint("Create the table, then INSERT … SELECT; or make it a temporary table.");
        return match view {
            true => Err(refusal),
            false => filled(query, creation, (relation, name), source, context, refusal),
        };
    }
    let created = created(&routed.columns, creation, (relation, name), context)?;
    Ok(Plan::Everywhere(Everywhere {
        shards: Where::Shards(vec![default]),
        access: Access::Write,
        parameters,
        tag,
        returns_rows: false,
        kind: EverywhereKind::Ddl(created),
        concurrently: false,
        no_block: false,
    }))
}

/// What the catalog has to learn of a table or a view on the default shard. `shown`: the names of the query's columns, as far as they are
/// known.
fn created(
    shown: &[String],
    creation: Creation<'_>,
    (relation, name): (&nodes::RangeVar, String),
    context: &Context<'_>,
) -> Result<DdlEffect, Error> {
    let table = Name {
        schema: relation
            .schemaname()
            .map_or_else(|| creation_schema(context), str::to_owned),
        name,
    };
    if creation.view {
        return Ok(DdlEffect {
            changes: vec![Change::View { view: table }],
        });
    }
    let named = creation.into.col_names().iter().filter_map(Node::as_str);
    let mut columns: Vec<&str> = named.collect();
    columns.extend(shown.iter().map(String::as_str));
    let mut sharded = context.catalog.auto_shard().iter();
    if let Some(auto) = sharded.find(|auto| columns.contains(&auto.column.as_str())) {
        return Err(Error::unsupported(format!(
            "CREATE TABLE AS of a table that is sharded by its column {}",
            auto.column
        ))
        .with_hint("Create the table, then INSERT … SELECT."));
    }
    let shard = context.catalog.default_shard();
    Ok(DdlEffect {
        changes: vec![Change::TableCreated {
            table,
            if_not_exists: creation.if_not_exists,
            sharding: NewTable::Unsharded { shard },
        }],
    })
}

fn bound<'c, 's>(
    query: Node<'_>,
    source: Source<'s>,
    context: &Context<'c>,
) -> Result<(Binder<'c, 's>, QueryId), Error> {
    let Node::SelectStmt(select) = query else {
        return Err(Error::internal("a table is made of what is no query"));
    };
    let mut binder = Binder::new(*context, source);
    let namespace = Namespace::default();
    let scope = Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let root = binder.select(select, &scope)?;
    Ok((binder, root))
}

/// A table of a query whose rows are elsewhere, or on several shards. `refusal`: what came of its route.
fn filled(
    query: Node<'_>,
    creation: Creation<'_>,
    (relation, name): (&nodes::RangeVar, String),
    source: Source<'_>,
    context: &Context<'_>,
    refusal: Error,
) -> Result<Plan, Error> {
    let Some(span) = creation.span else {
        return Err(refusal.with_hint("CREATE TABLE … AS SELECT … can do this."));
    };
    let text = source.sql.get(span.0..span.1).unwrap_or_default();
    let query_range = query_range(text)
        .ok_or_else(|| Error::internal("CREATE TABLE AS whose query cannot be found"))?;
    let (binder, root) = bound(query, source, context)?;
    let outputs = binder.bound.queries[root].outputs.iter();
    let shown: Vec<String> = outputs.filter_map(|output| output.name.clone()).collect();
    let findings = binder.bound.findings;
    let reads = findings.access.is_none_or(|access| access == Access::Read);
    if !reads || !findings.pins.is_empty() || !findings.effects.is_empty() {
        return Err(refusal);
    }
    if !findings.parameters.is_empty() {
        return Err(Error::unsupported(
            "CREATE TABLE AS with parameters of a query whose rows are not where the table will be",
        )
        .with_hint("Create the table, then INSERT … SELECT; or give the values as constants."));
    }
    // What several shards cannot answer is refused before anything is made.
    let inner = (span.0 + query_range.start, span.0 + query_range.end);
    if build::query(query, source, context).is_err() {
        several(query, inner, source, context, None, refusal)?;
    }
    let servers = servers(&findings, context)?;
    let is_temporary = ddl::is_temporary(relation);
    let wanted = match is_temporary {
        true => ddl::temporary_shard(context),
        false => context.catalog.default_shard(),
    };
    let shard = match servers.first() {
        _ if servers.contains(&wanted) => wanted,
        Some(first) if is_temporary && context.temporary.is_empty() => *first,
        _ => {
            return Err(Error::unsupported(
                "CREATE TABLE AS on a shard that does not have the query's tables",
            )
            .with_detail(format!("The new table {name} would be on shard {wanted}."))
            .with_hint("Create the table, then INSERT … SELECT."));
        }
    };
    let table = match (is_temporary, relation.schemaname()) {
        (true, _) => format!("pg_temp.{}", quote_identifier(&name)),
        (false, schema) => {
            let schema = schema.map_or_else(|| creation_schema(context), str::to_owned);
            format!("{}.{}", quote_identifier(&schema), quote_identifier(&name))
        }
    };
    let (kind, empty) = if is_temporary {
        let single = Single {
            pins: Pins::TEMPORARY,
            effects: Effects {
                creates_temporary: vec![name.clone()],
                until_commit: creation.into.on_commit == OnCommitAction::ONCOMMIT_DROP,
                ..Effects::default()
            },
            tag: StatementTag("SELECT"),
            ..single(Route::Shard(shard), "SELECT")
        };
        (CreatedAs::Temporary(single.clone()), Plan::Single(single))
    } else {
        let named = (relation, name.clone());
        let effect = created(&shown, creation, named, context)?;
        let everywhere = Everywhere {
            shards: Where::Shards(vec![shard]),
            access: Access::Write,
            parameters: 0,
            tag: StatementTag("SELECT"),
            returns_rows: false,
            kind: EverywhereKind::Ddl(effect.clone()),
            concurrently: false,
            no_block: false,
        };
        (CreatedAs::Table(effect), Plan::Everywhere(everywhere))
    };
    if creation.into.skip_data {
        return Ok(empty);
    }
    Ok(Plan::CreateAs(Box::new(CreateAs {
        statement: span.0..span.1,
        query: query_range,
        shard,
        kind,
        copy: format!("COPY {table} FROM STDIN"),
        load: Load {
            table: name,
            target: LoadTarget::Shard(shard),
            format: LoadFormat::Text {
                delimiter: b'\t',
                null: "\\N".to_owned(),
            },
            header: false,
            all_columns: None,
        },
    })))
}

/// The query in the text of a CREATE TABLE AS: behind the first AS that is in no parentheses, up to WITH DATA.
fn query_range(text: &str) -> Option<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0u32);
    let mut start = None;
    let mut words: Vec<std::ops::Range<usize>> = Vec::new();
    while let Some((kind, range)) = piece(bytes, at) {
        at = range.end;
        match kind {
            Piece::Mark(b'(') => depth += 1,
            Piece::Mark(b')') => depth = depth.checked_sub(1)?,
            Piece::Word if depth == 0 && start.is_none() => {
                if text.get(range.clone())?.eq_ignore_ascii_case("as") {
                    start = Some(range.end);
                }
                continue;
            }
            _ => {}
        }
        words.push(range);
    }
    let start = start?;
    let is = |range: Option<&std::ops::Range<usize>>, word: &str| {
        let found = range.and_then(|range| text.get(range.clone()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    let mut back = words.iter().rev();
    let mut end = words.last()?.end;
    if is(back.next(), "data") {
        let (one, two) = (back.next(), back.next());
        let with = match is(one, "no") {
            true => two,
            false => one,
        };
        if is(with, "with") {
            end = with?.start;
        }
    }
    (start < end).then_some(start..end)
}
