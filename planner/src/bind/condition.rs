//! Equalities: those of a condition, and those that a query's outputs carry outwards.

use catalog::KeyType;

use super::Binder;
use crate::convert::{Family, family, key_type_of};
use crate::facts::{Fact, Known, Variable};
use crate::operand::{Operand, any_operands, is_equality, is_kind, operand, operand_list};
use crate::parse::{A_Expr_Kind, BoolExprType, Node, SubLinkType, nodes};
use crate::query::{QueryId, QueryKind};
use crate::scope::{Resolved, Scope};

/// More equalities than this in one condition are not looked at.
const FACT_LIMIT: usize = 4096;

impl<'c: 's, 's> Binder<'c, 's> {
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
                Node::SubLink(link) => self.found_in(link, scope, facts),
                _ => {}
            }
        }
    }

    /// What `EXISTS (…)` and `… IN (…)` say of the rows for which they hold: some row of the query has what equals. Only such rows
    /// of the query matter.
    fn found_in(&mut self, link: &nodes::SubLink, scope: &Scope<'_>, facts: &mut Vec<Fact>) {
        let address = std::ptr::from_ref(link).addr();
        let Some((_, query)) = self.sublinks.iter().rfind(|(known, _)| *known == address) else {
            return;
        };
        let query = &self.bound.queries[*query];
        let QueryKind::Level(level) = &query.kind else {
            return;
        };
        match link.sub_link_type {
            SubLinkType::EXISTS_SUBLINK if !level.unconditional => {
                facts.extend(level.facts_of_output(query.first_inner));
            }
            SubLinkType::ANY_SUBLINK
                if self.is_in(link) && !level.barrier && !level.unconditional =>
            {
                let outputs: Vec<Option<Variable>> = query
                    .outputs
                    .iter()
                    .map(|output| {
                        let grouped = level.grouped.as_ref();
                        let variable = output.variable?;
                        grouped
                            .is_none_or(|grouped| grouped.contains(&variable))
                            .then_some(variable)
                    })
                    .collect();
                let tests: Vec<Node<'_>> = match link.testexpr() {
                    Node::RowExpr(row) => row.args().iter().collect(),
                    test => vec![test],
                };
                if tests.len() != outputs.len() {
                    return;
                }
                for (test, output) in tests.into_iter().zip(outputs) {
                    if let (Some(test), Some(output)) = (self.column(test, scope), output) {
                        self.same(test, output, facts);
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether the operator is PostgreSQL's own `=`.
    fn is_in(&self, link: &nodes::SubLink) -> bool {
        let names: Vec<&str> = link.oper_name().iter().filter_map(Node::as_str).collect();
        match names.as_slice() {
            [] | ["="] => self.trusted_equality,
            ["pg_catalog", "="] => true,
            _ => false,
        }
    }

    pub(super) fn is_own_equality(&self, expression: &nodes::A_Expr) -> bool {
        is_equality(expression) && (self.trusted_equality || expression.name().len() == 2)
    }

    pub(super) fn equality(
        &mut self,
        expression: &nodes::A_Expr,
        scope: &Scope<'_>,
        facts: &mut Vec<Fact>,
    ) {
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

    pub(super) fn pair(
        &mut self,
        left: Node<'_>,
        right: Node<'_>,
        scope: &Scope<'_>,
        facts: &mut Vec<Fact>,
    ) {
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

    pub(super) fn same(&self, left: Variable, right: Variable, facts: &mut Vec<Fact>) {
        if self.family(left).is_some() && self.family(left) == self.family(right) {
            facts.push(Fact::Same(left, right));
        }
    }

    pub(super) fn in_set(&mut self, variable: Variable, set: Vec<Operand>, facts: &mut Vec<Fact>) {
        let Some(family) = self.family(variable) else {
            return;
        };
        if !set.iter().all(|operand| operand.fits(family)) {
            return;
        }
        facts.push(Fact::In(variable, self.add_set(set, family)));
    }

    /// Keeps a set and notes its parameters as keys of this family.
    pub(super) fn add_set(&mut self, set: Vec<Operand>, family: Family) -> u32 {
        for operand in &set {
            self.note_key(operand, family);
        }
        self.bound.sets.push(set);
        (self.bound.sets.len() - 1) as u32
    }

    pub(super) fn note_key(&mut self, operand: &Operand, family: Family) {
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
    pub(super) fn column(&self, node: Node<'_>, scope: &Scope<'_>) -> Option<Variable> {
        let Node::ColumnRef(reference) = node else {
            return None;
        };
        match self.relations.resolve(reference, scope) {
            Resolved::Column(variable) if self.family(variable).is_some() => Some(variable),
            Resolved::Column(_) | Resolved::Unclear => None,
        }
    }

    pub(super) fn family(&self, variable: Variable) -> Option<Family> {
        self.bound
            .families
            .get(variable as usize)
            .copied()
            .flatten()
    }

    /// What is known of a query's outputs from outside, for outputs numbered from `first`.
    pub(super) fn lifted_facts(&self, query: QueryId, first: Variable) -> Vec<Fact> {
        let query = &self.bound.queries[query];
        let mut facts = Vec::new();
        match &query.kind {
            QueryKind::Level(level) => {
                let known = Known::new(level.facts_of_output(query.first_inner));
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

/// What equality on a column of this type is worth. Text is left out whose collation may make different texts equal.
pub(crate) fn column_family(column: &catalog::Column) -> Option<Family> {
    match key_type_of(column.type_oid)? {
        KeyType::Text | KeyType::Varchar if column.equal_by_bytes => Some(Family::Text),
        KeyType::Text | KeyType::Varchar | KeyType::Bpchar => None,
        other => Some(family(other)),
    }
}
