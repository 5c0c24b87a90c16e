//! Parts of a gathered query: queries within it that the shards answer on their own, so that only their answers are brought.
//!
//! Entry point: [`parts`]. A part asks nothing of what is around it. Its rows are those of each shard, put together (`distribute`), or
//! partial aggregates that are combined where the part stood (`combine`). What is left of the statement names the part like a
//! table, and is planned as if it were one: it is narrowed by other tables, and narrows them.
//!
//! Not a part: what may never be evaluated (in CASE and COALESCE), what is in some order without LIMIT, what one table's rows and
//! conditions are enough for.

use catalog::{Column, GroupId, KeyColumn, Table, TableId, TableKind};

use crate::bind::{Apart, Binder};
use crate::combine::{Combining, combine, meant_by_sort};
use crate::distribute::{apart, key_outputs, split};
use crate::operand::Source;
use crate::parse::{LimitOption, Node, SortByDir, SortByNulls, nodes, parse};
use crate::query::{Computes, Item, QueryId, QueryKind};
use crate::rewrite::{LimitEdit, SelectEdit, expression, find, integer, query_text, with_queries};
use crate::scope::{Namespace, RelationId, Scope};
use crate::several::may_be_split;
use crate::walk::children;
use crate::{Access, Combine, Context, GatherPart};

/// Names of the router's own begin so.
const OWN: &str = "pgweave_";

/// So many queries of a statement are looked at.
const TRIES: usize = 32;

/// A statement in two: its parts, and the rest.
pub(crate) struct Parts {
    pub rest: String,
    /// The parts as the rest names them.
    pub tables: Vec<Table>,
    pub parts: Vec<GatherPart>,
}

/// The parts of a statement that is bound, if it has any.
pub(crate) fn parts(
    select: &nodes::SelectStmt,
    root: QueryId,
    binder: &Binder<'_, '_>,
    context: &Context<'_>,
) -> Option<Parts> {
    if binder.source.sql.contains(OWN) || binder.bound.findings.uses_pgweave {
        return None;
    }
    let mut found = Parts {
        rest: String::new(),
        tables: Vec::new(),
        parts: Vec::new(),
    };
    let mut instead = Vec::new();
    // With all that is within them.
    let mut taken: Vec<&Apart> = Vec::new();
    // From the outside inwards.
    for apart in binder.apart.iter().rev().take(TRIES) {
        let within = |outer: &&Apart| apart.query >= outer.first && apart.query <= outer.query;
        if apart.query == root || taken.iter().any(within) {
            continue;
        }
        let Some(Node::SelectStmt(inner)) = find(select, apart.place) else {
            continue;
        };
        let Some(uses) = Uses::of(apart.query, binder) else {
            taken.push(apart);
            continue;
        };
        if let Some(Planned {
            shown,
            tail,
            mut table,
            part,
        }) = plan(inner, &uses, context)
        {
            // Queries that are the same stay the same.
            let known = found.parts.iter().position(|known| *known == part);
            let name = format!("{OWN}part_{}", known.unwrap_or(found.parts.len()) + 1);
            instead.push((apart.place, format!("{shown} FROM {name}{tail}")));
            taken.push(apart);
            if known.is_none() {
                table.name = name;
                found.tables.push(table);
                found.parts.push(part);
            }
        }
    }
    if found.parts.is_empty() {
        return None;
    }
    found.rest = with_queries(select, &instead).ok()?;
    Some(found)
}

/// What the statement around a query makes of its rows.
struct Uses<'b> {
    /// By the positions of its columns; empty: all are needed.
    needed: Vec<bool>,
    /// What rows must satisfy to matter, and what they are called there.
    conditions: Option<(&'b str, &'b [String])>,
}

