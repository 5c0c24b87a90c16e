//! The last rung: rows of several shards brought to one server, which runs the query over them.
//!
//! Entry point: [`gather`]. A query may be gathered if it only reads, and if nothing in it could tell the copies of its tables from the
//! tables themselves: no system column, no row lock, no temporary relation, no question about the server.

use std::collections::BTreeSet;

use catalog::{Column, ShardId, TableKind};

use crate::bind::Needed;
use crate::narrow::Narrowing;
use crate::piece::{identifier_end, quoted_identifier_end, skip_blank};
use crate::query::{Appearance, Findings};
use crate::{Access, Context, Error, Gather, GatherPlace, GatherTable, Learned, Mention, Name};

/// Plans a SELECT that no single shard answers. `refusal`: why not, for queries that cannot be gathered either.
pub(crate) fn gather(
    findings: &Findings<'_>,
    needed: Option<&Needed>,
    narrowing: &Narrowing,
    span: (usize, usize),
    sql: &str,
    context: &Context<'_>,
    refusal: &Error,
) -> Result<Gather, Error> {
    if let Some(why) = obstacle(findings, context) {
        return Err(refusal
            .clone()
            .with_detail(format!("Its rows cannot be gathered on one server: {why}.")));
    }
    let servers = servers(findings, context)?;
    let mut gather = Gather {
        statement: span.0..span.1,
        tables: Vec::new(),
        mentions: Vec::new(),
        servers,
        in_place: findings.in_place,
        groups: findings.groups_rows,
        over_subqueries: over_subqueries(findings, needed),
        parameters: u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX),
        learned: Learned::default(),
        combine: None,
    };
    let mut named: Vec<Vec<&Appearance<'_>>> = Vec::new();
    for appearance in &findings.appearances {
        let table = mention(&mut gather, appearance, needed, narrowing, sql).ok_or_else(|| {
            refusal.clone().with_detail(format!(
                "Its rows cannot be gathered on one server: the place where it names {} is not understood.",
                appearance.table.name
            ))
        })?;
        named.resize(gather.tables.len(), Vec::new());
        named[table].push(appearance);
    }
    gather.mentions.sort_by_key(|mention| mention.range.start);
    let order = narrowing.arrange(&mut gather.tables, &named);
    let place = |table: usize| order.iter().position(|index| *index == table);
    for mention in &mut gather.mentions {
        mention.table = place(mention.table).unwrap_or(mention.table);
    }
    let mut tables: Vec<Option<GatherTable>> = gather.tables.into_iter().map(Some).collect();
    gather.tables = order
        .iter()
        .filter_map(|index| tables[*index].take())
        .collect();
    Ok(gather)
}

/// Whether the query means the same over subqueries in place of its tables. A table's rows as such have a type of their own, with
/// names of its own; GROUP BY may rely on primary keys.
fn over_subqueries(findings: &Findings<'_>, needed: Option<&Needed>) -> Option<bool> {
    let needed = needed?;
    let by_columns = findings.appearances.iter().all(|appearance| {
        let called = appearance.alias.as_ref();
        !appearance.only && !needed.row(called.unwrap_or(&appearance.table.name))
    });
    match by_columns {
        false => Some(false),
        true => (!findings.groups_rows).then_some(true),
    }
}

fn obstacle(findings: &Findings, context: &Context<'_>) -> Option<String> {
    if let Some(why) = &findings.not_gathered {
        return Some(why.clone());
    }
    if findings.names_schema {
        return Some("it names a column with its schema".into());
    }
    if let Some(table) = &findings.views {
        return Some(format!("it reads {table} through a view"));
    }
    if context.manual.is_some() {
        return Some("pgweave.shard or pgweave.shard_key says where it runs".into());
    }
    match findings.access {
        None | Some(Access::Read) => {}
        Some(Access::LockingRead) => return Some("it locks rows".into()),
        Some(Access::Write) => {
            return Some("it writes, or calls a function that may".into());
        }
    }
    if findings.uses_pgweave {
        return Some("it reads schema pgweave".into());
    }
    if !findings.pins.is_empty() || !findings.effects.is_empty() {
        return Some("it changes the session".into());
    }
    if findings.groups.is_empty() {
        return Some("it reads no sharded table".into());
    }
    None
}

