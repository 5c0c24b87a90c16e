//! Plans as trees of text: what EXPLAIN shows and what the golden tests compare.
//!
//! Entry points: `Display` of [`Plan`]; [`Scatter::work`] and [`Combine::finish_text`], the parts of it that the router's EXPLAIN shows
//! with the names of shards.

use std::fmt;

use catalog::ShardId;

use crate::{
    Access, AdminArg, AdminCall, Amount, Change, Combine, CopyOut, CopyRows, CreatedAs, Effects,
    Everywhere, EverywhereKind, Gather, GatherPlace, KeyRoute, KeySource, KeyTuple, Load,
    LoadFormat, LoadTarget, Mentioned, MergeKey, NewTable, Piece, Plan, Route, Scatter, Served,
    SessionStatement, Single, Spread, SpreadKind, TransferSource, Turns, Where,
};

/// Beyond this many keys the rest is only counted.
const SHOWN_KEYS: usize = 8;

/// A line and those below it.
struct Tree {
    line: String,
    children: Vec<Tree>,
}

impl Tree {
    fn leaf(line: impl Into<String>) -> Tree {
        Tree {
            line: line.into(),
            children: Vec::new(),
        }
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        f.write_str(&self.line)?;
        for (index, child) in self.children.iter().enumerate() {
            let last = index + 1 == self.children.len();
            write!(f, "\n{indent}{}", if last { "└─ " } else { "├─ " })?;
            child.draw(f, &format!("{indent}{}", if last { "   " } else { "│  " }))?;
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        tree(self).draw(f, "")
    }
}

fn tree(plan: &Plan) -> Tree {
    match plan {
        Plan::Single(single) => single_tree(single),
        Plan::Everywhere(everywhere) => everywhere_tree(everywhere),
        Plan::Scatter(scatter) => scatter_tree(scatter),
        Plan::Gather(gather) => gather_tree(gather),
        Plan::CopyOut(copy) => copy_tree(copy),
        Plan::Spread(spread) => spread_tree(spread),
        Plan::Load(load) => Tree::leaf(load_line(load)),
        Plan::Transfer(transfer) => Tree {
            line: match &transfer.source {
                TransferSource::Query(_) => "Transfer: INSERT of the rows of a query".to_owned(),
                TransferSource::Taken(_) => "Transfer: UPDATE of the shard key".to_owned(),
            },
            children: match &transfer.source {
                TransferSource::Query(_) => vec![Tree::leaf(load_line(&transfer.load))],
                TransferSource::Taken(taken) => vec![
                    Tree::leaf(format!("Take: {}", taken.sql)),
                    Tree::leaf(load_line(&transfer.load)),
                ],
            },
        },
        Plan::CreateAs(create) => Tree {
            line: format!(
                "Create on shard {}, then fill with the query's rows",
                create.shard
            ),
            children: match &create.kind {
                CreatedAs::Table(effect) => effect
                    .changes
                    .iter()
                    .map(|change| Tree::leaf(change.to_string()))
                    .collect(),
                CreatedAs::Temporary(single) => {
                    let named = single.effects.creates_temporary.iter();
                    named
                        .map(|name| Tree::leaf(format!("Creates temporary {name}")))
                        .collect()
                }
            },
        },
        Plan::Session(statement) => session_tree(statement),
        Plan::Admin(call) => admin_tree(call),
        Plan::Explain(explain) => Tree {
            line: format!(
                "Explain{}{}",
                if explain.analyze { " analyze" } else { "" },
                if explain.has_options {
                    format!(" ({:?})", explain.format).to_lowercase()
                } else {
                    String::new()
                }
            ),
            children: vec![tree(&explain.inner)],
        },
    }
}

/// The router's work from the top, what each shard is asked at the bottom.
fn scatter_tree(scatter: &Scatter) -> Tree {
    let shards = shards_of(scatter.shards.as_deref(), scatter.group);
    let sql = scatter.sql.as_deref().unwrap_or("the statement as it is");
    let bottom = Tree::leaf(format!("Scatter to {shards}: {sql}"));
    scatter.work().into_iter().fold(bottom, |below, work| Tree {
        line: work.line,
        children: vec![below],
    })
}

/// One thing that the router does with the rows of several shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// `Merge`, `Limit` …
    pub kind: &'static str,
    /// All of it in words; begins with the kind, or says what it does.
    pub line: String,
}