impl<'b> Uses<'b> {
    /// `None`: it is a query of WITH that nobody reads, and need not be asked.
    fn of(query: QueryId, binder: &'b Binder<'_, '_>) -> Option<Uses<'b>> {
        let relation = |item: &Item<'_>| -> Option<RelationId> {
            let Item::Derived { query: of, first } = item else {
                return None;
            };
            let mut relations = binder.relations.0.iter();
            relations.position(|relation| *of == query && relation.first == *first)
        };
        let relations: Vec<RelationId> = binder.bound.items.iter().filter_map(relation).collect();
        let mut uses = Uses {
            needed: Vec::new(),
            conditions: None,
        };
        if relations.is_empty() {
            return (!binder.bound.standalone.contains(&query)).then_some(uses);
        }
        let Some(needed) = &binder.needed else {
            return Some(uses);
        };
        let outputs = &binder.bound.queries[query].outputs;
        let is_needed = |name: &str| {
            relations.iter().any(|id| {
                let relation = &binder.relations.0[*id];
                let renamed = !relation.renamed.is_empty();
                needed.column(*id, &relation.name, renamed, name)
            })
        };
        uses.needed = outputs
            .iter()
            .map(|output| output.name.as_deref().is_none_or(is_needed))
            .collect();
        if let [only] = relations.as_slice()
            && let relation = &binder.relations.0[*only]
            && relation.renamed.is_empty()
            && !needed.conditions(*only).is_empty()
        {
            uses.conditions = Some((&relation.name, needed.conditions(*only)));
        }
        Some(uses)
    }
}

/// A column of a query's answer.
enum Output {
    /// It stays in the statement, as SQL.
    Kept(String),
    Brought,
    /// Nobody asks for it.
    Left,
}

/// A part, and what takes its place: before and after the name in FROM.
struct Planned {
    shown: String,
    tail: String,
    table: Table,
    part: GatherPart,
}

/// Plans a query as a part.
fn plan(select: &nodes::SelectStmt, uses: &Uses<'_>, context: &Context<'_>) -> Option<Planned> {
    let whole = query_text(Node::SelectStmt(select)).ok()?;
    let tree = parse(&whole).ok()?;
    let Some(Node::SelectStmt(select)) = tree.only() else {
        return None;
    };
    let source = Source {
        sql: &whole,
        literals: None,
    };
    let mut binder = Binder::new(*context, source);
    let namespace = Namespace::default();
    let scope = Scope {
        namespace: &namespace,
        parent: None,
        ctes: None,
    };
    let root = binder.select(select, &scope).ok()?;
    if !is_steady(select, &binder, context) || !is_worth_it(root, &binder) {
        return None;
    }
    let query = &binder.bound.queries[root];
    let names: Vec<&str> = (query.outputs.iter())
        .map(|output| output.name.as_deref())
        .collect::<Option<_>>()?;
    if !query.positions_known || !query.names_known || names.is_empty() {
        return None;
    }
    // Of rows that are distinct on each shard.
    let distinct = match &query.kind {
        QueryKind::Level(level) => {
            let only = Computes {
                distinct: true,
                ..Computes::default()
            };
            level.computes == only && level.grouped.is_none()
        }
        QueryKind::SetOperation { .. } | QueryKind::Recursive { .. } => false,
    };
    let top = top(select, &query.kind);
    // Whether rows are distinct, all columns say.
    let needed = if distinct { &[][..] } else { &uses.needed };
    let outputs = outputs(select, names.len(), needed)?;
    let part = Part {
        binder: &binder,
        select,
        root,
        whole: match &top {
            Some(top) => &top.sql,
            None => &whole,
        },
        hidden: top.as_ref().map_or(0, |top| top.hidden),
        names: &names,
        outputs: &outputs,
        uses,
    };
    let (group, key, answer) = match apart(&binder.bound, root) {
        Some(split) => (
            split.group,
            key_outputs(&binder.bound, &split, root),
            part.rows(),
        ),
        None => {
            let split = split(&binder.bound, root)?;
            match distinct || top.is_some() {
                true => (split.group, None, part.rows()),
                false => (split.group, None, part.partial(&split)?),
            }
        }
    };
    let list: Vec<String> = (outputs.iter().zip(&names))
        .enumerate()
        .filter_map(|(index, (output, name))| {
            let name = catalog::quote_identifier(name);
            match output {
                Output::Kept(sql) => Some(format!("{sql} AS {name}")),
                Output::Brought => Some(format!("{} AS {name}", column(index))),
                Output::Left => None,
            }
        })
        .collect();
    let again = if distinct { "DISTINCT " } else { "" };
    let shown = format!("SELECT {again}{}", list.join(", "));
    Some(Planned {
        table: part.table((group, key), answer.combine.is_none(), context)?,
        shown,
        tail: top.map_or(String::new(), |top| top.tail),
        part: answer,
    })
}

