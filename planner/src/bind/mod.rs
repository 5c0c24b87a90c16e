//! Binding: from the parse tree to a [`Bound`] query, names resolved as PostgreSQL resolves them.
//!
//! Entry points: [`Binder::select`] and [`Binder::write`]. Every expression of the statement passes through
//! [`Binder::expression`] exactly once, which counts parameters, marks literals, judges functions and binds the queries inside; equalities are read off separately by
//! [`Binder::conditions`]. What cannot be resolved for certain yields no fact, and so no route.

mod call;
mod from;
mod select;
mod write;

use catalog::KeyType;

use crate::convert::{Family, family, key_type_of};
use crate::facts::{Fact, Known, Variable};
use crate::operand::{Operand, Source, any_operands, is_equality, is_kind, operand, operand_list};
use crate::parse::{A_Expr_Kind, BoolExprType, ConstValue, Node, nodes};
use crate::query::{Bound, QueryId, QueryKind};
use crate::scope::{
    BoundRelation, Columns, RelationId, Relations, Resolved, Scope, is_system_column,
};
use crate::walk::children;
use crate::{Context, Error};

/// How deep queries and joins may nest. Each level costs a few kilobytes of stack.
const DEPTH: u32 = 128;

/// More equalities than this in one condition are not looked at.
const FACT_LIMIT: usize = 4096;

pub(crate) struct Binder<'c: 's, 's> {
    pub context: Context<'c>,
    pub source: Source<'s>,
    pub bound: Bound<'c>,
    relations: Relations<'c>,
    depth: u32,
    /// The recursive CTE being bound was referred to by itself.
    recursion_used: bool,
    /// Bare `=` means PostgreSQL's own.
    trusted_equality: bool,
    in_view: bool,
}