impl Scatter {
    /// What becomes of the shards' rows, in the order in which it is done.
    pub fn work(&self) -> Vec<Work> {
        let merge = &self.merge;
        let mut done = Vec::new();
        let mut add = |kind, line| done.push(Work { kind, line });
        if let Some(columns) = &merge.combine {
            let columns: Vec<String> = columns
                .iter()
                .map(|column| format!("{column:?}").to_lowercase())
                .collect();
            let line = format!("Combine equal keys: {}", columns.join(", "));
            add("Combine", line);
        }
        if !merge.keys.is_empty() {
            let keys: Vec<String> = merge.keys.iter().map(merge_key).collect();
            add("Merge", format!("Merge by {}", keys.join(", ")));
        }
        if let Some(keys) = merge.distinct {
            add("Distinct", format!("Distinct in the first {keys}"));
        }
        match &self.turns {
            Turns::AtOnce => {}
            Turns::One { .. } => add("Turns", "One shard after the other".to_owned()),
            Turns::Chosen { lock, .. } => add("Lock", format!("Lock what is chosen: {lock}")),
        }
        if merge.limit.is_some() || merge.offset.is_some() {
            let mut words = Vec::new();
            words.extend(merge.limit.map(|limit| format!("Limit {}", amount(limit))));
            let offset = merge.offset;
            words.extend(offset.map(|offset| format!("Offset {}", amount(offset))));
            if merge.with_ties {
                words.push("with ties".to_owned());
            }
            add("Limit", words.join(" "));
        }
        if self.hidden > 0 {
            let line = format!("Without the first {} columns", self.hidden);
            add("Project", line);
        }
        done
    }
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Rows(rows) => rows.to_string(),
        Amount::Parameter(index) => format!("${}", index + 1),
    }
}

fn merge_key(key: &MergeKey) -> String {
    let mut text = format!("column {}", key.column + 1);
    if key.descending {
        text += " desc";
    }
    if key.nulls_first != key.descending {
        text += if key.nulls_first {
            " nulls first"
        } else {
            " nulls last"
        };
    }
    text
}

impl Combine {
    /// The finishing query, with `relation` in place of the shards' rows and `#n` for their columns.
    pub fn finish_text(&self, relation: &str) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Relation => relation.to_owned(),
            Piece::Count(column) => format!("count(#{})", column + 1),
            Piece::Sum(column) => format!("sum(#{})", column + 1),
            Piece::Average { sum, count } => format!("avg(#{}, #{})", sum + 1, count + 1),
            Piece::Variance {
                count,
                sum,
                squares,
                sample,
                root,
            } => {
                let name = match (root, sample) {
                    (true, true) => "stddev_samp",
                    (true, false) => "stddev_pop",
                    (false, true) => "var_samp",
                    (false, false) => "var_pop",
                };
                format!("{name}(#{}, #{}, #{})", count + 1, sum + 1, squares + 1)
            }
        };
        self.finish.iter().map(piece).collect()
    }
}

fn combine_tree(gather: &Gather, combine: &Combine) -> Tree {
    let finish = combine.finish_text("…");
    let servers: Vec<String> = gather.servers.iter().map(ShardId::to_string).collect();
    let shards = shards_of(combine.shards.as_deref(), combine.group);
    Tree {
        line: format!("Combine on {}: {finish}", servers.join(" or ")),
        children: vec![Tree::leaf(format!("Scatter to {shards}: {}", combine.sql))],
    }
}

fn shards_of(shards: Option<&[ShardId]>, group: catalog::GroupId) -> String {
    match shards {
        Some(shards) => {
            let shards: Vec<String> = shards.iter().map(ShardId::to_string).collect();
            shards.join(", ")
        }
        None => format!("all shards of group {group}"),
    }
}

