//! Queries: whole ones, and those within others.

use super::dice::Dice;
use super::expressions::{Atom, Generator, Scope};
use super::sources::Relation;
use super::sql::{
    Body, Distinct, Group, Grouping, Item, Key, Limit, Literal, Query, Select, Sql, Style, Target,
    With,
};
use super::templates::AGGREGATES;
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

const DIRECTIONS: [&str; 8] = [
    "", "", " DESC", " ASC", " NULLS FIRST", " DESC NULLS LAST", " ASC NULLS LAST", " DESC NULLS FIRST",
];

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
        let how = *self.dice.pick(&["AS", "AS", "AS MATERIALIZED", "AS NOT MATERIALIZED"]);
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
        let start = *self.dice.pick(&["SELECT 1", "SELECT min(id) FROM notes", "SELECT max(i4)::int4 % 3 FROM customers"]);
        let step = *self.dice.pick(&["", ", countries AS x"]);
        let union = *self.dice.pick(&["UNION", "UNION ALL"]);
        let text = match step {
            "" => format!("{start} {union} SELECT {column} + 1 FROM {name} WHERE {column} < 5"),
            _ => format!("{start} UNION SELECT {column} + x.i4 % 2 FROM {name}{step} WHERE {column} < 4"),
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
        self.subqueries = self.subqueries.saturating_sub(usize::from(wanted != Wanted::Top));
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
            _ => (0..self.dice.between(1, 3)).map(|_| self.canonical_type()).collect(),
        };
        let operator = *self.dice.pick(&[
            "UNION", "UNION ALL", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL",
        ]);
        let named = matches!(wanted, Wanted::Named | Wanted::Branch(_, true));
        let (left, columns) = self.query(outer, Wanted::Branch(types.clone(), named));
        let (right, _) = self.query(outer, Wanted::Branch(types, false));
        let mut query = Query {
            with: Vec::new(),
            recursive: false,
            body: Body::Set { operator, left: Box::new(left), right: Box::new(right) },
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

    fn canonical_type(&mut self) -> Type {
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
        let mut scope = if grouped { self.grouped(&mut select, scope) } else { scope };
        if self.dice.percent(if grouped { 6 } else { 12 }) && !is_branch {
            for _ in 0..self.dice.between(1, 2) {
                let atom = self.window_function(&scope, &mut select.window);
                scope.atoms.push(atom);
            }
        }
        select.distinct = match self.dice.below(100) {
            0..10 => Distinct::Yes,
            10..16 if !is_branch => Distinct::On(1),
            _ => Distinct::No,
        };
        let must_be_canonical = is_branch || select.distinct != Distinct::No;
        let mut types = match wanted {
            Wanted::Branch(types, _) | Wanted::Columns(types) => types.clone(),
            _ => (0..self.dice.between(1, 5)).map(|_| self.any_type(&scope)).collect(),
        };
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
            !select.items.iter().any(|item| item.alias.as_ref() == Some(own))
        });
        let alias = match own {
            Some(own) if named && self.dice.percent(50) => Some(own),
            _ if named || self.dice.percent(40) => Some(format!("c{id}")),
            _ => None,
        };
        select.items.push(Item { id, sql, alias });
    }

    /// GROUP BY, and what can be named behind it.
    fn grouped(&mut self, select: &mut Select, scope: Scope) -> Scope {
        let keys = *self.dice.pick(&[0, 1, 1, 1, 2, 2, 3]);
        let mut after = Scope { outer: scope.outer.clone(), ..Scope::default() };
        let inner = Scope { outer: Vec::new(), ..scope };
        for _ in 0..keys {
            let columns: Vec<&Atom> = inner.atoms.iter().filter(|atom| atom.is_column).collect();
            let (sql, ty, is_column) = if !columns.is_empty() && self.dice.percent(75) {
                let atom = *self.dice.pick(&columns);
                (atom.sql.clone(), atom.ty, true)
            } else {
                let ty = self.canonical_type();
                let subqueries = std::mem::take(&mut self.subqueries);
                let sql = self.expression(ty, &inner, 2);
                self.subqueries = subqueries;
                (sql, ty, false)
            };
            if select.group.iter().any(|group| group.sql == sql) {
                continue;
            }
            let id = self.id();
            let style = *self.dice.pick(&[Style::Expression, Style::Position, Style::Alias]);
            select.group.push(Group { id, sql, style });
            let sql = Sql::expression(ty, vec![Sql::Group(id)]);
            after.identity.push(sql.clone());
            after.atoms.push(Atom { sql, ty, is_column });
        }
        if select.group.len() > 1 && self.dice.percent(25) {
            select.grouping = *self.dice.pick(&[Grouping::Rollup, Grouping::Cube, Grouping::Sets]);
            let mut parts = vec![Sql::text("grouping(")];
            for (index, group) in select.group.iter().enumerate() {
                parts.push(Sql::text(if index > 0 { ", " } else { "" }));
                parts.push(Sql::Group(group.id));
            }
            parts.push(Sql::text(")"));
            let grouping = Sql::expression(Type::Int4, parts);
            after.identity.push(grouping.clone());
            after.atoms.push(Atom { sql: grouping, ty: Type::Int4, is_column: false });
        }
        for _ in 0..self.dice.between(usize::from(select.group.is_empty()), 3) {
            let aggregate = self.aggregate(&inner);
            after.atoms.push(aggregate);
        }
        if self.dice.percent(30) {
            select.having = Some(self.condition(&after, 2));
        }
        after
    }

    /// `hidden`: what it may be ordered by beside its items.
    fn order(&mut self, query: &mut Query, hidden: Option<&Scope>, on: bool) {
        let is_set = matches!(query.body, Body::Set { .. });
        let mut left: Vec<u32> = query.items().iter().map(|item| item.id).collect();
        let has_aliases = query.items().iter().any(|item| item.alias.is_some());
        let mut keys = Vec::new();
        let first = if on { left.len() } else { self.dice.between(1, left.len()) };
        let total = on || self.dice.percent(75);
        let count = if total { left.len() } else { first };
        for index in 0..count {
            // DISTINCT ON is over the first ones; a cut of items must not reach beyond them.
            let place = if on { 0 } else { self.dice.below(left.len()) };
            let id = left.remove(place);
            let style = match self.dice.below(3) {
                0 if !is_set => Style::Expression,
                1 if has_aliases => Style::Alias,
                _ => Style::Position,
            };
            keys.push(Key { target: Target::Item(id, style), direction: *self.dice.pick::<&str>(&DIRECTIONS) });
            if let Some(scope) = hidden
                && !on
                && index < first
                && self.dice.percent(15)
            {
                let ty = self.any_type(scope);
                let sql = self.expression(ty, scope, 1);
                let place = self.dice.below(keys.len() + 1);
                let direction = *self.dice.pick(&DIRECTIONS);
                keys.insert(place, Key { target: Target::Hidden(sql), direction });
            }
        }
        query.order = keys;
    }

    fn limit(&mut self, query: &mut Query, is_top: bool) {
        let sorted = query.sorted();
        let is_ordered = !query.order.is_empty();
        if !(sorted.total && is_ordered) && !(is_top && self.dice.percent(50)) {
            return;
        }
        let rows = self.dice.skewed_below(12);
        query.limit = match self.dice.below(10) {
            0 => Limit::FetchFirst(rows),
            1 if is_ordered && query.order.iter().all(|key| matches!(key.target, Target::Item(..))) => {
                Limit::WithTies(rows + 1)
            }
            choice => {
                let limit = self.rows_literal(rows);
                let offset = self.dice.skewed_below(6);
                let offset = self.rows_literal(offset);
                Limit::Rows {
                    limit: (choice < 8).then_some(limit),
                    offset: (choice > 5).then_some(offset),
                }
            }
        };
    }

    fn rows_literal(&mut self, rows: usize) -> Sql {
        Sql::Literal(Literal {
            id: self.id(),
            ty: Type::Int8,
            text: Some(rows.to_string()),
            parameter: self.dice.percent(50),
            bare: self.dice.percent(50),
        })
    }

    /// What a query within this scope can name of it.
    fn around(&self, scope: &Scope) -> Vec<Atom> {
        let own = scope.atoms.iter().filter(|atom| atom.is_column && is_qualified(&atom.sql));
        own.chain(&scope.outer).cloned().collect()
    }

    /// At most one row of one column.
    pub fn scalar_subquery(&mut self, ty: Type, scope: &Scope) -> Sql {
        let outer = self.around(scope);
        let aggregates: Vec<&(Type, &str)> = AGGREGATES.iter().filter(|made| made.0 == ty).collect();
        self.subqueries = self.subqueries.saturating_sub(1);
        let query = if !aggregates.is_empty() && self.dice.percent(60) {
            let (from, inner) = self.from_clause(&outer);
            let filter = self.equality(&inner.atoms, &outer);
            let template = self.dice.pick(&aggregates).1;
            let inner = Scope { outer: Vec::new(), ..inner };
            let sql = self.aggregate_of(ty, template, &inner);
            let id = self.id();
            Query::select(Select {
                distinct: Distinct::No,
                items: vec![Item { id, sql, alias: None }],
                from,
                filter,
                group: Vec::new(),
                grouping: Grouping::Plain,
                having: None,
                window: None,
            })
        } else {
            let (mut query, _) = self.query(&outer, Wanted::Columns(vec![ty]));
            if let Body::Select(select) = &mut query.body
                && matches!(select.distinct, Distinct::On(_))
            {
                select.distinct = Distinct::No;
            }
            let id = query.items()[0].id;
            query.order = vec![Key { target: Target::Item(id, Style::Position), direction: "" }];
            query.limit = Limit::FetchFirst(1);
            query
        };
        let parts = vec![Sql::text("("), Sql::Query(Box::new(query)), Sql::text(")")];
        Sql::expression(ty, parts)
    }

    pub fn subquery_condition(&mut self, scope: &Scope) -> Sql {
        let outer = self.around(scope);
        let choice = self.dice.below(10);
        let ty = if choice < 4 { Type::Int4 } else { self.any_type(scope) };
        let mut parts = Vec::new();
        if choice < 4 {
            parts.push(Sql::text(if choice == 0 { "NOT EXISTS (" } else { "EXISTS (" }));
        } else {
            parts.push(Sql::text("("));
            parts.push(self.expression(ty, scope, 0));
            parts.push(Sql::text(*self.dice.pick::<&str>(match choice {
                4..7 => &[" IN (", " IN (", " NOT IN ("],
                _ => &[" > ALL (", " = ANY (", " <= ANY (", " <> ALL (", " = SOME ("],
            })));
        }
        let (query, _) = self.query(&outer, Wanted::Columns(vec![ty]));
        parts.push(Sql::Query(Box::new(query)));
        parts.push(Sql::text(if choice < 4 { ")" } else { "))" }));
        Sql::expression(Type::Bool, parts)
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

/// Whether it means the same within a subquery.
fn is_qualified(sql: &Sql) -> bool {
    match sql {
        Sql::Expression(expression) => match &expression.parts[..] {
            [Sql::Text(text)] => text.contains('.'),
            [Sql::Group(_)] => true,
            _ => false,
        },
        _ => false,
    }
}

fn named(items: &[Item], types: &[Type]) -> Vec<(String, Type)> {
    let columns = items.iter().zip(types);
    columns.map(|(item, ty)| (item.alias.clone().unwrap_or_default(), *ty)).collect()
}