/// The first rows of all: the first of each shard are looked at again.
struct Top {
    /// What each shard is asked: so many columns come first by which rows are sorted.
    sql: String,
    hidden: usize,
    /// ORDER BY and LIMIT over all of them.
    tail: String,
}

/// `None`: it is no plain query with a LIMIT that can be passed on.
fn top(select: &nodes::SelectStmt, kind: &QueryKind) -> Option<Top> {
    let QueryKind::Level(level) = kind else {
        return None;
    };
    let only = Computes {
        limited: true,
        ..Computes::default()
    };
    if level.computes != only
        || level.grouped.is_some()
        || select.limit_option == LimitOption::LIMIT_OPTION_WITH_TIES
    {
        return None;
    }
    let (count, offset) = (select.limit_count(), select.limit_offset());
    let limit = match (integer(count), integer(offset), count, offset) {
        (_, _, Node::None, _) => return None,
        (_, _, _, Node::None) => LimitEdit::Keep,
        (Some(count), Some(offset), ..) => {
            LimitEdit::Rows(i64::try_from(count.checked_add(offset)?).ok()?)
        }
        _ => return None,
    };
    let mut tail = Vec::new();
    let mut first_columns = Vec::new();
    for sort in select.sort_clause() {
        let star = |target: &nodes::ResTarget| match target.val() {
            Node::ColumnRef(reference) => {
                let last = reference.fields().iter().next_back();
                matches!(last, Some(Node::A_Star(_)))
            }
            _ => false,
        };
        if integer(sort.node()).is_some() && select.target_list().iter().any(star) {
            return None;
        }
        let way = match sort.sortby_dir {
            SortByDir::SORTBY_DEFAULT | SortByDir::SORTBY_ASC => "",
            SortByDir::SORTBY_DESC => " DESC",
            _ => return None,
        };
        let nulls = match sort.sortby_nulls {
            SortByNulls::SORTBY_NULLS_FIRST => " NULLS FIRST",
            SortByNulls::SORTBY_NULLS_LAST => " NULLS LAST",
            _ => "",
        };
        let meant = meant_by_sort(sort.node(), select)?;
        let name = sort_column(first_columns.len());
        // Constants sort nothing, and have no type.
        if matches!(meant, Node::A_Const(_) | Node::ParamRef(_)) {
            return None;
        }
        tail.push(format!("{name}{way}{nulls}"));
        first_columns.push((meant, name));
    }
    let order = match tail.is_empty() {
        true => String::new(),
        false => format!(" ORDER BY {}", tail.join(", ")),
    };
    let offset = match offset {
        Node::None => String::new(),
        offset => format!(" OFFSET {}", expression(offset).ok()?),
    };
    let hidden = first_columns.len();
    let edit = SelectEdit {
        first_columns,
        limit,
        ..SelectEdit::default()
    };
    Some(Top {
        sql: edit.text(select).ok()?,
        hidden,
        tail: format!("{order} LIMIT {}{offset}", expression(count).ok()?),
    })
}

fn sort_column(index: usize) -> String {
    format!("{OWN}o{}", index + 1)
}