fn gather_tree(gather: &Gather) -> Tree {
    if let Some(combine) = &gather.combine {
        return combine_tree(gather, combine);
    }
    let mut line = "Gather: SELECT, read".to_owned();
    if gather.parameters > 0 {
        line += &format!(", {} parameters", gather.parameters);
    }
    let shards: Vec<String> = gather.servers.iter().map(ShardId::to_string).collect();
    let mut children = vec![Tree::leaf(format!("Finished on: {}", shards.join(" or ")))];
    if let Some(rest) = &gather.rest {
        children.push(Tree::leaf(format!("Besides its parts: {rest}")));
    }
    for table in &gather.tables {
        let only = if table.only { "ONLY " } else { "" };
        let what = match table.place {
            GatherPlace::Group(group) if table.part.is_some() => {
                format!("Part on each shard of group {group}: {}", table.name.name)
            }
            GatherPlace::Group(group) => {
                format!("Rows of: {only}{} of group {group}", table.name.name)
            }
            GatherPlace::Everywhere => format!("Copy of: {only}{}", table.name.name),
            GatherPlace::Shard(shard) => format!("There: {only}{} on {shard}", table.name.name),
        };
        let columns: Vec<&str> = table
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let columns = match table.whole {
            true => String::new(),
            false => format!(" ({})", columns.join(", ")),
        };
        let condition = match &table.condition {
            Some(condition) => format!(" where {condition}"),
            None => String::new(),
        };
        let mut line = format!("{what}{columns}{condition}");
        if let Some(matches) = &table.matches {
            let other = &gather.tables[matches.table];
            let name = &other.columns[matches.other].0;
            line += &format!(", {} in {}.{name}", matches.column, other.name.name);
            if matches.keys.is_some() {
                line += " by key";
            }
        }
        if !table.looked_up.is_empty() {
            line += &format!(", looked up by {}", table.looked_up.join(", "));
        }
        for among in &table.among {
            line += &format!(", if {}", among.sql);
        }
        if let Some(keys) = &table.keys {
            line += &format!(", {keys}");
        }
        if let Some(part) = &table.part {
            line += &format!(": {}", part.sql);
            if let Some(combine) = &part.combine {
                let finish = combine.finish_text(&table.name.name);
                line += &format!("; finished: {finish}");
            }
        }
        children.push(Tree::leaf(line));
    }
    for (name, served) in &gather.served {
        children.push(Tree::leaf(match served {
            Served::Home => format!("From the catalog's home: pgweave.{name}"),
            Served::Shards => format!("From every shard: {name}"),
        }));
    }
    if gather.sizes {
        children.push(Tree::leaf("From every shard: sizes of relations"));
    }
    for view in &gather.views {
        let instead = |of| match of {
            Mentioned::Table(table) => gather.tables[table].name.name.clone(),
            Mentioned::View(view) => gather.views[view].name.name.clone(),
            Mentioned::Served(served) => format!("pgweave.{}", gather.served[served].0),
            Mentioned::Size(name) => format!("pgweave.{name}"),
            Mentioned::Number(number) => gather.number(number),
            Mentioned::Schema => String::new(),
        };
        let definition = view.text(instead).unwrap_or_default();
        let name = &view.name.name;
        children.push(Tree::leaf(format!("View over them: {name}: {definition}")));
    }
    Tree { line, children }
}

fn copy_tree(copy: &CopyOut) -> Tree {
    let line = format!("Copy to the client: {:?}", copy.format.kind).to_lowercase();
    let below = match &copy.rows {
        CopyRows::Shards { group, shards, .. } => {
            let shards = shards_of(shards.as_deref(), *group);
            Tree::leaf(format!("Scatter to {shards}: the statement as it is"))
        }
        CopyRows::Query(plan) => tree(plan),
    };
    Tree {
        line: line.replacen("copy", "Copy", 1),
        children: vec![below],
    }
}

fn load_line(load: &Load) -> String {
    let format = match load.format {
        LoadFormat::Text { .. } => "text",
        LoadFormat::Csv { .. } => "csv",
        LoadFormat::Binary => "binary",
    };
    match &load.target {
        LoadTarget::Rows { group, key } => {
            let places: Vec<String> = key
                .iter()
                .map(|key| format!("column {}", key.position + 1))
                .collect();
            format!(
                "Load {} from {format}: rows to their shards of group {group} by {}",
                load.table,
                places.join(", ")
            )
        }
        LoadTarget::Copies(_) => format!("Load {} from {format}: rows to all copies", load.table),
        LoadTarget::Shard(shard) => format!("Load {} from {format}: rows to {shard}", load.table),
    }
}

fn spread_tree(spread: &Spread) -> Tree {
    let mut line = format!("Spread: {}, write", spread.tag.0);
    if spread.parameters > 0 {
        line += &format!(", {} parameters", spread.parameters);
    }
    if spread.returns_rows {
        line += ", returns rows";
    }
    if spread.moment {
        line += ", at one time";
    }
    let below = match &spread.kind {
        SpreadKind::Rows(rows) => format!(
            "{} rows to their shards of group {}",
            rows.rows.len(),
            spread.group
        ),
        SpreadKind::Each(shards) => {
            let shards = shards_of(shards.as_deref(), spread.group);
            format!("The statement to {shards}")
        }
    };
    Tree {
        line,
        children: vec![Tree::leaf(below)],
    }
}