/// The shards whose servers know everything that the query names.
pub(crate) fn servers(findings: &Findings, context: &Context<'_>) -> Result<Vec<ShardId>, Error> {
    let mut common: BTreeSet<ShardId> = context
        .catalog
        .shards()
        .iter()
        .map(|shard| shard.id)
        .collect();
    for group in &findings.groups {
        if let Some(group) = context.catalog.group(*group) {
            let shards = group.map.shards();
            common.retain(|shard| shards.contains(shard));
        }
    }
    for (home, _) in &findings.homes {
        common.retain(|shard| shard == home);
    }
    // Functions of users are sure to be on the default shard.
    if findings.uses_system {
        common.retain(|shard| *shard == context.catalog.default_shard());
    }
    if common.is_empty() {
        return Err(Error::unsupported(
            "no server knows all the tables and functions of this statement",
        )
        .with_hint(
            "Place its unsharded tables on one shard that has its sharded tables as well.",
        ));
    }
    Ok(common.into_iter().collect())
}

fn mention(
    gather: &mut Gather,
    appearance: &Appearance<'_>,
    needed: Option<&Needed>,
    narrowing: &Narrowing,
    sql: &str,
) -> Option<usize> {
    let start = usize::try_from(appearance.location).ok()?;
    let end = name_end(sql, start, &appearance.path)?;
    if !gather.statement.contains(&start) || end > gather.statement.end {
        return None;
    }
    let bytes = sql.as_bytes();
    // `table *`: the star belongs to the name.
    if bytes.get(skip_blank(bytes, end)) == Some(&b'*') {
        return None;
    }
    let table = appearance.table;
    let described = GatherTable {
        keys: narrowing.keys(appearance.location),
        ..described(gather, appearance, needed)
    };
    let known = gather.tables.iter().position(|known| *known == described);
    let index = known.unwrap_or_else(|| {
        gather.tables.push(described);
        gather.tables.len() - 1
    });
    // `TABLE name` takes no other name, and needs none.
    let before = sql.get(gather.statement.start..start)?.trim_end();
    let command = before
        .len()
        .checked_sub(5)
        .and_then(|at| before.get(at..))
        .is_some_and(|word| word.eq_ignore_ascii_case("table"));
    gather.mentions.push(Mention {
        range: start..end,
        table: index,
        alias: (appearance.alias.is_none() && !command).then(|| table.name.clone()),
    });
    Some(index)
}

/// What of a table's rows is to be brought.
fn described(gather: &Gather, appearance: &Appearance<'_>, needed: Option<&Needed>) -> GatherTable {
    let table = appearance.table;
    let called = appearance.alias.as_ref().unwrap_or(&table.name).clone();
    let all = || table.columns.iter();
    let is_needed = |column: &&Column| match needed {
        Some(needed) => needed.column(
            appearance.relation,
            &called,
            appearance.renamed,
            &column.name,
        ),
        None => true,
    };
    let mut columns: Vec<&Column> = all().filter(is_needed).collect();
    if columns.is_empty() {
        // Their number matters.
        columns.extend(all().next());
    }
    let conditions = needed
        .filter(|_| !appearance.renamed)
        .map_or(&[][..], |needed| needed.conditions(appearance.location));
    let condition = match conditions {
        [] => None,
        conditions => {
            let each: Vec<String> = conditions.iter().map(|sql| format!("({sql})")).collect();
            Some(each.join(" AND "))
        }
    };
    let whole = columns.len() == table.columns.len();
    let typed = |column: &Column| (column.name.clone(), column.type_oid);
    GatherTable {
        name: Name {
            schema: table.schema.clone(),
            name: table.name.clone(),
        },
        only: appearance.only,
        place: match &table.kind {
            TableKind::Sharded { group, .. } => GatherPlace::Group(*group),
            TableKind::Reference => GatherPlace::Everywhere,
            TableKind::Unsharded { shard } => GatherPlace::Shard(*shard),
        },
        all: match gather.groups && !whole {
            true => all().map(typed).collect(),
            false => Vec::new(),
        },
        columns: columns.into_iter().map(typed).collect(),
        whole,
        // Without a condition the name does not matter.
        called: condition.as_ref().map_or(String::new(), |_| called),
        condition,
        keys: None,
        matches: None,
    }
}

/// Where the name that starts at `at` ends, if it is written as this path.
fn name_end(sql: &str, mut at: usize, path: &[&str]) -> Option<usize> {
    let bytes = sql.as_bytes();
    for (index, part) in path.iter().enumerate() {
        if index > 0 {
            at = skip_blank(bytes, at);
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at = skip_blank(bytes, at + 1);
        }
        let end = match bytes.get(at)? {
            b'"' => quoted_identifier_end(bytes, at)?,
            _ => identifier_end(bytes, at),
        };
        let written = sql.get(at..end)?;
        let same = match written
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        {
            Some(quoted) => quoted.replace("\"\"", "\"") == **part,
            None => written.to_ascii_lowercase() == **part,
        };
        if !same {
            return None;
        }
        at = end;
    }
    Some(at)
}
