//! Expressions of a wanted type over what a query can name at some place.

use super::dice::Dice;
use super::sql::{Expression, Id, Literal, Sql};
use super::templates::{AGGREGATES, ANY, ORDERED_AGGREGATES, templates};
use super::types::{self, Type};

/// Something that a place can name.
#[derive(Debug, Clone)]
pub struct Atom {
    pub sql: Sql,
    pub ty: Type,
    /// A column: values that are equal are shown in one way, whatever the type.
    pub is_column: bool,
}

/// What a place can name.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    pub atoms: Vec<Atom>,
    /// Columns of the queries around this one.
    pub outer: Vec<Atom>,
    /// Columns that tell each row from all others that are not the same.
    pub identity: Vec<Sql>,
}

/// Makes one query out of a stream of choices.
pub struct Generator {
    pub dice: Dice,
    next: Id,
    /// How many queries may still be put within others.
    pub subqueries: usize,
    /// Names and columns of common table expressions that can be read.
    pub relations: Vec<super::sources::Relation>,
}

impl Generator {
    pub fn new(dice: Dice) -> Generator {
        Generator {
            dice,
            next: 0,
            subqueries: 3,
            relations: Vec::new(),
        }
    }

    pub fn id(&mut self) -> Id {
        self.next += 1;
        self.next
    }

    pub fn name(&mut self, prefix: &str) -> String {
        format!("{prefix}{}", self.id())
    }

    /// A type that something here has, more often than not.
    pub fn any_type(&mut self, scope: &Scope) -> Type {
        if !scope.atoms.is_empty() && self.dice.percent(80) {
            return self.dice.pick(&scope.atoms).ty;
        }
        types::ALL[self.dice.skewed_below(types::ALL.len())]
    }

    /// An expression no deeper than that.
    pub fn expression(&mut self, ty: Type, scope: &Scope, depth: usize) -> Sql {
        let atoms: Vec<&Atom> = scope.atoms.iter().filter(|atom| atom.ty == ty).collect();
        let from_outside: Vec<&Atom> = scope.outer.iter().filter(|atom| atom.ty == ty).collect();
        if depth == 0 || self.dice.percent(35) {
            if !from_outside.is_empty() && self.dice.percent(25) {
                return self.dice.pick(&from_outside).sql.clone();
            }
            if !atoms.is_empty() && self.dice.percent(if depth == 0 { 75 } else { 90 }) {
                return self.dice.pick(&atoms).sql.clone();
            }
            return self.literal(ty, false);
        }
        if ty == Type::Bool {
            return self.condition(scope, depth);
        }
        if self.subqueries > 0 && self.dice.percent(4) {
            return self.scalar_subquery(ty, scope);
        }
        let own = templates(ty);
        let template = if self.dice.percent(20) {
            *self.dice.pick(ANY)
        } else {
            *self.dice.pick(own)
        };
        self.fill(ty, template, scope, depth - 1)
    }

    /// What WHERE, ON and HAVING are made of: mostly a column beside a value.
    pub fn condition(&mut self, scope: &Scope, depth: usize) -> Sql {
        let choice = self.dice.below(100);
        if choice < 35 && !scope.atoms.is_empty() {
            let atom = self.dice.pick(&scope.atoms).clone();
            let operator = *self
                .dice
                .pick(&[" = ", " = ", " <> ", " < ", " <= ", " > ", " >= "]);
            let bare = atom.is_column && self.dice.percent(60);
            let value = self.literal(atom.ty, bare);
            let parts = vec![
                Sql::text("("),
                atom.sql,
                Sql::text(operator),
                value,
                Sql::text(")"),
            ];
            return Sql::expression(Type::Bool, parts);
        }
        if choice < 45 && self.subqueries > 0 {
            return self.subquery_condition(scope);
        }
        let template = *self.dice.pick(templates(Type::Bool));
        self.fill(Type::Bool, template, scope, depth.saturating_sub(1))
    }

    pub fn literal(&mut self, ty: Type, bare: bool) -> Sql {
        let is_null = !bare && self.dice.percent(4);
        Sql::Expression(Expression {
            ty,
            parts: vec![Sql::Literal(Literal {
                id: self.id(),
                ty,
                text: (!is_null).then(|| ty.value(&mut self.dice).to_owned()),
                parameter: self.dice.percent(50),
                bare,
            })],
        })
    }

    fn fill(&mut self, ty: Type, template: &str, scope: &Scope, depth: usize) -> Sql {
        let parts = self.parts(ty, template, scope, depth);
        Sql::expression(ty, parts)
    }