fn single_tree(single: &Single) -> Tree {
    let mut line = format!("Single: {}, {}", single.tag.0, access(single.access));
    if single.parameters > 0 {
        line += &format!(", {} parameters", single.parameters);
    }
    if single.returns_rows && single.tag.0 != "SELECT" {
        line += ", returns rows";
    }
    if single.no_block {
        line += ", outside a transaction block";
    }
    let mut children = vec![Tree::leaf(format!("Route: {}", single.route))];
    if !single.pins.is_empty() {
        children.push(Tree::leaf(format!(
            "Pins: {}",
            single.pins.names().collect::<Vec<_>>().join(", ")
        )));
    }
    children.extend(effects(&single.effects));
    Tree { line, children }
}

fn effects(effects: &Effects) -> Vec<Tree> {
    let mut lines = Vec::new();
    for name in &effects.creates_temporary {
        let until = if effects.until_commit {
            " until COMMIT"
        } else {
            ""
        };
        lines.push(Tree::leaf(format!("Creates temporary {name}{until}")));
    }
    for name in &effects.drops_temporary {
        lines.push(Tree::leaf(format!("Drops temporary {name}")));
    }
    for set in &effects.set_config {
        let value = set.value.as_deref().unwrap_or("its default");
        lines.push(Tree::leaf(format!(
            "Sets {}{} to {value}",
            if set.is_local { "local " } else { "" },
            set.name
        )));
    }
    lines
}

fn access(access: Access) -> &'static str {
    match access {
        Access::Read => "read",
        Access::LockingRead => "locking read",
        Access::Write => "write",
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Route::Any => f.write_str("any shard"),
            Route::Shard(shard) => write!(f, "shard {shard}"),
            Route::Catalog => f.write_str("the catalog's home"),
            Route::Key(keys) => keys.fmt(f),
        }
    }
}

impl fmt::Display for KeyRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = None;
        for (index, tuple) in self.keys.iter().take(SHOWN_KEYS).enumerate() {
            if group != Some(tuple.group) {
                write!(
                    f,
                    "{}group {} key ",
                    if index > 0 { "; " } else { "" },
                    tuple.group
                )?;
                group = Some(tuple.group);
            } else {
                f.write_str(", ")?;
            }
            tuple.fmt(f)?;
        }
        if self.keys.len() > SHOWN_KEYS {
            write!(f, " and {} more", self.keys.len() - SHOWN_KEYS)?;
        }
        match self.also {
            Some(shard) => write!(f, "; also shard {shard}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for KeyTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, source) in self.sources.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            source.fmt(f)?;
        }
        f.write_str(")")
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cast = match self {
            KeySource::Constant(value) => return write!(f, "{}", constant(value)),
            KeySource::Parameter {
                index,
                cast,
                array,
                shared,
                ..
            } => {
                write!(
                    f,
                    "{}${}{}",
                    if *array { "each of " } else { "" },
                    index + 1,
                    if *shared { " (shared)" } else { "" }
                )?;
                cast
            }
            KeySource::Literal {
                index,
                negative,
                cast,
                array,
                ..
            } => {
                let sign = if *negative { "-" } else { "" };
                write!(
                    f,
                    "{}{sign}literal {}",
                    if *array { "each of " } else { "" },
                    index + 1
                )?;
                cast
            }
        };
        match cast {
            Some(cast) => write!(f, "::{}", cast.name()),
            None => Ok(()),
        }
    }
}

fn constant(value: &catalog::KeyValue) -> String {
    use catalog::{KeyType, KeyValue};
    let key_type = match value {
        KeyValue::Int(_) => KeyType::Int8,
        KeyValue::Text(_) => KeyType::Text,
        KeyValue::Uuid(_) => KeyType::Uuid,
        KeyValue::Date(_) => KeyType::Date,
        KeyValue::Timestamp(_) => KeyType::Timestamp,
        KeyValue::Bool(_) => KeyType::Bool,
        KeyValue::Bytea(_) => KeyType::Bytea,
    };
    match value {
        KeyValue::Int(_) | KeyValue::Bool(_) => value.to_text(key_type),
        _ => format!("'{}'", value.to_text(key_type)),
    }
}

