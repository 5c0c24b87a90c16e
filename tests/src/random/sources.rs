//! What a query reads: tables, derived tables, common table expressions and functions, joined in all ways.

use super::expressions::{Atom, Generator, Scope};
use super::queries::Wanted;
use super::schema::TABLES;
use super::sql::{From, On, Sql};
use super::types::{self, Type};

/// What can be read by a name.
#[derive(Debug, Clone)]
pub struct Relation {
    pub name: String,
    pub columns: Vec<(String, Type)>,
    /// The columns that tell rows apart.
    pub identity: Vec<String>,
    /// Its columns come from a table as they are.
    pub is_table: bool,
}

/// A part of FROM, and what can be named of it.
struct Part {
    from: From,
    sources: Vec<Source>,
}

#[derive(Clone)]
struct Source {
    /// Behind which its columns are named.
    name: String,
    relation: Relation,
}

impl Generator {
    /// FROM, and the scope behind it. `outer`: what its subqueries can name of the queries around.
    pub fn from_clause(&mut self, outer: &[Atom]) -> (Vec<From>, Scope) {
        let count = match self.dice.below(100) {
            0..45 => 1,
            45..80 => 2,
            80..95 => 3,
            _ => 4,
        };
        let mut parts: Vec<Part> = Vec::new();
        for _ in 0..count {
            let lateral: Vec<Atom> = parts.iter().flat_map(|part| atoms(&part.sources)).collect();
            let may_be_lateral = !lateral.is_empty() && self.subqueries > 0 && self.dice.percent(8);
            let part = if may_be_lateral {
                self.lateral(lateral)
            } else {
                self.source(outer)
            };
            // A comma between them, now and then; then the condition is in WHERE at best.
            match parts.pop() {
                Some(before) if self.dice.percent(90) => {
                    parts.push(self.join(before, part, may_be_lateral))
                }
                Some(before) => parts.extend([before, part]),
                None => parts.push(part),
            }
        }
        let sources: Vec<Source> = parts.iter().flat_map(|part| part.sources.clone()).collect();
        let mut scope = Scope {
            atoms: atoms(&sources),
            outer: outer.to_vec(),
            identity: Vec::new(),
        };
        for Source { name, relation } in &sources {
            let columns = relation.identity.iter();
            scope
                .identity
                .extend(columns.map(|column| Sql::text(format!("{name}.{column}"))));
        }
        if let [only] = &sources[..]
            && self.dice.percent(50)
        {
            unqualify(&mut scope, &only.name);
        }
        if self.dice.percent(6) {
            let name = &self.dice.pick(&sources).name;
            let row = Sql::expression(Type::Jsonb, vec![Sql::text(format!("to_jsonb({name})"))]);
            scope.atoms.push(Atom {
                sql: row,
                ty: Type::Jsonb,
                is_column: false,
            });
        }
        (parts.into_iter().map(|part| part.from).collect(), scope)
    }

    fn source(&mut self, outer: &[Atom]) -> Part {
        let choice = self.dice.below(100);
        if choice < 25 && !self.relations.is_empty() {
            let relation = self.dice.pick(&self.relations).clone();
            return self.named(relation, "");
        }
        match choice {
            25..37 if self.subqueries > 0 => self.derived("", &outer[..0]),
            37..40 => self.values(),
            40..43 => self.series(),
            _ => {
                let table = self.dice.pick(TABLES);
                let relation = Relation {
                    name: table.name.to_owned(),
                    columns: table
                        .columns
                        .iter()
                        .map(|(name, ty)| ((*name).to_owned(), *ty))
                        .collect(),
                    identity: table.key().into_iter().map(str::to_owned).collect(),
                    is_table: true,
                };
                let before = match self.dice.below(20) {
                    0 => "ONLY ",
                    1 => "public.",
                    _ => "",
                };
                self.named(relation, before)
            }
        }
    }

