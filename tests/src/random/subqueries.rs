//! Queries within expressions.

use super::expressions::{Atom, Generator, Scope};
use super::queries::Wanted;
use super::sql::{Body, Distinct, Grouping, Item, Key, Limit, Query, Select, Sql, Style, Target};
use super::templates::AGGREGATES;
use super::types::Type;

impl Generator {
    /// What a query within this scope can name of it.
    fn around(&self, scope: &Scope) -> Vec<Atom> {
        let own = scope
            .atoms
            .iter()
            .filter(|atom| atom.is_column && is_qualified(&atom.sql));
        own.chain(&scope.outer).cloned().collect()
    }

    /// At most one row of one column.
    pub fn scalar_subquery(&mut self, ty: Type, scope: &Scope) -> Sql {
        let outer = self.around(scope);
        let aggregates: Vec<&(Type, &str)> =
            AGGREGATES.iter().filter(|made| made.0 == ty).collect();
        self.subqueries = self.subqueries.saturating_sub(1);
        let sorts = ty.is_canonical() && self.dice.percent(40);
        let query = if !aggregates.is_empty() && !sorts {
            let (from, inner) = self.from_clause(&outer);
            let filter = self.equality(&inner.atoms, &outer);
            let template = self.dice.pick(&aggregates).1;
            let inner = Scope {
                outer: Vec::new(),
                ..inner
            };
            let sql = self.aggregate_of(ty, template, &inner);
            let id = self.id();
            Query::select(Select {
                distinct: Distinct::No,
                items: vec![Item {
                    id,
                    sql,
                    alias: None,
                }],
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
            query.order = vec![Key {
                target: Target::Item(id, Style::Position),
                direction: "",
            }];
            query.limit = Limit::FetchFirst(1);
            query
        };
        let parts = vec![Sql::text("("), Sql::Query(Box::new(query)), Sql::text(")")];
        Sql::expression(ty, parts)
    }

    pub fn subquery_condition(&mut self, scope: &Scope) -> Sql {
        let outer = self.around(scope);
        let choice = self.dice.below(10);
        let ty = if choice < 4 {
            Type::Int4
        } else {
            self.any_type(scope)
        };
        let mut parts = Vec::new();
        if choice < 4 {
            parts.push(Sql::text(if choice == 0 {
                "(NOT EXISTS ("
            } else {
                "EXISTS ("
            }));
        } else {
            parts.push(Sql::text("("));
            parts.push(self.expression(ty, scope, 0));
            parts.push(Sql::text(*self.dice.pick::<&str>(match choice {
                4..7 => &[" IN (", " IN (", " NOT IN ("],
                _ => &[
                    " > ALL (",
                    " = ANY (",
                    " <= ANY (",
                    " <> ALL (",
                    " = SOME (",
                ],
            })));
        }
        let (query, _) = self.query(&outer, Wanted::Columns(vec![ty]));
        parts.push(Sql::Query(Box::new(query)));
        parts.push(Sql::text(match choice {
            1..4 => ")",
            _ => "))",
        }));
        Sql::expression(Type::Bool, parts)
    }
}

/// Whether it means the same within a subquery.
pub fn is_qualified(sql: &Sql) -> bool {
    match sql {
        Sql::Expression(expression) => match &expression.parts[..] {
            [Sql::Text(text)] => text.contains('.'),
            [Sql::Group(_)] => true,
            _ => false,
        },
        _ => false,
    }
}
