//! COPY TO STDOUT of rows that no single shard has.
//!
//! Entry points: [`table`] and [`query`]. What each shard can write for itself is sent on as it comes; other rows are merged by the
//! router, which writes them, or written by the server that finishes the query.

use catalog::{GroupId, ShardId};

use crate::parse::{Node, nodes};
use crate::piece::{Piece, piece};
use crate::session::parenthesized;
use crate::{
    CopyFormat, CopyKind, CopyOut, CopyRows, Error, ForceQuote, Gather, Plan, Scatter, Turns,
};

/// A sharded table: each shard copies its part.
pub(crate) fn table(
    copy: &nodes::CopyStmt,
    span: (usize, usize),
    group: GroupId,
) -> Result<Plan, Error> {
    to_stdout(copy)?;
    Ok(Plan::CopyOut(CopyOut {
        statement: span.0..span.1,
        rows: CopyRows::Shards {
            group,
            shards: None,
            locks: false,
        },
        format: format(copy),
    }))
}

/// Where the query of `COPY (query)` is in the text.
pub(crate) fn query_span(sql: &str, span: (usize, usize)) -> Option<(usize, usize)> {
    let text = sql.get(..span.1)?.as_bytes();
    let (_, keyword) = piece(text, span.0)?;
    let (next, range) = piece(text, keyword.end)?;
    if next != Piece::Mark(b'(') {
        return None;
    }
    let (_, end) = parenthesized(text, range.start)?;
    Some((range.end, end.checked_sub(1)?))
}

/// A query of this plan, which no single shard answers.
pub(crate) fn query(
    copy: &nodes::CopyStmt,
    span: (usize, usize),
    plan: Plan,
) -> Result<Plan, Error> {
    to_stdout(copy)?;
    let rows = match plan {
        Plan::Scatter(scatter) if scatter.turns != Turns::AtOnce => {
            return Err(Error::unsupported(
                "COPY of rows of several shards that are locked with a LIMIT",
            ));
        }
        Plan::Scatter(scatter) if is_as_it_comes(&scatter) => CopyRows::Shards {
            group: scatter.group,
            shards: scatter.shards,
            locks: scatter.locks,
        },
        Plan::Scatter(scatter) => CopyRows::Query(Box::new(Plan::Scatter(scatter))),
        Plan::Gather(gather) => CopyRows::Query(Box::new(Plan::Gather(without_moment(gather)?))),
        _ => return Err(Error::internal("COPY of a query that is none of rows")),
    };
    Ok(Plan::CopyOut(CopyOut {
        statement: span.0..span.1,
        rows,
        format: format(copy),
    }))
}

/// Whether each shard's answer to the client's own query is a part of the whole one.
fn is_as_it_comes(scatter: &Scatter) -> bool {
    let merge = &scatter.merge;
    scatter.sql.is_none()
        && !scatter.moment
        && merge.keys.is_empty()
        && merge.combine.is_none()
        && merge.distinct.is_none()
        && merge.limit.is_none()
        && merge.offset.is_none()
}

/// COPY takes no parameters: where partial results need one, rows are brought instead.
fn without_moment(gather: Gather) -> Result<Gather, Error> {
    match gather.combine {
        Some(combine) if combine.moment => {
            combine.otherwise.map(|gather| *gather).ok_or_else(|| {
                Error::unsupported("COPY of a query over several shards that asks for the time")
                    .with_hint("Give the time as a constant.")
            })
        }
        combine => Ok(Gather { combine, ..gather }),
    }
}

fn to_stdout(copy: &nodes::CopyStmt) -> Result<(), Error> {
    if copy.is_program || copy.filename().is_some() {
        return Err(
            Error::unsupported("COPY of rows of several shards to a file of a server")
                .with_hint("COPY … TO STDOUT, and let the client write the file (psql: \\copy)."),
        );
    }
    Ok(())
}

fn format(copy: &nodes::CopyStmt) -> CopyFormat {
    let options: Vec<&nodes::DefElem> = copy.options().iter().collect();
    let find = |name: &str| {
        let mut found = options
            .iter()
            .filter(|option| option.defname() == Some(name));
        found.next().copied()
    };
    let text = |name: &str| find(name).map(crate::build::option_text);
    let mut is_known = true;
    let kind = match text("format").flatten().as_deref() {
        None | Some("text") => CopyKind::Text,
        Some("csv") => CopyKind::Csv,
        Some("binary") => CopyKind::Binary,
        Some(_) => {
            is_known = false;
            CopyKind::Text
        }
    };
    let mut names: Vec<&str> = options
        .iter()
        .filter_map(|option| option.defname())
        .collect();
    let known = [
        "format",
        "header",
        "delimiter",
        "null",
        "quote",
        "escape",
        "force_quote",
    ];
    is_known &= names.iter().all(|name| known.contains(name));
    names.sort_unstable();
    is_known &= names.windows(2).all(|pair| pair[0] != pair[1]);
    is_known &= kind != CopyKind::Binary || names.iter().all(|name| *name == "format");
    let is_csv = kind == CopyKind::Csv;
    let header = match text("header") {
        None => false,
        Some(value) => match value.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("true" | "on" | "1") => true,
            Some("false" | "off" | "0") => false,
            Some(_) => {
                is_known = false;
                true
            }
        },
    };
    // Before version 15 only CSV has one, which a server has to say.
    is_known &= is_csv || !header;
    let mut byte = |name: &str, default: u8| match text(name).map(Option::unwrap_or_default) {
        None => default,
        Some(value) => match value.as_bytes() {
            [only] if !matches!(only, b'\n' | b'\r' | 0 | 0x80..) => *only,
            _ => {
                is_known = false;
                default
            }
        },
    };
    let delimiter = byte("delimiter", if is_csv { b',' } else { b'\t' });
    let quote = byte("quote", b'"');
    let escape = byte("escape", quote);
    let null = match text("null") {
        None if is_csv => String::new(),
        None => "\\N".to_owned(),
        Some(value) => value.unwrap_or_default(),
    };
    is_known &= !null.contains(['\n', '\r'])
        && !null.as_bytes().contains(&delimiter)
        && !(is_csv && (null.as_bytes().contains(&quote) || delimiter == quote))
        && (is_csv || find("quote").is_none() && find("escape").is_none())
        && (is_csv || !b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter));
    let force_quote = match find("force_quote").map(nodes::DefElem::arg) {
        None => ForceQuote::Columns(Vec::new()),
        Some(Node::A_Star(_)) => ForceQuote::All,
        Some(Node::NodeList(names)) => ForceQuote::Columns(
            names
                .iter()
                .filter_map(|name| name.as_str().map(str::to_owned))
                .collect(),
        ),
        Some(_) => {
            is_known = false;
            ForceQuote::Columns(Vec::new())
        }
    };
    is_known &= is_csv || find("force_quote").is_none();
    CopyFormat {
        kind,
        header,
        delimiter,
        null,
        quote,
        escape,
        force_quote,
        is_known,
    }
}

/// The shards of a route by key whose values lead to several.
pub(crate) fn several_shards(
    route: &crate::Route,
    catalog: &catalog::Catalog,
) -> Option<(Vec<ShardId>, Error)> {
    let refusal = crate::resolve(route, catalog, &()).err()?;
    let shards = crate::resolve_all(route, catalog, &()).ok()?;
    Some((shards, refusal))
}