    /// Something with a name, under an alias.
    fn named(&mut self, mut relation: Relation, before: &str) -> Part {
        let sql = vec![Sql::text(format!("{before}{}", relation.name))];
        let name = self.name("t");
        let mut alias = if self.dice.percent(50) {
            format!("AS {name}")
        } else {
            name.clone()
        };
        if self.dice.percent(6) && relation.columns.len() > 1 {
            let (first, second) = (self.name("c"), self.name("c"));
            alias.push_str(&format!(" ({first}, {second})"));
            for (index, fresh) in [first, second].into_iter().enumerate() {
                let old = std::mem::replace(&mut relation.columns[index].0, fresh.clone());
                for column in &mut relation.identity {
                    if *column == old {
                        column.clone_from(&fresh);
                    }
                }
            }
        }
        part(sql, alias, name, relation)
    }

    fn derived(&mut self, before: &str, outer: &[Atom]) -> Part {
        let (query, columns) = self.query(outer, Wanted::Named);
        let name = self.name("q");
        let identity = columns.iter().map(|(name, _)| name.clone()).collect();
        let sql = vec![
            Sql::text(format!("{before}(")),
            Sql::Query(Box::new(query)),
            Sql::text(")"),
        ];
        let relation = Relation {
            name: name.clone(),
            columns,
            identity,
            is_table: false,
        };
        part(sql, format!("AS {name}"), name, relation)
    }

    fn lateral(&mut self, before: Vec<Atom>) -> Part {
        self.derived("LATERAL ", &before)
    }

    fn values(&mut self) -> Part {
        let count = self.dice.between(1, 3);
        let columns: Vec<(String, Type)> = (0..count)
            .map(|_| (self.name("c"), types::ALL[self.dice.skewed_below(8)]))
            .collect();
        let mut sql = vec![Sql::text("(VALUES ")];
        for row in 0..self.dice.between(1, 4) {
            sql.push(Sql::text(if row > 0 { ", (" } else { "(" }));
            for (index, (_, ty)) in columns.iter().enumerate() {
                sql.push(Sql::text(if index > 0 { ", " } else { "" }));
                let value = self.literal(*ty, false);
                sql.push(value);
            }
            sql.push(Sql::text(")"));
        }
        sql.push(Sql::text(")"));
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let name = self.name("v");
        let alias = format!("AS {name} ({})", names.join(", "));
        let relation = Relation {
            name: name.clone(),
            columns,
            identity: names,
            is_table: false,
        };
        part(sql, alias, name, relation)
    }

    fn series(&mut self) -> Part {
        let (name, column) = (self.name("g"), self.name("c"));
        let (first, last) = (self.dice.below(3), self.dice.between(2, 6));
        let relation = Relation {
            name: name.clone(),
            columns: vec![(column.clone(), Type::Int4)],
            identity: vec![column.clone()],
            is_table: true,
        };
        let sql = vec![Sql::text(format!("generate_series({first}, {last})"))];
        part(sql, format!("AS {name} ({column})"), name, relation)
    }

    fn join(&mut self, left: Part, right: Part, is_lateral: bool) -> Part {
        let choice = self.dice.below(100);
        let kind = match choice {
            0..45 => " JOIN ",
            45..67 => " LEFT JOIN ",
            67..77 if !is_lateral => " RIGHT JOIN ",
            77..87 if !is_lateral => " FULL JOIN ",
            87..92 => " CROSS JOIN ",
            92..96 if !is_lateral => " NATURAL JOIN ",
            _ => " INNER JOIN ",
        };
        let shared = shared_columns(&left.sources, &right.sources);
        let (mut kind, on) = match kind {
            " CROSS JOIN " => (kind, On::Nothing),
            " NATURAL JOIN "
                if (1..=2).contains(&shared.len()) && is_unambiguous(&left, &right) =>
            {
                let outer = self.dice.percent(30);
                (
                    if outer { " NATURAL LEFT JOIN " } else { kind },
                    On::Nothing,
                )
            }
            " NATURAL JOIN " => (" JOIN ", self.join_condition(&left, &right, false)),
            _ if !shared.is_empty() && self.dice.percent(25) => {
                let column = self.dice.pick(&shared).clone();
                (kind, On::Using(vec![column]))
            }
            _ => (
                kind,
                self.join_condition(&left, &right, kind == " FULL JOIN "),
            ),
        };
        if on == On::Nothing && kind == " JOIN " {
            kind = " CROSS JOIN ";
        }
        let mut sources = left.sources;
        sources.extend(right.sources);
        let from = From::Join {
            kind,
            left: Box::new(left.from),
            right: Box::new(right.from),
            on,
        };
        Part { from, sources }
    }