impl<'c: 's, 's> Binder<'c, 's> {
    pub fn new(context: Context<'c>, source: Source<'s>) -> Binder<'c, 's> {
        let mut bound = Bound::default();
        bound.findings.harmless = vec![false; source.literals.map_or(0, |literals| literals.len())];
        let system = context
            .search_path
            .iter()
            .position(|schema| schema == "pg_catalog");
        Binder {
            context,
            source,
            bound,
            relations: Relations::default(),
            depth: 0,
            recursion_used: false,
            trusted_equality: matches!(system, None | Some(0)),
            in_view: false,
        }
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Error::TooComplex {
                message: format!("queries are nested deeper than {DEPTH} levels"),
            });
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Goes through an expression; the queries inside it are added to `subqueries`.
    pub fn expression(
        &mut self,
        root: Node<'_>,
        scope: &Scope<'_>,
        subqueries: &mut Vec<QueryId>,
    ) -> Result<(), Error> {
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            match node {
                Node::None => continue,
                Node::SubLink(link) => {
                    stack.push(link.testexpr());
                    subqueries.push(self.query(link.subselect(), scope)?);
                    continue;
                }
                Node::SelectStmt(_) => {
                    subqueries.push(self.query(node, scope)?);
                    continue;
                }
                Node::ParamRef(parameter) => self.count_parameter(parameter)?,
                Node::A_Const(constant) => {
                    self.mark_literal(constant.location);
                    if let Some(ConstValue::String(text)) = constant.val()
                        && means_now(text)
                    {
                        self.bound.findings.unsettle(format!("the value '{text}'"));
                    }
                }
                Node::FuncCall(call) => self.call(call)?,
                Node::TypeCast(cast) => self.cast(cast),
                Node::SetToDefault(_) => self.bound.findings.unsettle("DEFAULT"),
                Node::SQLValueFunction(_) => self
                    .bound
                    .findings
                    .unsettle("CURRENT_TIMESTAMP, CURRENT_USER and the like"),
                Node::ColumnRef(reference) => {
                    let last = reference.fields().iter().next_back().and_then(Node::as_str);
                    if let Some(column) = last.filter(|name| is_system_column(name)) {
                        self.bound
                            .findings
                            .unsettle(format!("the system column {column}"));
                    }
                }
                _ => {}
            }
            children(node, &mut stack)
                .map_err(|error| error.at(self.source.sql, location(node)))?;
        }
        Ok(())
    }

    /// Binds a query inside an expression or FROM.
    fn query(&mut self, node: Node<'_>, scope: &Scope<'_>) -> Result<QueryId, Error> {
        match node {
            Node::SelectStmt(select) => self.select(select, scope),
            _ => Err(Error::unsupported(
                "this kind of subquery is not supported by the router",
            )),
        }
    }

    fn count_parameter(&mut self, parameter: &nodes::ParamRef) -> Result<(), Error> {
        let index = usize::try_from(parameter.number)
            .ok()
            .and_then(|number| number.checked_sub(1));
        let Some(index) = index.filter(|index| *index < usize::from(u16::MAX)) else {
            return Err(Error::invalid(
                "42P02",
                format!("there is no parameter ${}", parameter.number),
            )
            .at(self.source.sql, parameter.location));
        };
        let uses = &mut self.bound.findings.parameters;
        if uses.len() <= index {
            uses.resize(index + 1, Default::default());
        }
        uses[index].total += 1;
        Ok(())
    }

    fn mark_literal(&mut self, location: i32) {
        if let Some((index, _)) = self
            .source
            .literals
            .and_then(|literals| literals.at(self.source.sql, location))
            && let Some(mark) = self.bound.findings.harmless.get_mut(usize::from(index))
        {
            *mark = true;
        }
    }

    /// The equalities among the conjuncts of a condition.
    pub fn conditions(&mut self, root: Node<'_>, scope: &Scope<'_>, facts: &mut Vec<Fact>) {
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            if facts.len() >= FACT_LIMIT {
                return;
            }
            match node {
                Node::BoolExpr(all) if all.boolop == BoolExprType::AND_EXPR => {
                    stack.extend(all.args())
                }
                Node::A_Expr(expression) if self.is_own_equality(expression) => {
                    self.equality(expression, scope, facts);
                }
                _ => {}
            }
        }
    }

    fn is_own_equality(&self, expression: &nodes::A_Expr) -> bool {
        is_equality(expression) && (self.trusted_equality || expression.name().len() == 2)
    }

    fn equality(&mut self, expression: &nodes::A_Expr, scope: &Scope<'_>, facts: &mut Vec<Fact>) {
        let (left, right) = (expression.lexpr(), expression.rexpr());
        if is_kind(expression, A_Expr_Kind::AEXPR_OP) {
            match (left, right) {
                (Node::RowExpr(left), Node::RowExpr(right))
                    if left.args().len() == right.args().len() =>
                {
                    for (left, right) in left.args().iter().zip(right.args()) {
                        self.pair(left, right, scope, facts);
                    }
                }
                _ => self.pair(left, right, scope, facts),
            }
        } else if is_kind(expression, A_Expr_Kind::AEXPR_IN) {
            if let (Some(variable), Node::NodeList(list)) = (self.column(left, scope), right)
                && let Some(set) = operand_list(list, self.source)
            {
                self.in_set(variable, set, facts);
            }
        } else if is_kind(expression, A_Expr_Kind::AEXPR_OP_ANY)
            && let Some(variable) = self.column(left, scope)
            && let Some(set) = any_operands(right, self.source)
        {
            self.in_set(variable, set, facts);
        }
    }

    fn pair(&mut self, left: Node<'_>, right: Node<'_>, scope: &Scope<'_>, facts: &mut Vec<Fact>) {
        match (self.column(left, scope), self.column(right, scope)) {
            (Some(left), Some(right)) => self.same(left, right, facts),
            (Some(variable), None) => {
                if let Some(value) = operand(right, self.source).filter(|operand| !operand.array) {
                    self.in_set(variable, vec![value], facts);
                }
            }
            (None, Some(variable)) => {
                if let Some(value) = operand(left, self.source).filter(|operand| !operand.array) {
                    self.in_set(variable, vec![value], facts);
                }
            }
            (None, None) => {}
        }
    }

    fn same(&self, left: Variable, right: Variable, facts: &mut Vec<Fact>) {
        if self.family(left).is_some() && self.family(left) == self.family(right) {
            facts.push(Fact::Same(left, right));
        }
    }

    fn in_set(&mut self, variable: Variable, set: Vec<Operand>, facts: &mut Vec<Fact>) {
        let Some(family) = self.family(variable) else {
            return;
        };
        if !set.iter().all(|operand| operand.fits(family)) {
            return;
        }
        facts.push(Fact::In(variable, self.add_set(set, family)));
    }

    /// Keeps a set and notes its parameters as keys of this family.
    fn add_set(&mut self, set: Vec<Operand>, family: Family) -> u32 {
        for operand in &set {
            self.note_key(operand, family);
        }
        self.bound.sets.push(set);
        (self.bound.sets.len() - 1) as u32
    }

    fn note_key(&mut self, operand: &Operand, family: Family) {
        let Some(index) = operand.parameter() else {
            return;
        };
        let Some(uses) = self.bound.findings.parameters.get_mut(usize::from(index)) else {
            return;
        };
        uses.keyed += 1;
        if uses.keyed > 1 {
            uses.mixed |= uses.family != Some(family)
                || uses.cast.is_some() != operand.cast.is_some()
                || uses.array != operand.array;
        }
        uses.family = Some(family);
        uses.cast = operand.cast;
        uses.array = operand.array;
    }

    /// The column that an expression is, if equality on it means anything to us.
    fn column(&self, node: Node<'_>, scope: &Scope<'_>) -> Option<Variable> {
        let Node::ColumnRef(reference) = node else {
            return None;
        };
        match self.relations.resolve(reference, scope) {
            Resolved::Column(variable) if self.family(variable).is_some() => Some(variable),
            Resolved::Column(_) | Resolved::Unclear => None,
        }
    }

    fn family(&self, variable: Variable) -> Option<Family> {
        self.bound
            .families
            .get(variable as usize)
            .copied()
            .flatten()
    }

    fn allocate(&mut self, families: impl IntoIterator<Item = Option<Family>>) -> Variable {
        let first = self.bound.families.len() as Variable;
        self.bound.families.extend(families);
        first
    }

    fn add_relation(&mut self, relation: BoundRelation<'c>) -> RelationId {
        self.relations.0.push(relation);
        self.relations.0.len() - 1
    }

    /// A relation of which nothing is known but its name.
    fn add_open(&mut self, name: &str) -> RelationId {
        let first = self.allocate([]);
        self.add_relation(BoundRelation {
            name: name.to_owned(),
            schema: None,
            columns: Columns::Open,
            renamed: Vec::new(),
            first,
        })
    }

    /// What is known of a query's outputs from outside, for outputs numbered from `first`.
    fn lifted_facts(&self, query: QueryId, first: Variable) -> Vec<Fact> {
        let query = &self.bound.queries[query];
        let mut facts = Vec::new();
        match &query.kind {
            QueryKind::Level(level) => {
                let known =
                    Known::new([level.item_facts.as_slice(), level.facts.as_slice()].concat());
                let mut seen: Vec<(Variable, Variable)> = Vec::new();
                for (index, output) in query.outputs.iter().enumerate() {
                    let Some(variable) = output.variable else {
                        continue;
                    };
                    let outer = first + index as Variable;
                    facts.extend(known.sets(variable).map(|set| Fact::In(outer, set)));
                    facts.extend(
                        known
                            .equals(variable)
                            .filter(|other| *other < query.first_inner)
                            .map(|other| Fact::Same(outer, other)),
                    );
                    match seen.iter().find(|(other, _)| known.same(*other, variable)) {
                        Some((_, twin)) => facts.push(Fact::Same(outer, *twin)),
                        None => seen.push((variable, outer)),
                    }
                }
            }
            QueryKind::SetOperation { .. } => {}
            QueryKind::Recursive {
                facts: inductive, ..
            } => {
                facts.extend(
                    inductive
                        .iter()
                        .map(|(index, set)| Fact::In(first + *index as Variable, *set)),
                );
            }
        }
        facts
    }
}

/// What equality on a column of this type is worth. Text is left out unless it is a shard key: an unknown column may have a
/// collation under which different texts are equal.
pub(crate) fn column_family(type_oid: u32) -> Option<Family> {
    match key_type_of(type_oid)? {
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => None,
        other => Some(family(other)),
    }
}

/// Texts that dates and times read as the moment of execution.
fn means_now(text: &str) -> bool {
    let text = text.trim();
    ["now", "today", "tomorrow", "yesterday"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// Where a node stands in the text, for error positions.
fn location(node: Node<'_>) -> i32 {
    match node {
        Node::FuncCall(call) => call.location,
        Node::A_Expr(expression) => expression.location,
        Node::TypeCast(cast) => cast.location,
        _ => -1,
    }
}
