//! Cutting a query down as long as it stays interesting.
//!
//! Entry point: [`shrink`]. Every possible cut of a tree has a number; cuts are tried in turn, the coarse ones first. A cut may
//! leave nonsense behind: PostgreSQL refuses it, so it is not interesting.

use super::sql::{
    Body, Distinct, Expression, From, Grouping, Limit, Literal, On, Query, Select, Sql, Target,
};
use super::types::Type;

/// The smallest query found that `is_interesting`, which is asked at most `attempts` times.
pub fn shrink(
    query: &Query,
    attempts: usize,
    mut is_interesting: impl FnMut(&Query) -> bool,
) -> Query {
    let mut best = query.clone();
    let mut left = attempts;
    loop {
        let mut cut = 0;
        let mut has_shrunk = false;
        loop {
            let mut candidate = best.clone();
            if !Cutter(cut).query(&mut candidate) {
                break;
            }
            if left == 0 {
                return best;
            }
            if candidate == best || !candidate.is_deterministic(true) {
                cut += 1;
                continue;
            }
            left -= 1;
            if is_interesting(&candidate) {
                best = candidate;
                has_shrunk = true;
            } else {
                cut += 1;
            }
        }
        if !has_shrunk {
            return best;
        }
    }
}

/// How many possible cuts to pass by before the one to make. All methods say whether they made it.
struct Cutter(usize);

impl Cutter {
    fn is_here(&mut self) -> bool {
        let here = self.0 == 0;
        self.0 = self.0.saturating_sub(1);
        here
    }

    /// Something that may be there or not.
    fn clear<T>(&mut self, option: &mut Option<T>) -> bool {
        option.is_some() && self.is_here() && option.take().is_some()
    }

    fn remove<T>(&mut self, items: &mut Vec<T>, least: usize) -> bool {
        for index in (0..items.len()).rev() {
            if items.len() > least && self.is_here() {
                items.remove(index);
                return true;
            }
        }
        false
    }

    fn query(&mut self, query: &mut Query) -> bool {
        let mut within = Vec::new();
        query.visit(&mut |inner| within.push(inner.clone()));
        for inner in within {
            if self.is_here() {
                // What it may read goes with it.
                let with = std::mem::take(&mut query.with);
                let recursive = query.recursive;
                *query = inner;
                if query.with.is_empty() {
                    query.with = with;
                    query.recursive = recursive;
                }
                return true;
            }
        }
        if self.remove(&mut query.with, 0) {
            return true;
        }
        if query.limit != Limit::None && self.is_here() {
            query.limit = Limit::None;
            return true;
        }
        if let Limit::Rows { limit, offset } = &mut query.limit
            && limit.is_some()
            && offset.is_some()
            && (self.clear(limit) || self.clear(offset))
        {
            return true;
        }
        if self.remove(&mut query.order, 0) {
            return true;
        }
        for column in (0..query.items().len()).rev() {
            if query.items().len() > 1 && self.is_here() {
                drop_column(query, column);
                return true;
            }
        }
        for index in 0..query.with.len() {
            if self.sql(&mut query.with[index].query) {
                return true;
            }
        }
        let in_body = match &mut query.body {
            Body::Select(select) => self.select(select),
            Body::Set { left, right, .. } => self.query(left) || self.query(right),
        };
        in_body || self.order(query)
    }

    fn order(&mut self, query: &mut Query) -> bool {
        for key in &mut query.order {
            if !key.direction.is_empty() && self.is_here() {
                key.direction = "";
                return true;
            }
            if let Target::Hidden(sql) = &mut key.target
                && self.sql(sql)
            {
                return true;
            }
        }
        if let Limit::Rows { limit, offset } = &mut query.limit {
            return limit.iter_mut().chain(offset).any(|sql| self.sql(sql));
        }
        false
    }

