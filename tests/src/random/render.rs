//! A tree as text, with its parameters.

use std::collections::HashMap;

use super::sql::{
    Body, Distinct, From, Group, Grouping, Id, Limit, Literal, On, Query, Select, Sql, Style,
    Target, With,
};

/// A text to send, and the values of `$1`, `$2` and so on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendered {
    pub sql: String,
    pub parameters: Vec<Literal>,
}

/// `parameters`: whether literals that may be parameters are.
pub fn render(query: &Query, parameters: bool) -> Rendered {
    let mut renderer = Renderer {
        with_parameters: parameters,
        ..Renderer::default()
    };
    renderer.query(query);
    renderer.out
}

#[derive(Default)]
struct Renderer {
    out: Rendered,
    with_parameters: bool,
    groups: HashMap<Id, Sql>,
}

impl Renderer {
    fn put(&mut self, text: &str) {
        self.out.sql.push_str(text);
    }

    fn each<T>(&mut self, items: &[T], separator: &str, mut put: impl FnMut(&mut Self, &T)) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.put(separator);
            }
            put(self, item);
        }
    }

    fn query(&mut self, query: &Query) {
        if !query.with.is_empty() {
            self.put(if query.recursive {
                "WITH RECURSIVE "
            } else {
                "WITH "
            });
            self.each(&query.with, ", ", |this, With { head, query, .. }| {
                this.put(head);
                this.put(" (");
                this.sql(query);
                this.put(")");
            });
            self.put(" ");
        }
        match &query.body {
            Body::Select(select) => self.select(select, query),
            Body::Set {
                operator,
                left,
                right,
            } => {
                self.branch(left);
                self.put(&format!(" {operator} "));
                self.branch(right);
            }
        }
        let keys: Vec<String> = query
            .order
            .iter()
            .filter_map(|key| Some(self.target(&key.target, query)? + key.direction))
            .collect();
        if !keys.is_empty() {
            self.put(" ORDER BY ");
            self.put(&keys.join(", "));
        }
        match &query.limit {
            Limit::None => {}
            Limit::Rows { limit, offset } => {
                for (word, sql) in [(" LIMIT ", limit), (" OFFSET ", offset)] {
                    if let Some(sql) = sql {
                        self.put(word);
                        self.sql(sql);
                    }
                }
            }
            Limit::FetchFirst(rows) => self.put(&format!(" FETCH FIRST {rows} ROWS ONLY")),
            // Without an order it is not allowed.
            Limit::WithTies(rows) if !keys.is_empty() => {
                self.put(&format!(" FETCH FIRST {rows} ROWS WITH TIES"));
            }
            Limit::WithTies(_) => {}
        }
    }

    fn branch(&mut self, query: &Query) {
        let is_plain = matches!(query.body, Body::Select(_))
            && query.with.is_empty()
            && query.order.is_empty()
            && query.limit == Limit::None;
        if is_plain {
            return self.query(query);
        }
        self.put("(");
        self.query(query);
        self.put(")");
    }

    fn select(&mut self, select: &Select, query: &Query) {
        for group in &select.group {
            self.groups.insert(group.id, group.sql.clone());
        }
        self.put("SELECT ");
        match select.distinct {
            Distinct::No => {}
            Distinct::Yes => self.put("DISTINCT "),
            Distinct::On(count) => {
                let keys: Vec<String> = query
                    .order
                    .iter()
                    .filter_map(|key| self.target(&key.target, query))
                    .take(count)
                    .collect();
                if keys.is_empty() {
                    self.put("DISTINCT ");
                } else {
                    self.put(&format!("DISTINCT ON ({}) ", keys.join(", ")));
                }
            }
        }
        self.each(&select.items, ", ", |this, item| {
            this.sql(&item.sql);
            if let Some(alias) = &item.alias {
                this.put(" AS ");
                this.put(alias);
            }
        });
        if !select.from.is_empty() {
            self.put(" FROM ");
            self.each(&select.from, ", ", |this, from| this.from(from));
        }
        if let Some(filter) = &select.filter {
            self.put(" WHERE ");
            self.sql(filter);
        }
        self.group_by(select);
        if let Some(having) = &select.having {
            self.put(" HAVING ");
            self.sql(having);
        }
        if let Some(window) = &select.window {
            self.put(" WINDOW ");
            self.sql(window);
        }
    }

    fn group_by(&mut self, select: &Select) {
        if select.group.is_empty() {
            return;
        }
        let keys: Vec<String> = select
            .group
            .iter()
            .map(|group| self.group_key(group, select))
            .collect();
        let all = keys.join(", ");
        self.put(&match select.grouping {
            Grouping::Plain => format!(" GROUP BY {all}"),
            Grouping::Rollup => format!(" GROUP BY ROLLUP ({all})"),
            Grouping::Cube => format!(" GROUP BY CUBE ({all})"),
            Grouping::Sets => format!(" GROUP BY GROUPING SETS (({all}), ({}), ())", keys[0]),
        });
    }

    fn group_key(&mut self, group: &Group, select: &Select) -> String {
        let item = select
            .items
            .iter()
            .position(|item| item.sql.is_group(group.id));
        let alias = item.and_then(|item| select.items[item].alias.clone());
        match (group.style, item, alias) {
            (Style::Position, Some(item), _) => (item + 1).to_string(),
            // Other aliases might be names of columns as well, which come first here.
            (Style::Alias, Some(_), Some(alias)) if alias.starts_with('c') => alias,
            _ => self.apart(&group.sql),
        }
    }

    fn target(&mut self, target: &Target, query: &Query) -> Option<String> {
        match target {
            Target::Hidden(sql) => Some(self.apart(sql)),
            Target::Item(id, style) => {
                let items = query.items();
                let position = items.iter().position(|item| item.id == *id)?;
                let item = &items[position];
                let set = matches!(query.body, Body::Set { .. });
                Some(match (style, &item.alias) {
                    (Style::Alias, Some(alias))
                        if !items.iter().any(|item| item.is_named(alias)) =>
                    {
                        alias.clone()
                    }
                    (Style::Expression, _) if !set => {
                        let text = self.apart(&item.sql);
                        // A mere name means what the output calls so, which may be another item.
                        let is_taken = items
                            .iter()
                            .any(|other| other.id != *id && other.alias.as_ref() == Some(&text));
                        if is_taken {
                            (position + 1).to_string()
                        } else {
                            text
                        }
                    }
                    _ => (position + 1).to_string(),
                })
            }
        }
    }

    /// The text that is put now, taken away.
    fn apart(&mut self, sql: &Sql) -> String {
        let start = self.out.sql.len();
        self.sql(sql);
        self.out.sql.split_off(start)
    }

    fn from(&mut self, from: &From) {
        match from {
            From::Source { sql, alias } => {
                for part in sql {
                    self.sql(part);
                }
                self.put(" ");
                self.put(alias);
            }
            From::Join {
                kind,
                left,
                right,
                on,
            } => {
                self.from(left);
                self.put(kind);
                let nested = matches!(**right, From::Join { .. });
                self.put(if nested { "(" } else { "" });
                self.from(right);
                self.put(if nested { ")" } else { "" });
                match on {
                    On::Nothing => {}
                    On::Using(columns) => self.put(&format!(" USING ({})", columns.join(", "))),
                    On::Condition(sql) => {
                        self.put(" ON ");
                        self.sql(sql);
                    }
                }
            }
        }
    }

    fn sql(&mut self, sql: &Sql) {
        match sql {
            Sql::Text(text) => self.put(text),
            Sql::Expression(expression) => {
                expression.parts.iter().for_each(|part| self.sql(part));
            }
            Sql::Optional(parts) => parts.iter().for_each(|part| self.sql(part)),
            Sql::Literal(literal) => self.literal(literal),
            Sql::Group(id) => match self.groups.get(id).cloned() {
                Some(group) => self.sql(&group),
                None => self.put("NULL"),
            },
            Sql::Query(query) => self.query(query),
        }
    }

    fn literal(&mut self, literal: &Literal) {
        let value = if self.with_parameters && literal.parameter {
            let known = &mut self.out.parameters;
            let place = known.iter().position(|known| known.id == literal.id);
            let place = place.unwrap_or_else(|| {
                known.push(literal.clone());
                known.len() - 1
            });
            format!("${}", place + 1)
        } else {
            match &literal.text {
                Some(text) => format!("'{text}'"),
                None => "NULL".to_owned(),
            }
        };
        self.put(&value);
        if !literal.bare {
            self.put("::");
            self.put(literal.ty.name());
        }
    }
}