    /// `only_equal`: nothing but what FULL JOIN can do.
    fn join_condition(&mut self, left: &Part, right: &Part, only_equal: bool) -> On {
        let (left, right) = (atoms(&left.sources), atoms(&right.sources));
        let Some(equal) = self.equality(&left, &right) else {
            let condition = if only_equal { "1 = 1" } else { "true" };
            return On::Condition(Sql::text(condition));
        };
        let scope = Scope {
            atoms: left.into_iter().chain(right).collect(),
            ..Scope::default()
        };
        On::Condition(match self.dice.below(100) {
            _ if only_equal => equal,
            0..70 => equal,
            70..90 => {
                let more = self.condition(&scope, 1);
                equal.and(more)
            }
            _ => self.condition(&scope, 2),
        })
    }

    /// Two columns that are equal, most often those that a shard key might be.
    pub fn equality(&mut self, left: &[Atom], right: &[Atom]) -> Option<Sql> {
        let mut pairs = Vec::new();
        for one in left {
            for other in right.iter().filter(|other| other.ty == one.ty) {
                let weight = if one.ty == Type::Int8 { 6 } else { 1 };
                pairs.extend(std::iter::repeat_n((one, other), weight));
            }
        }
        if pairs.is_empty() {
            return None;
        }
        let (one, other) = *self.dice.pick(&pairs);
        let parts = vec![one.sql.clone(), Sql::text(" = "), other.sql.clone()];
        Some(Sql::expression(Type::Bool, parts))
    }
}

fn part(sql: Vec<Sql>, alias: String, name: String, relation: Relation) -> Part {
    Part {
        from: From::Source { sql, alias },
        sources: vec![Source { name, relation }],
    }
}

fn atoms(sources: &[Source]) -> Vec<Atom> {
    let columns = sources.iter().flat_map(|Source { name, relation }| {
        let atom = move |(column, ty): &(String, Type)| Atom {
            sql: Sql::expression(*ty, vec![Sql::text(format!("{name}.{column}"))]),
            ty: *ty,
            is_column: relation.is_table || ty.is_canonical(),
        };
        relation.columns.iter().map(atom)
    });
    columns.collect()
}

fn names(sources: &[Source]) -> Vec<(String, Type)> {
    sources
        .iter()
        .flat_map(|source| source.relation.columns.clone())
        .collect()
}

/// Columns that both sides have, once each.
fn shared_columns(left: &[Source], right: &[Source]) -> Vec<String> {
    let (left, right) = (names(left), names(right));
    let once = |columns: &[(String, Type)], name: &str| {
        columns.iter().filter(|column| column.0 == name).count() == 1
    };
    let shared = left.iter().filter(|(name, ty)| {
        once(&left, name) && once(&right, name) && right.contains(&(name.clone(), *ty))
    });
    shared.map(|(name, _)| name.clone()).collect()
}

fn is_unambiguous(left: &Part, right: &Part) -> bool {
    let (left, right) = (names(&left.sources), names(&right.sources));
    let mut all: Vec<&String> = left.iter().map(|column| &column.0).collect();
    all.sort();
    all.windows(2).all(|pair| pair[0] != pair[1]) && !right.is_empty()
}

/// Names columns without their table.
fn unqualify(scope: &mut Scope, name: &str) {
    let prefix = format!("{name}.");
    for atom in &mut scope.atoms {
        if let Sql::Expression(expression) = &mut atom.sql {
            expression
                .parts
                .iter_mut()
                .for_each(|part| strip(part, &prefix));
        }
    }
    scope
        .identity
        .iter_mut()
        .for_each(|part| strip(part, &prefix));
}

fn strip(part: &mut Sql, prefix: &str) {
    if let Sql::Text(text) = part
        && let Some(rest) = text.strip_prefix(prefix)
    {
        *text = rest.to_owned();
    }
}
