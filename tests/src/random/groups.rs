//! GROUP BY and grouping sets.

use super::expressions::{Atom, Generator, Scope};
use super::sql::{From, Group, Grouping, Select, Sql, Style};
use super::subqueries::is_qualified;
use super::types::Type;

impl Generator {
    /// GROUP BY, and what can be named behind it.
    pub fn grouped(&mut self, select: &mut Select, scope: Scope) -> Scope {
        let keys = *self.dice.pick(&[0, 1, 1, 1, 2, 2, 3]);
        let mut after = Scope {
            outer: scope.outer.clone(),
            ..Scope::default()
        };
        let inner = Scope {
            outer: Vec::new(),
            ..scope
        };
        for _ in 0..keys {
            let columns: Vec<&Atom> = inner.atoms.iter().filter(|atom| atom.is_column).collect();
            let (sql, ty, is_column) = if !columns.is_empty() && self.dice.percent(75) {
                let atom = *self.dice.pick(&columns);
                (atom.sql.clone(), atom.ty, is_qualified(&atom.sql))
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
            let style = *self
                .dice
                .pick(&[Style::Expression, Style::Position, Style::Alias]);
            select.group.push(Group { id, sql, style });
            let sql = Sql::expression(ty, vec![Sql::Group(id)]);
            after.identity.push(sql.clone());
            after.atoms.push(Atom { sql, ty, is_column });
        }
        if let ([], [key]) = (&select.group[..], &inner.identity[..])
            && self.dice.percent(30)
            && let Some(key) = inner.atoms.iter().find(|atom| is_only(&atom.sql, key))
        {
            // By a primary key, on which all other columns depend.
            let id = self.id();
            select.group.push(Group {
                id,
                sql: key.sql.clone(),
                style: Style::Expression,
            });
            after.identity.push(key.sql.clone());
            after.atoms = inner
                .atoms
                .iter()
                .filter(|atom| atom.is_column)
                .cloned()
                .collect();
        }
        if select.group.len() > 1 && sorts_groups(select) && self.dice.percent(60) {
            select.filter = None;
            let first = self.dice.below(inner.atoms.len());
            let columns = inner
                .atoms
                .iter()
                .filter(|atom| atom.is_column)
                .cycle()
                .skip(first);
            for (index, column) in columns.take(select.group.len()).enumerate() {
                let group = &mut select.group[index];
                group.sql = column.sql.clone();
                let sql = Sql::expression(column.ty, vec![Sql::Group(group.id)]);
                after.identity[index] = sql.clone();
                after.atoms[index] = Atom {
                    sql,
                    ty: column.ty,
                    is_column: is_qualified(&column.sql),
                };
            }
            select.grouping = *self
                .dice
                .pick(&[Grouping::Rollup, Grouping::Cube, Grouping::Sets]);
            let mut parts = vec![Sql::text("grouping(")];
            for (index, group) in select.group.iter().enumerate() {
                parts.push(Sql::text(if index > 0 { ", " } else { "" }));
                parts.push(Sql::Group(group.id));
            }
            parts.push(Sql::text(")"));
            let grouping = Sql::expression(Type::Int4, parts);
            after.identity.push(grouping.clone());
            after.atoms.push(Atom {
                sql: grouping,
                ty: Type::Int4,
                is_column: false,
            });
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
}

/// Whether a grouping set over this FROM is sure to be sorted. Up to version 17, PostgreSQL forgets that a grouping set makes
/// nulls of a key that is otherwise constant, or equal to another, and leaves it out of a sort.
fn sorts_groups(select: &Select) -> bool {
    let tables = |text: &str| {
        super::schema::TABLES
            .iter()
            .any(|table| text.ends_with(table.name))
    };
    matches!(&select.from[..], [From::Source { sql, .. }] if matches!(&sql[..], [Sql::Text(text)] if tables(text)))
}

fn is_only(sql: &Sql, part: &Sql) -> bool {
    matches!(sql, Sql::Expression(expression) if matches!(&expression.parts[..], [one] if one == part))
}
