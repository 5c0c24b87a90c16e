//! A query as a tree: what the generator makes, [`super::render`] writes and [`super::shrink`] cuts.
//!
//! Expressions are loose (text with typed holes), because PostgreSQL judges what cutting leaves. Queries are structs: their
//! order decides how answers are compared, and must be known after each cut.

use super::types::Type;

/// What a name or a number stands for within one query; never used twice.
pub type Id = u32;

#[derive(Debug, Clone, PartialEq)]
pub enum Sql {
    Text(String),
    Expression(Expression),
    Literal(Literal),
    /// What the query groups by, written as it is there.
    Group(Id),
    Query(Box<Query>),
    /// May be left out.
    Optional(Vec<Sql>),
}

/// Text and holes that are of a type as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    pub ty: Type,
    pub parts: Vec<Sql>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Literal {
    pub id: Id,
    pub ty: Type,
    /// As within quotes; `None` is NULL.
    pub text: Option<String>,
    /// Sent apart from the text, if the protocol can.
    pub parameter: bool,
    /// Its neighbours tell the type.
    pub bare: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub with: Vec<With>,
    pub recursive: bool,
    pub body: Body,
    pub order: Vec<Key>,
    pub limit: Limit,
}

#[derive(Debug, Clone, PartialEq)]
pub struct With {
    pub name: String,
    /// With names of columns, and `AS` and MATERIALIZED behind.
    pub head: String,
    pub query: Sql,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    Select(Box<Select>),
    /// `UNION`, `INTERSECT ALL` and so on.
    Set {
        operator: &'static str,
        left: Box<Query>,
        right: Box<Query>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Select {
    pub distinct: Distinct,
    pub items: Vec<Item>,
    pub from: Vec<From>,
    pub filter: Option<Sql>,
    pub group: Vec<Group>,
    pub grouping: Grouping,
    pub having: Option<Sql>,
    /// `WINDOW w AS (…)`.
    pub window: Option<Sql>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Distinct {
    No,
    Yes,
    /// On this many of the first order keys.
    On(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub id: Id,
    pub sql: Sql,
    pub alias: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub id: Id,
    pub sql: Sql,
    pub style: Style,
}

/// How the keys of GROUP BY are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    Plain,
    Rollup,
    Cube,
    /// All of them, the first alone, and none.
    Sets,
}

/// How a key names an item of the select list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Expression,
    Position,
    Alias,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub target: Target,
    /// ` DESC NULLS LAST` and the like.
    pub direction: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    Item(Id, Style),
    /// Something that is not in the output.
    Hidden(Sql),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Limit {
    None,
    Rows {
        limit: Option<Sql>,
        offset: Option<Sql>,
    },
    FetchFirst(usize),
    WithTies(usize),
}

#[derive(Debug, Clone, PartialEq)]
pub enum From {
    Source {
        /// With LATERAL in front where it is needed.
        sql: Vec<Sql>,
        /// With names of columns where they are needed.
        alias: String,
    },
    Join {
        /// ` LEFT JOIN ` and the like.
        kind: &'static str,
        left: Box<From>,
        right: Box<From>,
        on: On,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum On {
    Nothing,
    Using(Vec<String>),
    Condition(Sql),
}

/// What an answer's rows are sorted by, as far as the output shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sorted {
    /// Numbers of output columns, as they weigh.
    pub columns: Vec<usize>,
    /// Rows that tie are the same.
    pub total: bool,
}

impl Query {
    pub fn select(select: Select) -> Query {
        Query {
            with: Vec::new(),
            recursive: false,
            body: Body::Select(Box::new(select)),
            order: Vec::new(),
            limit: Limit::None,
        }
    }

    /// The select list that names the columns.
    pub fn items(&self) -> &[Item] {
        match &self.body {
            Body::Select(select) => &select.items,
            Body::Set { left, .. } => left.items(),
        }
    }

    pub fn sorted(&self) -> Sorted {
        let items = self.items();
        let mut columns = Vec::new();
        let mut hidden = false;
        for key in &self.order {
            match &key.target {
                Target::Item(id, _) => {
                    let Some(column) = items.iter().position(|item| item.id == *id) else {
                        continue;
                    };
                    if !items[column].is_canonical() {
                        hidden = true;
                        continue;
                    }
                    if !columns.contains(&column) {
                        columns.push(column);
                    }
                }
                Target::Hidden(_) => hidden = true,
            }
        }
        let total = columns.len() == items.len() && !items.iter().any(|item| item.sql.is_star());
        if hidden && !total {
            // What comes behind a key that nobody sees cannot be checked.
            let seen = self.order.iter().take_while(|key| match &key.target {
                Target::Item(id, _) => items
                    .iter()
                    .any(|item| item.id == *id && item.is_canonical()),
                Target::Hidden(_) => false,
            });
            columns.truncate(seen.count());
        }
        // A total order with a hidden key in it still fixes the sequence.
        Sorted { columns, total }
    }

    pub fn is_limited(&self) -> bool {
        matches!(self.limit, Limit::Rows { .. } | Limit::FetchFirst(_))
    }

    /// Whether any server must give the same rows. `outermost`: a LIMIT there is compared by count.
    pub fn is_deterministic(&self, outermost: bool) -> bool {
        let on = matches!(&self.body, Body::Select(select) if matches!(select.distinct, Distinct::On(_)));
        let chooses = on || (self.is_limited() && !outermost);
        let mut within = true;
        self.visit(&mut |query| within &= query.is_deterministic(false));
        within && (!chooses || self.sorted().total)
    }

    /// Calls for each query directly within this one.
    pub fn visit(&self, call: &mut dyn FnMut(&Query)) {
        for with in &self.with {
            with.query.visit(call);
        }
        match &self.body {
            Body::Select(select) => select.visit(call),
            Body::Set { left, right, .. } => {
                call(left);
                call(right);
            }
        }
        for key in &self.order {
            if let Target::Hidden(sql) = &key.target {
                sql.visit(call);
            }
        }
    }
}

impl Item {
    /// Whether values that sort alike are shown alike: not `0` and `0.00`.
    fn is_canonical(&self) -> bool {
        let Sql::Expression(Expression { ty, parts }) = &self.sql else {
            return true;
        };
        ty.is_canonical()
            || match &parts[..] {
                [Sql::Text(text)] => !text.contains('('),
                [Sql::Group(_) | Sql::Literal(_)] => true,
                _ => false,
            }
    }

    /// Whether it has this name of its own accord, or may have.
    pub fn is_named(&self, name: &str) -> bool {
        let is_column = |text: &str| text.rsplit('.').next() == Some(name);
        self.alias.is_none()
            && match &self.sql {
                Sql::Expression(Expression { parts, .. }) => match &parts[..] {
                    [Sql::Text(text)] => is_column(text),
                    [Sql::Group(_)] => true,
                    _ => false,
                },
                sql => sql.is_star(),
            }
    }
}

impl Select {
    fn visit(&self, call: &mut dyn FnMut(&Query)) {
        for item in &self.items {
            item.sql.visit(call);
        }
        for from in &self.from {
            from.visit(call);
        }
        for sql in self.filter.iter().chain(&self.having).chain(&self.window) {
            sql.visit(call);
        }
        for group in &self.group {
            group.sql.visit(call);
        }
    }
}

impl From {
    fn visit(&self, call: &mut dyn FnMut(&Query)) {
        match self {
            From::Source { sql, .. } => sql.iter().for_each(|sql| sql.visit(call)),
            From::Join {
                left, right, on, ..
            } => {
                left.visit(call);
                right.visit(call);
                if let On::Condition(sql) = on {
                    sql.visit(call);
                }
            }
        }
    }
}

impl Sql {
    pub fn text(text: impl Into<String>) -> Sql {
        Sql::Text(text.into())
    }

    pub fn expression(ty: Type, parts: Vec<Sql>) -> Sql {
        Sql::Expression(Expression { ty, parts })
    }

    /// All columns of FROM.
    pub fn is_star(&self) -> bool {
        matches!(self, Sql::Text(text) if text == "*")
    }

    /// Whether it is what that key groups by, and nothing more.
    pub fn is_group(&self, id: Id) -> bool {
        match self {
            Sql::Group(group) => *group == id,
            Sql::Expression(Expression { parts, .. }) => {
                matches!(&parts[..], [one] if one.is_group(id))
            }
            _ => false,
        }
    }

    /// Two conditions that must both hold.
    pub fn and(self, other: Sql) -> Sql {
        let parts = vec![
            Sql::text("("),
            self,
            Sql::text(" AND "),
            other,
            Sql::text(")"),
        ];
        Sql::expression(Type::Bool, parts)
    }

    fn visit(&self, call: &mut dyn FnMut(&Query)) {
        match self {
            Sql::Text(_) | Sql::Literal(_) | Sql::Group(_) => {}
            Sql::Expression(Expression { parts, .. }) | Sql::Optional(parts) => {
                parts.iter().for_each(|part| part.visit(call));
            }
            Sql::Query(query) => call(query),
        }
    }
}
