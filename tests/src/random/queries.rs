//! Queries: whole ones, and those within others.

use super::dice::Dice;
use super::expressions::{Atom, Generator, Scope};
use super::sources::Relation;
use super::sql::{Body, Distinct, Grouping, Item, Limit, Query, Select, Sql, With};
use super::types::{self, Type};

/// What a query is made for.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// The client gets its rows.
    Top,
    /// Its columns need names of their own.
    Named,
    /// Its columns are these, in a set operation with others of the kind; with names of their own, or not.
    Branch(Vec<Type>, bool),
    /// It is a subquery with such columns.
    Columns(Vec<Type>),
}

/// The query of this stream of choices.
pub fn generate(dice: Dice) -> Query {
    let mut generator = Generator::new(dice);
    let (mut with, mut recursive) = (Vec::new(), false);
    if generator.dice.percent(22) {
        for _ in 0..generator.dice.between(1, 2) {
            if generator.dice.percent(12) {
                with.push(generator.recursive());
                recursive = true;
            } else {
                with.push(generator.common());
            }
        }
    }
    generator.subqueries = 3;
    let (mut query, _) = generator.query(&[], Wanted::Top);
    query.with = with;
    query.recursive = recursive;
    query
}

impl Generator {
    fn common(&mut self) -> With {
        self.subqueries = 1;
        let (query, columns) = self.query(&[], Wanted::Named);
        let name = self.name("w");
        let how = *self
            .dice
            .pick(&["AS", "AS", "AS MATERIALIZED", "AS NOT MATERIALIZED"]);
        self.relations.push(Relation {
            name: name.clone(),
            identity: columns.iter().map(|column| column.0.clone()).collect(),
            columns,
            is_table: false,
        });
        With {
            head: format!("{name} {how}"),
            name,
            query: Sql::Query(Box::new(query)),
        }
    }

    fn recursive(&mut self) -> With {
        let (name, column) = (self.name("w"), self.name("c"));
        let start = *self.dice.pick(&[
            "SELECT 1",
            "SELECT min(id) FROM notes",
            "SELECT max(i4)::int4 % 3 FROM customers",
        ]);
        let step = *self.dice.pick(&["", ", countries AS x"]);
        let union = *self.dice.pick(&["UNION", "UNION ALL"]);
        let text = match step {
            "" => format!("{start} {union} SELECT {column} + 1 FROM {name} WHERE {column} < 5"),
            _ => format!(
                "{start} UNION SELECT {column} + x.i4 % 2 FROM {name}{step} WHERE {column} < 4"
            ),
        };
        self.relations.push(Relation {
            name: name.clone(),
            columns: vec![(column.clone(), Type::Int4)],
            identity: vec![column.clone()],
            is_table: false,
        });
        With {
            head: format!("{name} ({column}) AS"),
            name,
            query: Sql::text(text),
        }
    }

    /// A query and its columns; these have names only if that was wanted.
    pub fn query(&mut self, outer: &[Atom], wanted: Wanted) -> (Query, Vec<(String, Type)>) {
        self.subqueries = self
            .subqueries
            .saturating_sub(usize::from(wanted != Wanted::Top));
        let combines = match wanted {
            Wanted::Top => self.dice.percent(13),
            Wanted::Named => self.dice.percent(7),
            Wanted::Branch(..) => self.dice.percent(6),
            Wanted::Columns(_) => false,
        };
        if combines {
            return self.combined(outer, wanted);
        }
        let (select, scope, types) = self.select(outer, &wanted);
        let columns = named(&select.items, &types);
        let on = matches!(select.distinct, Distinct::On(_));
        let is_distinct = select.distinct == Distinct::Yes;
        let mut query = Query::select(select);
        let is_top = wanted == Wanted::Top;
        if on || self.dice.percent(if is_top { 70 } else { 12 }) {
            self.order(&mut query, (!is_distinct).then_some(&scope), on);
        }
        if self.dice.percent(if is_top { 30 } else { 60 }) {
            self.limit(&mut query, is_top);
        }
        (query, columns)
    }

    fn combined(&mut self, outer: &[Atom], wanted: Wanted) -> (Query, Vec<(String, Type)>) {
        let types = match &wanted {
            Wanted::Branch(types, _) => types.clone(),
            _ => (0..self.dice.between(1, 3))
                .map(|_| self.canonical_type())
                .collect(),
        };
        let operator = *self.dice.pick(&[
            "UNION",
            "UNION ALL",
            "UNION ALL",
            "INTERSECT",
            "EXCEPT",
            "EXCEPT ALL",
            "INTERSECT ALL",
        ]);
        let named = matches!(wanted, Wanted::Named | Wanted::Branch(_, true));
        let (left, columns) = self.query(outer, Wanted::Branch(types.clone(), named));
        let (right, _) = self.query(outer, Wanted::Branch(types, false));
        let mut query = Query {
            with: Vec::new(),
            recursive: false,
            body: Body::Set {
                operator,
                left: Box::new(left),
                right: Box::new(right),
            },
            order: Vec::new(),
            limit: Limit::None,
        };
        let is_top = wanted == Wanted::Top;
        if self.dice.percent(if is_top { 60 } else { 15 }) {
            self.order(&mut query, None, false);
            self.limit(&mut query, false);
        }
        (query, columns)
    }