    fn select(&mut self, select: &mut Select) -> bool {
        if select.distinct != Distinct::No && self.is_here() {
            select.distinct = Distinct::No;
            return true;
        }
        if self.clear(&mut select.filter)
            || self.clear(&mut select.having)
            || self.clear(&mut select.window)
            || self.remove(&mut select.from, 0)
            || self.remove(&mut select.group, 0)
        {
            return true;
        }
        if select.grouping != Grouping::Plain && self.is_here() {
            select.grouping = Grouping::Plain;
            return true;
        }
        let expressions = select.filter.iter_mut().chain(&mut select.having);
        // What grouping sets are over stays a column; see `queries::sorts_groups`.
        let groups = match select.grouping {
            Grouping::Plain => &mut select.group[..],
            _ => &mut [],
        };
        let groups = groups.iter_mut().map(|group| &mut group.sql);
        let items = select.items.iter_mut().map(|item| &mut item.sql);
        select.from.iter_mut().any(|from| self.from(from))
            || expressions
                .chain(groups)
                .chain(items)
                .chain(&mut select.window)
                .any(|sql| self.sql(sql))
            || select
                .items
                .iter_mut()
                .any(|item| self.clear(&mut item.alias))
    }

    fn from(&mut self, from: &mut From) -> bool {
        match from {
            From::Source { sql, .. } => sql.iter_mut().any(|sql| self.sql(sql)),
            From::Join {
                left,
                right,
                on,
                kind,
            } => {
                for side in [left.clone(), right.clone()] {
                    if self.is_here() {
                        *from = *side;
                        return true;
                    }
                }
                if !kind.contains("CROSS")
                    && *on != On::Nothing
                    && *kind != " JOIN "
                    && self.is_here()
                {
                    *kind = " JOIN ";
                    return true;
                }
                if self.from(left) || self.from(right) {
                    return true;
                }
                match on {
                    On::Condition(sql) => self.sql(sql),
                    On::Nothing | On::Using(_) => false,
                }
            }
        }
    }

    fn sql(&mut self, sql: &mut Sql) -> bool {
        match sql {
            Sql::Text(_) | Sql::Group(_) => false,
            Sql::Query(query) => self.query(query),
            Sql::Optional(parts) => {
                if self.is_here() {
                    *sql = Sql::text("");
                    return true;
                }
                parts.iter_mut().any(|part| self.sql(part))
            }
            Sql::Literal(literal) => {
                if literal.parameter && self.is_here() {
                    literal.parameter = false;
                    return true;
                }
                false
            }
            Sql::Expression(expression) => {
                if is_plain(expression) {
                    if self.is_here() {
                        *sql = constant(expression.ty);
                        return true;
                    }
                    return false;
                }
                if self.is_here() {
                    *sql = constant(expression.ty);
                    return true;
                }
                let mut inner = Vec::new();
                descendants(&expression.parts, expression.ty, &mut inner);
                for smaller in inner {
                    if self.is_here() {
                        *sql = smaller;
                        return true;
                    }
                }
                expression.parts.iter_mut().any(|part| self.sql(part))
            }
        }
    }
}

/// Nothing but a name.
fn is_plain(expression: &Expression) -> bool {
    matches!(&expression.parts[..], [Sql::Text(_)])
}

fn constant(ty: Type) -> Sql {
    Sql::Literal(Literal {
        id: 0,
        ty,
        text: ty.pool().first().map(|text| (*text).to_owned()),
        parameter: false,
        bare: false,
    })
}

/// The outermost expressions of that type within these parts.
fn descendants(parts: &[Sql], ty: Type, found: &mut Vec<Sql>) {
    for part in parts {
        match part {
            Sql::Expression(inner) if inner.ty == ty => found.push(part.clone()),
            Sql::Expression(Expression { parts, .. }) | Sql::Optional(parts) => {
                descendants(parts, ty, found);
            }
            _ => {}
        }
    }
}

fn drop_column(query: &mut Query, column: usize) {
    match &mut query.body {
        Body::Select(select) => {
            if column < select.items.len() {
                select.items.remove(column);
            }
        }
        Body::Set { left, right, .. } => {
            drop_column(left, column);
            drop_column(right, column);
        }
    }
}
