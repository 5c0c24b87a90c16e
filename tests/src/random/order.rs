//! ORDER BY and LIMIT.

use super::expressions::{Generator, Scope};
use super::sql::{Body, Key, Limit, Literal, Query, Sql, Style, Target};
use super::types::Type;

const DIRECTIONS: [&str; 8] = [
    "",
    "",
    " DESC",
    " ASC",
    " NULLS FIRST",
    " DESC NULLS LAST",
    " ASC NULLS LAST",
    " DESC NULLS FIRST",
];

impl Generator {
    /// `hidden`: what it may be ordered by beside its items.
    pub fn order(&mut self, query: &mut Query, hidden: Option<&Scope>, on: bool) {
        let is_set = matches!(query.body, Body::Set { .. });
        let mut left: Vec<u32> = query
            .items()
            .iter()
            .filter(|item| !item.sql.is_star())
            .map(|item| item.id)
            .collect();
        if left.is_empty() {
            return;
        }
        let has_aliases = query.items().iter().any(|item| item.alias.is_some());
        let mut keys = Vec::new();
        let first = if on {
            left.len()
        } else {
            self.dice.between(1, left.len())
        };
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
            keys.push(Key {
                target: Target::Item(id, style),
                direction: self.dice.pick::<&str>(&DIRECTIONS),
            });
            if let Some(scope) = hidden
                && !on
                && index < first
                && self.dice.percent(15)
            {
                let ty = self.any_type(scope);
                let sql = self.expression(ty, scope, 1);
                let place = self.dice.below(keys.len() + 1);
                let direction = *self.dice.pick(&DIRECTIONS);
                keys.insert(
                    place,
                    Key {
                        target: Target::Hidden(sql),
                        direction,
                    },
                );
            }
        }
        query.order = keys;
    }

    pub fn limit(&mut self, query: &mut Query, is_top: bool) {
        let sorted = query.sorted();
        let is_ordered = !query.order.is_empty();
        let is_fixed = sorted.total && is_ordered;
        if !is_fixed && (!is_top || self.dice.percent(50)) {
            return;
        }
        let rows = self.dice.skewed_below(12);
        query.limit = match self.dice.below(10) {
            0 => Limit::FetchFirst(rows),
            1 if is_ordered
                && query
                    .order
                    .iter()
                    .all(|key| matches!(key.target, Target::Item(..))) =>
            {
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
}
