//! A plan as a tree of nodes with the names of shards, to which measures and the shards' own plans can be added.
//!
//! Entry point: [`Outline::of`]. Reads a plan and a catalog, and asks nobody: `pgweave explain` uses it without any server
//! but the catalog's.

use catalog::{Catalog, GroupId, ShardId, quote_identifier};
use planner::{
    Combine, CopyRows, Gather, GatherPlace, GatherTable, KeyRoute, Mentioned, Plan, Route, Scatter,
    Single, Spread, SpreadKind, Target,
};
use serde_json::{Map, Value};

use super::measure::Actual;
use crate::session::views::over_copies;

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    /// `Merge`, `Shard` …: the node's type for programs.
    pub kind: &'static str,
    /// The node in words, for people.
    pub line: String,
    /// What the line says, for programs.
    pub fields: Vec<(&'static str, Value)>,
    /// What one shard is asked.
    pub query: Option<Query>,
    pub estimated_rows: Option<u64>,
    /// Of one row; `None`: unknown.
    pub estimated_width_bytes: Option<u64>,
    pub actual: Option<Actual>,
    /// The shard's own plan: lines of text, or a tree.
    pub own_plan: Option<Value>,
    pub children: Vec<Node>,
}

/// A query to one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Which of the plan's tables, from 0.
    pub step: usize,
    pub shard: ShardId,
    pub sql: String,
    /// It has a parameter, the time of the transaction.
    pub moment: bool,
}

/// What a plan's tree depends on besides the plan.
#[derive(Clone, Copy)]
pub struct Outline<'a> {
    pub catalog: &'a Catalog,
    /// The text that was planned.
    pub text: &'a str,
    /// The server that finishes gathered queries, where it is known.
    pub finishing: Option<ShardId>,
    /// Within a block, whose uncommitted changes only its own connections see, all tables are brought.
    pub in_block: bool,
}

impl Node {
    fn new(kind: &'static str, line: impl Into<String>) -> Node {
        Node {
            kind,
            line: line.into(),
            fields: Vec::new(),
            query: None,
            estimated_rows: None,
            estimated_width_bytes: None,
            actual: None,
            own_plan: None,
            children: Vec::new(),
        }
    }

    fn field(mut self, name: &'static str, value: impl Into<Value>) -> Node {
        self.fields.push((name, value.into()));
        self
    }

    fn over(mut self, children: Vec<Node>) -> Node {
        self.children = children;
        self
    }

    /// This node and all below it, from the top.
    pub fn walk(&mut self, visit: &mut impl FnMut(&mut Node)) {
        visit(self);
        for child in &mut self.children {
            child.walk(visit);
        }
    }

    /// As PostgreSQL's EXPLAIN names things: children are `Plans`.
    pub fn to_value(&self) -> Value {
        let mut object = Map::new();
        object.insert("Node Type".to_owned(), self.kind.into());
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.clone());
        }
        if let Some(rows) = self.estimated_rows {
            object.insert("Plan Rows".to_owned(), rows.into());
        }
        if let Some(width) = self.estimated_width_bytes {
            object.insert("Plan Width".to_owned(), width.into());
        }
        if let Some(actual) = self.actual {
            object.insert("Actual Rows".to_owned(), actual.rows.into());
            if let Some(bytes) = actual.bytes {
                object.insert("Actual Bytes".to_owned(), bytes.into());
            }
            let time = milliseconds(actual.elapsed);
            object.insert("Actual Total Time".to_owned(), time.into());
        }
        let own = self.own_plan.iter().cloned();
        let below: Vec<Value> = own
            .chain(self.children.iter().map(Node::to_value))
            .collect();
        if !below.is_empty() {
            object.insert("Plans".to_owned(), below.into());
        }
        object.into()
    }
}

/// To the microsecond, as PostgreSQL shows times.
pub fn milliseconds(elapsed: std::time::Duration) -> f64 {
    elapsed.as_micros() as f64 / 1000.0
}

