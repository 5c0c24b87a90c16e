//! The last rung: rows of several shards brought to one server, which runs the query over them.
//!
//! Entry point: [`gather`]. A query may be gathered if it only reads, and if nothing in it could tell the copies of its tables from the
//! tables themselves: no system column, no row lock, no temporary relation, no question about the server.
//!
//! A view whose rows over all shards are those of each shard is brought like a table, and one that reads no sharded table is one;
//! of any other the tables are brought, and its definition is read over them.

use std::collections::BTreeSet;

use catalog::{Column, ShardId, Table, TableKind};

use crate::bind::Needed;
use crate::distribute::apart;
use crate::narrow::Narrowing;
use crate::parts::Parts;
use crate::piece::{identifier_end, quoted_identifier_end, skip_blank};
use crate::query::{Appearance, Appears, Bound, Findings, QueryKind, TableOid, ViewUse};
use crate::{
    Access, Context, Error, Gather, GatherPart, GatherPlace, GatherTable, GatherView, Learned,
    Mention, Mentioned, Name, Served,
};

/// Plans a SELECT that no single shard answers: its text, and where it stands there. `refusal`: why not, for queries that cannot be
/// gathered either. `parts`: those of a statement of which this is the rest.
pub(crate) fn gather(
    bound: &Bound<'_>,
    needed: Option<&Needed>,
    narrowing: &Narrowing<'_>,
    (sql, span): (&str, (usize, usize)),
    context: &Context<'_>,
    refusal: &Error,
    parts: Option<&Parts>,
) -> Result<Gather, Error> {
    let findings = &bound.findings;
    if let Some(why) = obstacle(findings, context) {
        return Err(refusal
            .clone()
            .with_detail(format!("Its rows cannot be gathered on one server: {why}.")));
    }
    let servers = servers(findings, context)?;
    let gather = Gather {
        statement: span.0..span.1,
        rest: parts.map(|parts| parts.rest.clone()),
        tables: Vec::new(),
        views: Vec::new(),
        served: Vec::new(),
        numbers: Vec::new(),
        sizes: !findings.sizes.is_empty(),
        also_locked: Vec::new(),
        mentions: Vec::new(),
        servers,
        in_place: findings.in_place,
        groups: findings.groups_rows,
        over_subqueries: over_subqueries(findings, needed),
        parameters: u16::try_from(findings.parameters.len()).unwrap_or(u16::MAX),
        learned: Learned::default(),
        combine: None,
        otherwise: None,
    };
    let mut gathering = Gathering {
        bound,
        needed,
        narrowing,
        gather,
        named: Vec::new(),
        parts,
    };
    let mentions = gathering
        .mentions(None, sql, parts.map_or(span, |parts| (0, parts.rest.len())))
        .and_then(|mut mentions| {
            for (location, schema) in &findings.schema_names {
                mentions.push(schema_name(*location, schema, sql).ok_or(schema.clone())?);
            }
            for place in &findings.tableoids {
                mentions.push(gathering.tableoid(place, sql).ok_or("tableoid")?);
            }
            for (location, name) in &findings.sizes {
                mentions.push(size(*location, name, sql).ok_or(*name)?);
            }
            Ok(mentions)
        })
        .map_err(|name| {
            refusal.clone().with_detail(format!(
                "Its rows cannot be gathered on one server: the place where it names {name} is not understood.",
            ))
        })?;
    gathering.gather.mentions = in_order(mentions);
    Ok(gathering.arranged())
}

fn in_order(mut mentions: Vec<Mention>) -> Vec<Mention> {
    mentions.sort_by_key(|mention| mention.range.start);
    mentions
}

