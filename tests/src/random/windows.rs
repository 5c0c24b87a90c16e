//! Window functions.

use super::expressions::{Atom, Generator, Scope};
use super::sql::{Expression, Sql};
use super::templates::WINDOW_FUNCTIONS;
use super::types::Type;

impl Generator {
    /// A window function. `named`: the window that the query names `w`, if it does.
    pub fn window_function(&mut self, scope: &Scope, named: &mut Option<Sql>) -> Atom {
        let subqueries = std::mem::take(&mut self.subqueries);
        let scope = Scope {
            outer: Vec::new(),
            ..scope.clone()
        };
        let (free, total) = WINDOW_FUNCTIONS;
        let needs_total = self.dice.percent(50);
        let (ty, template) = *self.dice.pick(if needs_total { total } else { free });
        let mut parts = if needs_total {
            self.parts_with_equal_holes(template, &scope)
        } else {
            self.parts(ty, template, &scope, 1)
        };
        let is_aggregate = !needs_total && !template.ends_with("()");
        if named.is_none() && self.dice.percent(15) {
            *named = Some(self.window(&scope, true, false, "w AS "));
        }
        if named.is_some() && self.dice.percent(60) {
            parts.push(Sql::text(" OVER w"));
        } else {
            parts.push(self.window(&scope, needs_total, is_aggregate, " OVER "));
        }
        self.subqueries = subqueries;
        Atom {
            sql: Sql::expression(ty, parts),
            ty,
            is_column: false,
        }
    }

    fn window(&mut self, scope: &Scope, total: bool, framed: bool, before: &str) -> Sql {
        let mut text = format!("{before}(");
        let columns: Vec<&Atom> = scope.atoms.iter().filter(|atom| atom.is_column).collect();
        let mut parts = Vec::new();
        if !columns.is_empty() && self.dice.percent(60) {
            let column = self.dice.pick(&columns).sql.clone();
            parts.push(Sql::text(std::mem::replace(&mut text, " ".to_owned())));
            parts.push(Sql::Optional(vec![Sql::text("PARTITION BY "), column]));
        }
        let mut keys = Vec::new();
        if !columns.is_empty() && self.dice.percent(70) {
            let direction = *self.dice.pick(&["", " DESC", " NULLS FIRST"]);
            keys.push((self.dice.pick(&columns).sql.clone(), direction));
        }
        let is_total = total || self.dice.percent(50);
        if is_total {
            keys.extend(scope.identity.iter().map(|name| (name.clone(), "")));
        }
        if !keys.is_empty() {
            text.push_str(" ORDER BY ");
            for (index, (key, direction)) in keys.into_iter().enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                parts.push(Sql::text(std::mem::take(&mut text)));
                parts.push(key);
                text.push_str(direction);
            }
            if framed && is_total && self.dice.percent(50) {
                text.push_str(self.dice.pick::<&str>(&[
                    " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
                    " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING",
                    " ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW",
                    " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                    " RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
                ]));
            }
        }
        text.push(')');
        parts.push(Sql::text(text));
        // Not an expression: whatever is cut within must leave the order as it is.
        Sql::Expression(Expression {
            ty: Type::Bool,
            parts: frozen(parts),
        })
    }
}

/// The parts with their expressions taken out of the reach of cuts, but for what is optional.
fn frozen(parts: Vec<Sql>) -> Vec<Sql> {
    parts
        .into_iter()
        .flat_map(|part| match part {
            Sql::Expression(Expression { parts, .. }) => frozen(parts),
            Sql::Optional(parts) => vec![Sql::Optional(frozen(parts))],
            other => vec![other],
        })
        .collect()
}