/// The rung of the ladder that a plan is on; `None`: none of them, it is no query of tables.
pub fn rung(plan: &Plan) -> Option<&'static str> {
    match plan {
        Plan::Single(_) => Some("Single"),
        Plan::Scatter(_) => Some("Scatter"),
        Plan::Gather(gather) if gather.combine.is_some() => Some("Combine"),
        Plan::Gather(_) => Some("Gather"),
        Plan::Spread(_) => Some("Spread"),
        Plan::Everywhere(_) => Some("Everywhere"),
        Plan::CopyOut(copy) => match &copy.rows {
            CopyRows::Shards { .. } => Some("Scatter"),
            CopyRows::Query(plan) => rung(plan),
        },
        Plan::Load(_) => Some("Load"),
        Plan::Transfer(_) => Some("Transfer"),
        Plan::CreateAs(_) => Some("Create"),
        Plan::Session(_) | Plan::Admin(_) | Plan::Explain(_) => None,
    }
}

impl Outline<'_> {
    pub fn of(&self, plan: &Plan) -> Node {
        match plan {
            Plan::Scatter(scatter) => self.scatter(scatter),
            Plan::Gather(gather) => match &gather.combine {
                Some(combine) => self.combine(gather, combine),
                None => self.gather(gather),
            },
            Plan::Spread(spread) => self.spread(plan, spread),
            Plan::Single(single) => self.single(plan, single),
            Plan::Load(_) => lines("Load", plan),
            Plan::Transfer(_) => lines("Transfer", plan),
            Plan::CreateAs(_) => lines("Create", plan),
            Plan::Everywhere(_) => lines("Everywhere", plan),
            Plan::CopyOut(_) => lines("Copy", plan),
            Plan::Session(_) => lines("Session", plan),
            Plan::Admin(_) => lines("Admin", plan),
            Plan::Explain(_) => lines("Explain", plan),
        }
    }

    fn single(&self, plan: &Plan, single: &Single) -> Node {
        match planner::resolve(&single.route, self.catalog, &()) {
            Ok(target) => self.routed(target, None),
            // Parameters decide.
            Err(_) => lines("Single", plan),
        }
    }

    /// A statement that one shard answers. `answered`: the one that has.
    pub fn routed(&self, target: Target, answered: Option<ShardId>) -> Node {
        let why = match target {
            Target::Any => "any shard can answer",
            Target::Shard(_) | Target::Catalog => "one shard holds all the rows",
        };
        let known = match target {
            Target::Any => None,
            Target::Shard(shard) => Some(shard),
            Target::Catalog => self.catalog.catalog_shard(),
        };
        let node = match answered.or(known) {
            None => Node::new("Single", format!("Single: {why}")),
            Some(shard) => {
                let name = self.name(shard);
                let line = format!("Single: shard {name} ({why})");
                Node::new("Single", line).field("Shard", name)
            }
        };
        node.field("Reason", why)
    }

    /// The router's work from the top, what each shard is asked at the bottom.
    fn scatter(&self, scatter: &Scatter) -> Node {
        let own = self.text.get(scatter.statement.clone());
        let sql = scatter.sql.as_deref().or(own).unwrap_or_default();
        let bottom = self.scattered(
            scatter.shards.as_deref(),
            scatter.group,
            sql,
            scatter.moment,
        );
        scatter.work().into_iter().fold(bottom, |below, work| {
            Node::new(work.kind, &work.line)
                .field("Description", work.line)
                .over(vec![below])
        })
    }

    fn scattered(
        &self,
        shards: Option<&[ShardId]>,
        group: GroupId,
        sql: &str,
        moment: bool,
    ) -> Node {
        let shards = match shards {
            Some(shards) => shards.to_vec(),
            None => self.shards_of(group),
        };
        let children = self.queries(0, &shards, sql, moment);
        let count = children.len();
        Node::new("Scatter", format!("Scatter: {}", counted(count)))
            .field("Shards", self.names(&shards))
            .over(children)
    }

    fn queries(&self, step: usize, shards: &[ShardId], sql: &str, moment: bool) -> Vec<Node> {
        let query = |shard: &ShardId| {
            let name = self.name(*shard);
            let mut node = Node::new("Shard", format!("Shard {name}: {}", one_line(sql)))
                .field("Shard", name)
                .field("SQL", sql);
            node.query = Some(Query {
                step,
                shard: *shard,
                sql: sql.to_owned(),
                moment,
            });
            node
        };
        shards.iter().map(query).collect()
    }

    /// A write, with what each shard is sent of it.
    fn spread(&self, plan: &Plan, spread: &Spread) -> Node {
        let own = self.text.get(spread.statement.clone()).unwrap_or_default();
        let by_values = spread.parameters > 0 && matches!(spread.kind, SpreadKind::Rows(_));
        let errands = match by_values {
            true => None,
            false => spread.errands(own, self.catalog, &()).ok(),
        };
        let Some(errands) = errands else {
            // Parameters decide.
            return lines("Spread", plan);
        };
        let shards: Vec<ShardId> = errands.iter().map(|errand| errand.shard).collect();
        let children = errands.iter().map(|errand| {
            let name = self.name(errand.shard);
            let sql = errand.own.as_ref().map_or(own, |own| &own.sql);
            let rows = match errand.rows.len() {
                0 => String::new(),
                1 => " (1 row)".to_owned(),
                rows => format!(" ({rows} rows)"),
            };
            Node::new("Shard", format!("Shard {name}{rows}: {}", one_line(sql)))
                .field("Shard", name)
                .field("SQL", sql)
        });
        let children: Vec<Node> = children.collect();
        let count = counted(children.len());
        Node::new("Spread", format!("Spread: {}, all or nothing", count))
            .field("Shards", self.names(&shards))
            .over(children)
    }

    fn combine(&self, gather: &Gather, combine: &Combine) -> Node {
        let finish = combine.finish_text("partial_rows");
        let line = format!(
            "Combine on {}: {}",
            self.finisher(gather),
            one_line(&finish)
        );
        let below = self.scattered(
            combine.shards.as_deref(),
            combine.group,
            &combine.sql,
            combine.moment,
        );
        Node::new("Combine", line)
            .field("Shard", self.finisher(gather))
            .field("SQL", finish)
            .over(vec![below])
    }

    fn gather(&self, gather: &Gather) -> Node {
        let tables = gather.tables.iter().enumerate();
        let children = tables.map(|(step, table)| self.table(step, table, gather));
        let children: Vec<Node> = children.collect();
        let instead = |of: Mentioned| match of {
            Mentioned::Table(table) => match children.get(table) {
                Some(node) if node.kind == "Bring" => {
                    let name = format!("pg_temp.pgweave_{}", table + 1);
                    let part = gather
                        .tables
                        .get(table)
                        .and_then(|table| table.part.as_ref());
                    match part.and_then(|part| part.combine.as_ref()) {
                        Some(combine) => format!("({})", combine.finish_text(&name)),
                        None => name,
                    }
                }
                _ => gather.tables.get(table).map_or(String::new(), qualified),
            },
            Mentioned::View(view) => over_copies(view),
            Mentioned::Served(served) => format!("pgweave.{}", gather.served[served].0),
            Mentioned::Size(name) => format!("pgweave.{name}"),
            Mentioned::Number(number) => gather.number(number),
            Mentioned::Schema => String::new(),
        };
        let views = gather.views.iter().enumerate().map(|(index, view)| {
            let definition = view.text(instead).unwrap_or_default();
            let name = format!("{}.{}", view.name.schema, view.name.name);
            let line = format!(
                "Read {name} as pgweave_view_{}: {}",
                index + 1,
                one_line(&definition)
            );
            Node::new("View", line)
                .field("Relation", name)
                .field("SQL", definition)
        });
        let views: Vec<Node> = views.collect();
        let finish = gather.text(self.text, instead).unwrap_or_default();
        let line = format!("Gather on {}: {}", self.finisher(gather), one_line(&finish));
        Node::new("Gather", line)
            .field("Shard", self.finisher(gather))
            .field("SQL", finish)
            .over(children.into_iter().chain(views).collect())
    }

    fn table(&self, step: usize, table: &GatherTable, gather: &Gather) -> Node {
        let only = if table.only { "ONLY " } else { "" };
        let name = match table.part {
            Some(_) => table.name.name.clone(),
            None => format!("{only}{}.{}", table.name.schema, table.name.name),
        };
        let by_key = |keys: &KeyRoute| {
            planner::resolve_all(&Route::Key(keys.clone()), self.catalog, &()).ok()
        };
        let shards = match table.place {
            GatherPlace::Group(group) => {
                (table.keys.as_ref().and_then(by_key)).unwrap_or_else(|| self.shards_of(group))
            }
            GatherPlace::Shard(shard) if self.in_block => vec![shard],
            GatherPlace::Everywhere if self.in_block => {
                let shard = self.finishing.or(gather.servers.first().copied());
                shard.into_iter().collect()
            }
            GatherPlace::Shard(_) | GatherPlace::Everywhere => {
                return Node::new("Read", format!("Read in place: {name}")).field("Relation", name);
            }
        };
        let columns: Vec<&str> = table.columns.iter().map(|(name, _)| &**name).collect();
        let quoted: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
        let quoted = quoted.join(", ");
        let known = columns.join(", ");
        let (mut sql, mut line) = match &table.part {
            Some(part) => (
                part.sql.clone(),
                format!("Bring as pgweave_{}: {}", step + 1, one_line(&part.sql)),
            ),
            None => (
                format!("SELECT {quoted} FROM {only}{}", qualified(table)),
                format!("Bring {name} as pgweave_{} ({known})", step + 1),
            ),
        };
        if table.condition.is_some() || !table.among.is_empty() {
            sql.push_str(&format!(" AS {}", quote_identifier(&table.called)));
        }
        let conditions: Vec<&str> = (table.condition.as_deref().into_iter())
            .chain(table.among.iter().map(|among| among.sql.as_str()))
            .collect();
        if !conditions.is_empty() {
            let conditions = conditions.join(" AND ");
            sql.push_str(&format!(" WHERE {conditions}"));
            line.push_str(&format!(" where {}", one_line(&conditions)));
        }
        let narrowed = table.matches.as_ref().map(|matches| {
            let by = &gather.tables[matches.table].columns[matches.other].0;
            let number = matches.table + 1;
            let on = match matches.keys.is_some() {
                true => ", on the shards of these keys",
                false => "",
            };
            format!(
                "{} in pgweave_{number}.{by}, if those are few{on}",
                matches.column
            )
        });
        if let Some(narrowed) = &narrowed {
            line.push_str(&format!(" with {narrowed}"));
        }
        let mut node = Node::new("Bring", line)
            .field("Relation", name)
            .field("Alias", format!("pgweave_{}", step + 1))
            .field("Columns", columns);
        if let Some(condition) = &table.condition {
            node = node.field("Condition", condition.as_str());
        }
        if let Some(narrowed) = narrowed {
            node = node.field("Narrowed By", narrowed);
        }
        if let Some(expected) = table.expected {
            node.estimated_rows = Some(expected.rows);
            node.estimated_width_bytes = Some(expected.width_bytes).filter(|width| *width > 0);
        }
        node.over(self.queries(step, &shards, &sql, false))
    }

    fn finisher(&self, gather: &Gather) -> String {
        match self.finishing {
            Some(shard) => self.name(shard),
            None => self.names(&gather.servers).join(" or "),
        }
    }

    fn shards_of(&self, group: GroupId) -> Vec<ShardId> {
        let group = self.catalog.group(group);
        group.map_or(Vec::new(), |group| group.map.shards().into_iter().collect())
    }

    fn names(&self, shards: &[ShardId]) -> Vec<String> {
        shards.iter().map(|shard| self.name(*shard)).collect()
    }

    /// A shard's name, or its number if the catalog has lost it.
    pub fn name(&self, shard: ShardId) -> String {
        let known = self.catalog.shard(shard);
        known.map_or_else(|| shard.to_string(), |shard| shard.name.clone())
    }
}

/// A plan of which nothing more is known than its own drawing.
fn lines(kind: &'static str, plan: &Plan) -> Node {
    let text = plan.to_string();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let children = lines
        .map(|line| line.trim_start_matches(|c: char| !c.is_alphanumeric()))
        .map(|line| Node::new("Detail", line).field("Description", line))
        .collect();
    Node::new(kind, first)
        .field("Description", first)
        .over(children)
}

fn qualified(table: &GatherTable) -> String {
    let schema = quote_identifier(&table.name.schema);
    format!("{schema}.{}", quote_identifier(&table.name.name))
}

fn counted(shards: usize) -> String {
    match shards {
        1 => "1 shard".to_owned(),
        shards => format!("{shards} shards"),
    }
}

/// A query may be written on several lines; a node's text is one.
fn one_line(sql: &str) -> String {
    let lines: Vec<&str> = sql.lines().map(str::trim).collect();
    lines.join(" ").trim().to_owned()
}