/// Whether a query says the same wherever and whenever it is asked, and shards may be asked for it.
fn is_steady(select: &nodes::SelectStmt, binder: &Binder<'_, '_>, context: &Context<'_>) -> bool {
    let findings = &binder.bound.findings;
    let collates = |target: &nodes::ResTarget| {
        let mut stack = vec![target.val()];
        while let Some(node) = stack.pop() {
            match node {
                Node::CollateClause(_) => return true,
                Node::SelectStmt(_) => {}
                _ if children(node, &mut stack).is_err() => return true,
                _ => {}
            }
        }
        false
    };
    may_be_split(findings, context)
        && findings.refusal.is_none()
        && findings.access.is_none_or(|access| access <= Access::Read)
        && !findings.moments
        && !findings.in_place
        && findings.tableoids.is_empty()
        && findings.sizes.is_empty()
        && (select.sort_clause().is_empty() || !matches!(select.limit_count(), Node::None))
        && !select.target_list().iter().any(collates)
}

/// Whether more than one table's rows and conditions are to be seen to.
fn is_worth_it(root: QueryId, binder: &Binder<'_, '_>) -> bool {
    match &binder.bound.queries[root].kind {
        QueryKind::Level(level) => {
            let one_table = matches!(level.items.as_slice(), [item] if matches!(binder.bound.items[*item], Item::Sharded { .. }));
            !one_table
                || level.computes.aggregates
                || level.computes.distinct
                || level.computes.limited
                || level.grouped.is_some()
                || !level.subqueries.is_empty()
        }
        QueryKind::SetOperation { .. } => true,
        QueryKind::Recursive { .. } => false,
    }
}

/// What becomes of each column of a query's answer. `None`: nothing is brought, or it cannot be told.
fn outputs(select: &nodes::SelectStmt, count: usize, needed: &[bool]) -> Option<Vec<Output>> {
    let is_needed = |index: usize| needed.get(index).copied().unwrap_or(true);
    let targets = select.target_list();
    let is_fixed = |node: Node<'_>| matches!(node, Node::A_Const(_) | Node::ParamRef(_));
    // A set operation's own types and names are those of its branches together.
    let fixed = targets.iter().any(|target| is_fixed(target.val()));
    if fixed && targets.len() != count {
        return None;
    }
    let mut outputs: Vec<Output> = match fixed {
        true => targets
            .iter()
            .enumerate()
            .map(|(index, target)| match is_fixed(target.val()) {
                // Of no type yet: it gets one from where it stands.
                true => Some(Output::Kept(expression(target.val()).ok()?)),
                false if is_needed(index) => Some(Output::Brought),
                false => Some(Output::Left),
            })
            .collect::<Option<_>>()?,
        false => (0..count)
            .map(|index| match is_needed(index) {
                true => Output::Brought,
                false => Output::Left,
            })
            .collect(),
    };
    if !outputs
        .iter()
        .any(|output| matches!(output, Output::Brought))
    {
        // Their number matters.
        let left = outputs
            .iter()
            .position(|output| matches!(output, Output::Left))?;
        outputs[left] = Output::Brought;
    }
    Some(outputs)
}

fn column(index: usize) -> String {
    format!("{OWN}{}", index + 1)
}

/// A query that is to become a part.
struct Part<'p, 'c, 's> {
    binder: &'p Binder<'c, 's>,
    select: &'p nodes::SelectStmt,
    root: QueryId,
    whole: &'p str,
    /// So many columns come before those that the query shows.
    hidden: usize,
    names: &'p [&'p str],
    outputs: &'p [Output],
    uses: &'p Uses<'p>,
}