fn everywhere_tree(everywhere: &Everywhere) -> Tree {
    let shards = match &everywhere.shards {
        Where::All => "all shards".to_owned(),
        Where::Shards(shards) => {
            format!(
                "shard {}",
                shards
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        Where::Group(group) => format!("the shards of group {group}"),
        Where::Holding(name) => format!("the shards that have {}.{}", name.schema, name.name),
    };
    let mut line = format!("Everywhere: {} on {shards}", everywhere.tag.0);
    if everywhere.returns_rows {
        line += ", returns rows";
    }
    if everywhere.concurrently {
        line += ", concurrently";
    }
    if everywhere.no_block {
        line += ", outside a transaction block";
    }
    let children = match &everywhere.kind {
        EverywhereKind::Ddl(effect) => effect
            .changes
            .iter()
            .map(|change| Tree::leaf(change.to_string()))
            .collect(),
        EverywhereKind::ReferenceWrite(_) => vec![Tree::leaf("the same write to every copy")],
        EverywhereKind::Rows => vec![Tree::leaf("rows only")],
        EverywhereKind::Maintenance => vec![Tree::leaf("upkeep")],
    };
    Tree { line, children }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |name: &crate::Name| format!("{}.{}", name.schema, name.name);
        match self {
            Change::TableCreated {
                table,
                if_not_exists,
                sharding,
            } => {
                write!(f, "creates table {}", name(table))?;
                if *if_not_exists {
                    f.write_str(" if it does not exist")?;
                }
                match sharding {
                    NewTable::Unsharded { shard } => write!(f, ", unsharded on {shard}"),
                    NewTable::Auto {
                        column,
                        group: Some(group),
                    } => write!(f, ", sharded by {column} in group {group}"),
                    NewTable::Auto {
                        column,
                        group: None,
                    } => write!(f, ", sharded by {column}"),
                    NewTable::Child { parent } => write!(f, ", placed as {}", name(parent)),
                }
            }
            Change::TableAltered { table } => write!(f, "alters table {}", name(table)),
            Change::TableDropped { table } => write!(f, "drops table {}", name(table)),
            Change::TableRenamed { table, new } => {
                write!(f, "renames table {} to {}", name(table), name(new))
            }
            Change::ColumnRenamed { table, column, new } => {
                write!(f, "renames column {column} of {} to {new}", name(table))
            }
            Change::View { view } => write!(f, "view {}", name(view)),
            Change::Function {
                schema: Some(schema),
                name,
            } => write!(f, "function {schema}.{name}"),
            Change::Function { schema: None, name } if name.is_empty() => f.write_str("functions"),
            Change::Function { schema: None, name } => write!(f, "function {name}"),
            Change::Sequence { sequence } => write!(f, "sequence {}", name(sequence)),
            Change::Schema { schema } => write!(f, "schema {schema}"),
            Change::SchemaRenamed { schema, new } => write!(f, "renames schema {schema} to {new}"),
            Change::Other => f.write_str("nothing that routing depends on"),
        }
    }
}

fn session_tree(statement: &SessionStatement) -> Tree {
    match statement {
        SessionStatement::Prepare {
            name,
            types,
            statement,
            plan,
        } => Tree {
            line: format!(
                "Session: prepares {name} ({}) from byte {}",
                types.join(", "),
                statement.start
            ),
            children: vec![tree(plan)],
        },
        SessionStatement::Declare {
            name,
            hold,
            scroll,
            binary,
            query: _,
            plan,
        } => Tree {
            line: format!(
                "Session: declares cursor {name}, hold {hold}, scroll {scroll:?}, binary {binary}"
            ),
            children: vec![tree(plan)],
        },
        other => Tree::leaf(format!("Session: {other:?}")),
    }
}

fn admin_tree(call: &AdminCall) -> Tree {
    let arguments: Vec<String> = call
        .arguments
        .iter()
        .map(|(name, value)| match name {
            Some(name) => format!("{name} => {value}"),
            None => value.to_string(),
        })
        .collect();
    let from = if call.from_clause { ", as a table" } else { "" };
    Tree::leaf(format!(
        "Admin: {}({}) as {}{from}",
        call.name,
        arguments.join(", "),
        call.column
    ))
}

impl fmt::Display for AdminArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminArg::Text(text) => f.write_str(&catalog::quote_literal(text)),
            AdminArg::Number(text) => f.write_str(text),
            AdminArg::Boolean(value) => value.fmt(f),
            AdminArg::Null => f.write_str("NULL"),
            AdminArg::Array(elements) => {
                let elements: Vec<String> = elements.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", elements.join(", "))
            }
            AdminArg::Parameter(index) => write!(f, "${}", index + 1),
        }
    }
}