fn obstacle(findings: &Findings, context: &Context<'_>) -> Option<String> {
    if let Some(why) = &findings.not_gathered {
        return Some(why.clone());
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
    // Of what the router serves there are no copies of tables to be told apart.
    let mut appearances = findings.appearances.iter();
    let are_copied = appearances.any(|one| !matches!(one.what, Appears::Served(..)));
    if let Some(column) = findings.system_column.as_ref().filter(|_| are_copied) {
        return Some(format!("it reads the system column {column}"));
    }
    if let Some(name) = findings
        .system
        .as_ref()
        .filter(|_| !findings.sharded.is_empty())
    {
        return Some(format!("it reads the system catalog {name}"));
    }
    if !findings.pins.is_empty() || !findings.effects.is_empty() {
        return Some("it changes the session".into());
    }
    if findings.groups.is_empty() && !findings.uses_pgweave {
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

/// What is to be brought, as far as it is known.
struct Gathering<'b, 'c> {
    bound: &'b Bound<'c>,
    needed: Option<&'b Needed>,
    narrowing: &'b Narrowing<'b>,
    gather: Gather,
    /// Where each of the tables is named.
    named: Vec<Vec<&'b Appearance<'c>>>,
    parts: Option<&'b Parts>,
}

impl<'b, 'c> Gathering<'b, 'c> {
    /// The places where a text names tables and views: the query's own, or a view's definition. Fails with a name whose place
    /// is not understood.
    fn mentions(
        &mut self,
        within: Option<usize>,
        sql: &str,
        span: (usize, usize),
    ) -> Result<Vec<Mention>, String> {
        let mut mentions = Vec::new();
        let bound: &'b Bound<'c> = self.bound;
        for (index, appearance) in bound.findings.appearances.iter().enumerate() {
            if appearance.within != within {
                continue;
            }
            let (_, name) = appearance.what.name();
            let range = place(appearance, sql, span).ok_or(name)?;
            let of = match &appearance.what {
                Appears::Table(table) => {
                    let described = GatherTable {
                        part: self.part(table),
                        ..described_table(table)
                    };
                    self.table(described, appearance)
                }
                Appears::View(used) => match self.place_of(used) {
                    Some(place) => {
                        let mentioned = self.table(described_view(used, place), appearance);
                        self.note_locked(index);
                        mentioned
                    }
                    None => self.view(used, index)?,
                },
                Appears::Served(name, served) => self.served(name, *served),
            };
            // `TABLE name` takes no other name, and needs none.
            let before = sql.get(span.0..range.start).unwrap_or_default().trim_end();
            let command = before
                .len()
                .checked_sub(5)
                .and_then(|at| before.get(at..))
                .is_some_and(|word| word.eq_ignore_ascii_case("table"));
            if matches!(of, Mentioned::Served(_)) && (command || appearance.only) {
                return Err(name.to_owned());
            }
            // Nor does it take a subquery.
            if command && matches!(of, Mentioned::Table(_)) {
                self.gather.over_subqueries = Some(false);
            }
            mentions.push(Mention {
                range,
                of,
                alias: (appearance.alias.is_none() && !command).then(|| name.to_owned()),
            });
        }
        Ok(mentions)
    }

    /// The part that stands behind a table's name.
    fn part(&self, table: &Table) -> Option<Box<GatherPart>> {
        let parts = self.parts?;
        let at = (parts.tables.iter()).position(|part| std::ptr::eq(part, table))?;
        parts.parts.get(at).cloned().map(Box::new)
    }

    /// Where the rows of a view are to be had as if it were a table. `None`: nowhere.
    fn place_of(&self, used: &ViewUse<'_>) -> Option<GatherPlace> {
        if !used.sharded {
            return Some(match used.homes.first() {
                Some(shard) => GatherPlace::Shard(*shard),
                None => GatherPlace::Everywhere,
            });
        }
        // Its own order is seen where nothing else puts the rows in order.
        let ordered = match &self.bound.queries[used.query].kind {
            QueryKind::Level(level) => !level.sorted.is_empty(),
            QueryKind::SetOperation { .. } | QueryKind::Recursive { .. } => false,
        };
        if ordered || !used.steady || !used.homes.is_empty() {
            return None;
        }
        apart(self.bound, used.query).map(|split| GatherPlace::Group(split.group))
    }

    /// Copies are made like the view, which locks all that it reads.
    fn note_locked(&mut self, view: usize) {
        let appearances = &self.bound.findings.appearances;
        for (index, appearance) in appearances.iter().enumerate().skip(view) {
            let mut around = Some(index);
            while around.is_some_and(|around| around != view) {
                around = around.and_then(|around| appearances[around].within);
            }
            if around.is_some() {
                self.also_locked(&appearance.what);
            }
        }
    }

    fn also_locked(&mut self, what: &Appears<'_>) {
        let (schema, name) = what.name();
        let name = Name {
            schema: schema.to_owned(),
            name: name.to_owned(),
        };
        if !self.gather.also_locked.contains(&name) {
            self.gather.also_locked.push(name);
        }
    }

    /// A view whose definition is read over what it names.
    fn view(&mut self, used: &ViewUse<'_>, index: usize) -> Result<Mentioned, String> {
        let name = Name {
            schema: used.view.schema.clone(),
            name: used.view.name.clone(),
        };
        let mut known = self.gather.views.iter();
        if let Some(known) = known.position(|known| known.name == name) {
            return Ok(Mentioned::View(known));
        }
        let definition = &used.view.definition;
        let mentions = self.mentions(Some(index), definition, (0, definition.len()))?;
        self.also_locked(&self.bound.findings.appearances[index].what);
        self.gather.views.push(GatherView {
            name,
            columns: used.view.columns.clone(),
            definition: definition.clone(),
            mentions: in_order(mentions),
        });
        Ok(Mentioned::View(self.gather.views.len() - 1))
    }

    /// The number of a table that has been brought, where the query names it.
    fn tableoid(&mut self, place: &TableOid<'_>, sql: &str) -> Option<Mention> {
        let start = usize::try_from(place.location).ok()?;
        let path: Vec<&str> = place.path.iter().map(String::as_str).collect();
        let name = Name {
            schema: place.table.schema.clone(),
            name: place.table.name.clone(),
        };
        self.gather.numbers.push((place.called.clone(), name));
        Some(Mention {
            range: start..name_end(sql, start, &path)?,
            of: Mentioned::Number(self.gather.numbers.len() - 1),
            alias: None,
        })
    }

    fn served(&mut self, name: &'static str, served: Served) -> Mentioned {
        let known = &mut self.gather.served;
        let index = known.iter().position(|(known, _)| *known == name);
        Mentioned::Served(index.unwrap_or_else(|| {
            known.push((name, served));
            known.len() - 1
        }))
    }

    /// What of a table's rows is to be brought.
    fn table(&mut self, mut table: GatherTable, appearance: &'b Appearance<'c>) -> Mentioned {
        let called = appearance.alias.as_ref().unwrap_or(&table.name.name);
        let called = called.clone();
        let all = std::mem::take(&mut table.columns);
        let width = all.len();
        let mut all = all.into_iter();
        let first = all.as_slice().first().cloned();
        let every = match self.gather.groups {
            true => all.as_slice().to_vec(),
            false => Vec::new(),
        };
        match self.needed {
            Some(needed) => table.columns.extend(all.filter(|(name, _)| {
                needed.column(appearance.relation, &called, appearance.renamed, name)
            })),
            None => table.columns.extend(&mut all),
        }
        if table.columns.is_empty() {
            // Their number matters.
            table.columns.extend(first);
        }
        table.whole = table.columns.len() == width && table.part.is_none();
        if !table.whole {
            table.all = every;
        }
        // A view's definition may stand for several uses of it.
        if appearance.within.is_none() {
            table.keys = self.narrowing.keys(appearance.relation);
        }
        table.only = appearance.only;
        let conditions = self
            .needed
            .filter(|_| !appearance.renamed)
            .map_or(&[][..], |needed| needed.conditions(appearance.relation));
        if !conditions.is_empty() {
            // Rows that are the same for all are read where they are, but within a block.
            let each: Vec<String> = conditions.iter().map(|sql| format!("({sql})")).collect();
            table.condition = Some(each.join(" AND "));
            // Without a condition the name does not matter.
            table.called = called;
        }
        let known = self.gather.tables.iter().position(|known| *known == table);
        let index = known.unwrap_or_else(|| {
            self.gather.tables.push(table);
            self.gather.tables.len() - 1
        });
        self.named.resize(self.gather.tables.len(), Vec::new());
        self.named[index].push(appearance);
        Mentioned::Table(index)
    }

    /// The plan with its tables in the order in which they are brought.
    fn arranged(self) -> Gather {
        let mut gather = self.gather;
        let order = self.narrowing.arrange(&mut gather.tables, &self.named);
        for (table, named) in gather.tables.iter_mut().zip(&self.named) {
            table.looked_up = self.narrowing.looked_up(named);
        }
        if let Some(needed) = self.needed {
            self.narrowing
                .among(&mut gather.tables, &self.named, &order, needed);
        }
        let place = |of: &mut Mentioned| {
            if let Mentioned::Table(table) = of
                && let Some(place) = order.iter().position(|index| index == table)
            {
                *table = place;
            }
        };
        let views = gather.views.iter_mut();
        let within_views = views.flat_map(|view| &mut view.mentions);
        for mention in gather.mentions.iter_mut().chain(within_views) {
            place(&mut mention.of);
        }
        let mut tables: Vec<Option<GatherTable>> = gather.tables.into_iter().map(Some).collect();
        gather.tables = order
            .iter()
            .filter_map(|index| tables[*index].take())
            .collect();
        gather
    }
}

/// Whether the query means the same over subqueries in place of its tables. A table's rows as such have a type of their own, with
/// names of its own; GROUP BY may rely on primary keys.
fn over_subqueries(findings: &Findings<'_>, needed: Option<&Needed>) -> Option<bool> {
    let needed = needed?;
    let by_columns = findings.appearances.iter().all(|appearance| {
        let (_, name) = appearance.what.name();
        let called = appearance.alias.as_deref().unwrap_or(name);
        matches!(appearance.what, Appears::Table(_))
            && appearance.within.is_none()
            && !appearance.only
            && !needed.row(called)
    });
    let plain = by_columns && findings.tableoids.is_empty() && findings.sizes.is_empty();
    match plain {
        false => Some(false),
        true => (!findings.groups_rows).then_some(true),
    }
}

/// Where a text names a relation.
fn place(
    appearance: &Appearance<'_>,
    sql: &str,
    span: (usize, usize),
) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(appearance.location).ok()?;
    let end = name_end(sql, start, &appearance.path)?;
    if start < span.0 || end > span.1 {
        return None;
    }
    let bytes = sql.as_bytes();
    // `table *`: the star belongs to the name.
    (bytes.get(skip_blank(bytes, end)) != Some(&b'*')).then_some(start..end)
}

/// A schema in front of the table of a column, which is to be left out.
fn schema_name(location: i32, schema: &str, sql: &str) -> Option<Mention> {
    let start = usize::try_from(location).ok()?;
    let bytes = sql.as_bytes();
    let point = skip_blank(bytes, name_end(sql, start, &[schema])?);
    (bytes.get(point) == Some(&b'.')).then_some(Mention {
        range: start..skip_blank(bytes, point + 1),
        of: Mentioned::Schema,
        alias: None,
    })
}

/// Where a size over all shards is asked for.
fn size(location: i32, name: &'static str, sql: &str) -> Option<Mention> {
    let start = usize::try_from(location).ok()?;
    Some(Mention {
        range: start..name_end(sql, start, &["pgweave", name])?,
        of: Mentioned::Size(name),
        alias: None,
    })
}

fn described_table(table: &Table) -> GatherTable {
    let column = |column: &Column| (column.name.clone(), column.type_oid);
    GatherTable {
        name: Name {
            schema: table.schema.clone(),
            name: table.name.clone(),
        },
        only: false,
        place: match &table.kind {
            TableKind::Sharded { group, .. } => GatherPlace::Group(*group),
            TableKind::Reference => GatherPlace::Everywhere,
            TableKind::Unsharded { shard } => GatherPlace::Shard(*shard),
        },
        columns: table.columns.iter().map(column).collect(),
        whole: true,
        called: String::new(),
        condition: None,
        all: Vec::new(),
        keys: None,
        matches: None,
        among: Vec::new(),
        looked_up: Vec::new(),
        part: None,
        expected: None,
    }
}

fn described_view(used: &ViewUse<'_>, place: GatherPlace) -> GatherTable {
    let view = used.view;
    // Of a type that is not known values travel as text.
    let types = view
        .types
        .iter()
        .copied()
        .chain(std::iter::repeat(u32::MAX));
    GatherTable {
        name: Name {
            schema: view.schema.clone(),
            name: view.name.clone(),
        },
        only: false,
        place,
        columns: view.columns.iter().cloned().zip(types).collect(),
        whole: true,
        called: String::new(),
        condition: None,
        all: Vec::new(),
        keys: None,
        matches: None,
        among: Vec::new(),
        looked_up: Vec::new(),
        part: None,
        expected: None,
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