impl Part<'_, '_, '_> {
    /// Each shard's own answer.
    fn rows(&self) -> GatherPart {
        let mut names = self.names.to_vec();
        names.sort_unstable();
        names.dedup();
        let brought = self.outputs.iter().zip(self.names).enumerate();
        let brought = brought.filter(|(_, (output, _))| matches!(output, Output::Brought));
        let sql = match self.uses.conditions {
            // Of the first rows it does not say which they are.
            Some((called, conditions)) if names.len() == self.names.len() && !self.is_limited() => {
                let list: Vec<String> = brought
                    .map(|(index, (_, name))| {
                        format!("{} AS {}", catalog::quote_identifier(name), column(index))
                    })
                    .collect();
                let conditions: Vec<String> =
                    conditions.iter().map(|sql| format!("({sql})")).collect();
                format!(
                    "SELECT {} FROM ({}) AS {} WHERE {}",
                    list.join(", "),
                    self.whole,
                    catalog::quote_identifier(called),
                    conditions.join(" AND ")
                )
            }
            _ => {
                let list: Vec<String> = (0..self.hidden)
                    .map(sort_column)
                    .chain(brought.map(|(index, _)| column(index)))
                    .collect();
                format!("SELECT {} FROM {}", list.join(", "), self.all_columns())
            }
        };
        GatherPart {
            whole: sql.clone(),
            sql,
            combine: None,
            outputs: Vec::new(),
            shapes: Vec::new(),
        }
    }

    /// The query with names of the router's own for its columns.
    fn all_columns(&self) -> String {
        let all: Vec<String> = (0..self.hidden)
            .map(sort_column)
            .chain((0..self.names.len()).map(column))
            .collect();
        format!("({}) AS {OWN}part({})", self.whole, all.join(", "))
    }

    fn is_limited(&self) -> bool {
        !matches!(
            (self.select.limit_count(), self.select.limit_offset()),
            (Node::None, Node::None)
        )
    }

    /// Each shard's partial results.
    fn partial(&self, split: &crate::distribute::Split) -> Option<GatherPart> {
        let span = 0..self.whole.len();
        let ways = combine(self.select, self.root, split, self.binder, span).ok()?;
        let combine: Combine = ways.into_iter().find_map(|way| match way {
            Combining::Query(combine) => Some(combine),
            Combining::Rows(_) => None,
        })?;
        let all: Vec<String> = (0..self.names.len()).map(column).collect();
        Some(GatherPart {
            sql: combine.sql.clone(),
            whole: format!("SELECT {} FROM {}", all.join(", "), self.all_columns()),
            combine: Some(combine),
            outputs: all,
            shapes: Vec::new(),
        })
    }

    /// The part as a table of its group. `key`: which columns are the shard key. `is_exact`: its rows are what is brought.
    fn table(
        &self,
        (group, key): (GroupId, Option<Vec<usize>>),
        is_exact: bool,
        context: &Context<'_>,
    ) -> Option<Table> {
        let types = &context.catalog.group(group)?.types;
        let outputs = &self.binder.bound.queries[self.root].outputs;
        let is_brought = |index: &usize| matches!(self.outputs[*index], Output::Brought);
        let key = key
            .filter(|key| is_exact && key.len() == types.len() && key.iter().all(is_brought))
            .unwrap_or_default();
        let columns = (0..outputs.len()).filter(is_brought).map(|index| {
            let variable = outputs[index].variable.filter(|_| is_exact);
            let known = variable.and_then(|variable| self.binder.table_column(variable));
            Column {
                type_oid: known.map_or(0, |column| column.type_oid),
                equal_by_bytes: known.is_some_and(|column| column.equal_by_bytes),
                ..unknown_column(column(index))
            }
        });
        let columns = (0..self.hidden)
            .map(|index| unknown_column(sort_column(index)))
            .chain(columns);
        Some(Table {
            // Of no table that the catalog knows.
            id: TableId(u32::MAX),
            schema: String::new(),
            name: String::new(),
            columns: columns.collect(),
            kind: TableKind::Sharded {
                group,
                key: (key.iter().zip(types))
                    .map(|(index, key_type)| KeyColumn {
                        name: column(*index),
                        key_type: *key_type,
                    })
                    .collect(),
            },
        })
    }
}

/// A column of a type that only servers know.
fn unknown_column(name: String) -> Column {
    Column {
        name,
        type_oid: 0,
        type_modifier: -1,
        not_null: false,
        has_default: false,
        default_expression: None,
        sorts_by_bytes: false,
        equal_by_bytes: false,
        in_primary_key: false,
    }
}