    pub fn parts(&mut self, ty: Type, template: &str, scope: &Scope, depth: usize) -> Vec<Sql> {
        let mut any = self.any_type(scope);
        if any == Type::IntArray && template.contains("ARRAY[") {
            // An array of arrays is a wider array.
            any = Type::Int4;
        }
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, behind)) = rest.split_once('{') {
            parts.push(Sql::text(text));
            let Some((hole, behind)) = behind.split_once('}') else {
                break;
            };
            rest = behind;
            let wanted = match hole {
                "@" => Some(ty),
                "?" => Some(any),
                _ => Type::from_short(hole),
            };
            match (wanted, hole.split_once('-')) {
                (Some(wanted), _) => {
                    let depth = if self.dice.percent(60) { 0 } else { depth };
                    parts.push(self.expression(wanted, scope, depth));
                }
                (None, Some((first, last))) => {
                    let bound = |text: &str| text.parse().unwrap_or(1);
                    let number = self.dice.between(bound(first), bound(last));
                    parts.push(Sql::text(number.to_string()));
                }
                // Braces of an array or of JSON.
                (None, None) => parts.push(Sql::text(format!("{{{hole}}}"))),
            }
        }
        parts.push(Sql::text(rest));
        parts
    }

    /// An aggregate over rows of this scope.
    pub fn aggregate(&mut self, scope: &Scope) -> Atom {
        // What an aggregate holds must be of its own query alone.
        let scope = Scope {
            outer: Vec::new(),
            ..scope.clone()
        };
        let subqueries = std::mem::take(&mut self.subqueries);
        let is_ordered = self.dice.percent(15);
        let choices = if is_ordered {
            ORDERED_AGGREGATES
        } else {
            AGGREGATES
        };
        // Those that have a column to work on are worth more.
        let mut chosen = self.dice.pick(choices);
        for _ in 0..3 {
            if scope
                .atoms
                .iter()
                .any(|atom| chosen.1.contains(&format!("{{{}}}", atom.ty.short())))
            {
                break;
            }
            chosen = self.dice.pick(choices);
        }
        let (ty, template) = *chosen;
        let depth = usize::from(self.dice.percent(30));
        let mut parts = if is_ordered {
            self.parts_with_equal_holes(template, &scope)
        } else {
            self.parts(ty, template, &scope, depth)
        };
        let is_wrapped = ["array_to_string(", "upper("]
            .iter()
            .any(|function| template.starts_with(function));
        if self.dice.percent(15) && !is_wrapped {
            let condition = self.condition(&scope, 1);
            parts.push(Sql::Optional(vec![
                Sql::text(" FILTER (WHERE "),
                condition,
                Sql::text(")"),
            ]));
        }
        self.subqueries = subqueries;
        Atom {
            sql: Sql::expression(ty, parts),
            ty,
            is_column: false,
        }
    }

    /// That aggregate.
    pub fn aggregate_of(&mut self, ty: Type, template: &str, scope: &Scope) -> Sql {
        let subqueries = std::mem::take(&mut self.subqueries);
        let sql = self.fill(ty, template, scope, 1);
        self.subqueries = subqueries;
        sql
    }

    /// Holes of one type get the same expression, and nothing can be cut in them: the order must stay total.
    pub fn parts_with_equal_holes(&mut self, template: &str, scope: &Scope) -> Vec<Sql> {
        let mut filled: Vec<(Type, Sql)> = Vec::new();
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, behind)) = rest.split_once('{') {
            parts.push(Sql::text(text));
            let Some((hole, behind)) = behind.split_once('}') else {
                break;
            };
            rest = behind;
            let Some(ty) = Type::from_short(hole) else {
                let (first, last) = hole.split_once('-').unwrap_or((hole, hole));
                let bound = |text: &str| text.parse().unwrap_or(1);
                let number = self.dice.between(bound(first), bound(last));
                parts.push(Sql::text(number.to_string()));
                continue;
            };
            let known = filled.iter().find(|(known, _)| *known == ty);
            let sql = match known {
                Some((_, sql)) => sql.clone(),
                None => {
                    let columns: Vec<&Sql> = scope
                        .atoms
                        .iter()
                        .filter(|atom| atom.ty == ty)
                        .filter_map(single)
                        .collect();
                    let sql = match columns.is_empty() {
                        true => Sql::text(format!("'{}'::{}", ty.value(&mut self.dice), ty.name())),
                        false => (*self.dice.pick(&columns)).clone(),
                    };
                    filled.push((ty, sql.clone()));
                    sql
                }
            };
            parts.push(sql);
        }
        parts.push(Sql::text(rest));
        parts
    }
}

/// A column or what is grouped by, which nothing can be cut in.
fn single(atom: &Atom) -> Option<&Sql> {
    let Sql::Expression(Expression { parts, .. }) = &atom.sql else {
        return None;
    };
    match &parts[..] {
        [only] => Some(only),
        _ => None,
    }
}