    pub fn canonical_type(&mut self) -> Type {
        loop {
            let ty = types::ALL[self.dice.skewed_below(types::ALL.len())];
            if ty.is_canonical() {
                return ty;
            }
        }
    }

    fn select(&mut self, outer: &[Atom], wanted: &Wanted) -> (Select, Scope, Vec<Type>) {
        let (from, scope) = self.from_clause(outer);
        let mut filter = None;
        if !outer.is_empty() && self.dice.percent(60) {
            filter = self.equality(&scope.atoms, outer);
        }
        if self.dice.percent(60) {
            let condition = self.condition(&scope, 2);
            filter = Some(match filter {
                Some(other) => other.and(condition),
                None => condition,
            });
        }
        if self.dice.percent(20) {
            let condition = self.condition(&scope, 2);
            filter = Some(match filter {
                Some(other) => other.and(condition),
                None => condition,
            });
        }
        let mut select = Select {
            distinct: Distinct::No,
            items: Vec::new(),
            from,
            filter,
            group: Vec::new(),
            grouping: Grouping::Plain,
            having: None,
            window: None,
        };
        let is_branch = matches!(wanted, Wanted::Branch(..));
        let grouped = self.dice.percent(32);
        let mut windows = Vec::new();
        let mut scope = if grouped {
            self.grouped(&mut select, scope)
        } else {
            scope
        };
        if self.dice.percent(if grouped { 6 } else { 12 }) && !is_branch {
            for _ in 0..self.dice.between(1, 2) {
                let atom = self.window_function(&scope, &mut select.window);
                windows.push(atom);
            }
            scope.atoms.append(&mut windows);
        }
        select.distinct = match self.dice.below(100) {
            0..10 => Distinct::Yes,
            10..16 if !is_branch => Distinct::On(1),
            _ => Distinct::No,
        };
        let must_be_canonical = is_branch || select.distinct != Distinct::No;
        let mut types = match wanted {
            Wanted::Branch(types, _) | Wanted::Columns(types) => types.clone(),
            _ => (0..self.dice.between(1, 5))
                .map(|_| self.any_type(&scope))
                .collect(),
        };
        if *wanted == Wanted::Named {
            // Whoever reads it may sort by its columns.
            types.retain(|ty| ty.is_canonical());
            if types.is_empty() {
                types.push(Type::Money);
            }
        }
        if must_be_canonical && !matches!(wanted, Wanted::Columns(_)) {
            types.retain(|ty| ty.is_canonical());
            if types.is_empty() {
                types.push(Type::Int4);
            }
        }
        if let Wanted::Columns(_) = wanted
            && types.iter().any(|ty| !ty.is_canonical())
        {
            select.distinct = Distinct::No;
        }
        for ty in &types {
            let depth = if self.dice.percent(50) { 0 } else { 2 };
            let sql = self.expression(*ty, &scope, depth);
            self.item(&mut select, sql, wanted);
        }
        let whole = *wanted == Wanted::Top && !grouped && select.distinct == Distinct::No;
        if whole && self.dice.percent(8) {
            let id = self.id();
            if self.dice.percent(40) {
                select.items.clear();
            }
            select.items.push(Item {
                id,
                sql: Sql::text("*"),
                alias: None,
            });
        }
        if let Distinct::On(count) = &mut select.distinct {
            *count = self.dice.between(1, select.items.len().min(2));
        }
        (select, scope, types)
    }

    fn item(&mut self, select: &mut Select, sql: Sql, wanted: &Wanted) {
        let id = self.id();
        let named = matches!(wanted, Wanted::Named | Wanted::Branch(_, true));
        // A derived table keeps some names, for USING and NATURAL.
        let own = plain_name(&sql).filter(|own| {
            !select
                .items
                .iter()
                .any(|item| item.alias.as_ref() == Some(own))
        });
        let used = |name: &str| {
            select
                .items
                .iter()
                .any(|item| item.alias.as_deref() == Some(name))
        };
        let hiding = *self.dice.pick(&["k", "id", "t", "n2"]);
        let alias = match own {
            // A name that FROM may have as well, for something else.
            None if *wanted == Wanted::Top && self.dice.percent(5) && !used(hiding) => {
                Some(hiding.to_owned())
            }
            Some(own) if named && self.dice.percent(50) => Some(own),
            _ if named || self.dice.percent(40) => Some(format!("c{id}")),
            _ => None,
        };
        select.items.push(Item { id, sql, alias });
    }
}

/// `t1.k` as `k`.
fn plain_name(sql: &Sql) -> Option<String> {
    let Sql::Expression(expression) = sql else {
        return None;
    };
    match &expression.parts[..] {
        [Sql::Text(text)] if !text.contains('(') => text.rsplit('.').next().map(str::to_owned),
        _ => None,
    }
}

fn named(items: &[Item], types: &[Type]) -> Vec<(String, Type)> {
    let columns = items.iter().zip(types);
    columns
        .map(|(item, ty)| (item.alias.clone().unwrap_or_default(), *ty))
        .collect()
}
