//! Binding: from the parse tree to a [`Bound`] query, names resolved as PostgreSQL resolves them.
//!
//! Entry points: [`Binder::select`] and [`Binder::write`]. Every expression of the statement passes through
//! [`Binder::expression`] exactly once, which counts parameters, marks literals, judges functions and binds the queries inside; equalities are read off separately by
//! [`Binder::conditions`]. What cannot be resolved for certain yields no fact, and so no route.

mod apart;
mod appearance;
mod call;
mod condition;
mod from;
mod insert;
mod join;
mod name;
mod needed;
mod output;
mod reach;
mod select;
mod set_operation;
mod with;
mod write;

pub(crate) use apart::Apart;
pub(crate) use name::column_name;
pub(crate) use needed::Needed;

use crate::convert::Family;
use crate::facts::Variable;
use crate::operand::Source;
use crate::parse::{ConstValue, Node, SQLValueFunctionOp, SubLinkType, nodes};
use crate::query::{Bound, QueryId};
use crate::rewrite::moment_type;
use crate::scope::{
    BoundRelation, Columns, Namespace, RelationId, Relations, Resolved, Scope, is_system_column,
};
use crate::walk::children;
use crate::{Context, Error};

/// How deep queries and joins may nest. Each level costs a few kilobytes of stack.
const DEPTH: u32 = 128;

pub(crate) struct Binder<'c: 's, 's> {
    pub context: Context<'c>,
    pub source: Source<'s>,
    pub bound: Bound<'c>,
    pub relations: Relations<'c>,
    depth: u32,
    /// At this depth and above, expressions are evaluated for each row that is written.
    row_depth: u32,
    /// The recursive CTE being bound was referred to by itself.
    recursion_used: bool,
    /// Bare `=` means PostgreSQL's own.
    trusted_equality: bool,
    /// The appearance of the view whose definition is being bound.
    within: Option<usize>,
    /// Uses of relations that set something off, and how many of these have been judged.
    reacting: Vec<(String, String, catalog::Event)>,
    reacted: usize,
    /// Calls so far that may be aggregates over rows of a query around the one they stand in.
    aggregates_outside: usize,
    /// Queries in expressions by the addresses of their nodes, for as long as the tree that is being bound lives.
    sublinks: Vec<(usize, QueryId)>,
    /// What the query needs of its tables, if that is asked.
    pub needed: Option<Needed>,
    /// Queries in the statement that could be answered on their own, inner ones before those around them.
    pub apart: Vec<Apart>,
    /// Queries of the statement that have been answered, as tables.
    pub parts: &'c [catalog::Table],
    reach: apart::Reach,
    /// Within so many queries that may never be evaluated, and where such are.
    lazy: u32,
    lazy_links: Vec<usize>,
    /// What FROM made visible in the level that was bound last: in the end, the root.
    pub last_namespace: Namespace,
    /// Those of them that are aggregates for certain.
    outer_aggregates: usize,
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
            row_depth: 1,
            recursion_used: false,
            trusted_equality: matches!(system, None | Some(0)),
            within: None,
            reacting: Vec::new(),
            reacted: 0,
            aggregates_outside: 0,
            outer_aggregates: 0,
            sublinks: Vec::new(),
            needed: None,
            apart: Vec::new(),
            parts: &[],
            reach: apart::Reach::default(),
            lazy: 0,
            lazy_links: Vec::new(),
            last_namespace: Namespace::default(),
        }
    }

    /// The column of FROM that a name in the root's own expressions means.
    pub fn root_column(&self, reference: &nodes::ColumnRef) -> Option<Variable> {
        let scope = Scope {
            namespace: &self.last_namespace,
            parent: None,
            ctes: None,
        };
        match self.relations.resolve(reference, &scope) {
            Resolved::Column(variable) => Some(variable),
            Resolved::Unclear => None,
        }
    }

    /// The table's column that a variable stands for.
    pub fn table_column(&self, variable: Variable) -> Option<&'c catalog::Column> {
        self.relations
            .0
            .iter()
            .find_map(|relation| match relation.columns {
                Columns::Table(table) => {
                    let index = variable.checked_sub(relation.first)? as usize;
                    table.columns.get(index)
                }
                Columns::Listed { .. } | Columns::Open => None,
            })
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
        // The expression is a cast to the name of a table.
        let mut names_table = false;
        while let Some(node) = stack.pop() {
            let named_table = std::mem::take(&mut names_table);
            match node {
                Node::None => continue,
                Node::SubLink(link) => {
                    stack.push(link.testexpr());
                    let address = std::ptr::from_ref(link).addr();
                    let lazy = u32::from(self.lazy_links.contains(&address));
                    self.lazy += lazy;
                    if link.sub_link_type == SubLinkType::EXISTS_SUBLINK {
                        self.note_exists(link.subselect());
                    }
                    let query = self.query(link.subselect(), scope)?;
                    self.lazy -= lazy;
                    // Its columns are not looked at, nor are all of its rows.
                    if link.sub_link_type == SubLinkType::EXISTS_SUBLINK {
                        self.apart.pop_if(|apart| apart.query == query);
                    }
                    self.sublinks.push((address, query));
                    subqueries.push(query);
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
                        self.bound.findings.vary(format!("the value '{text}'"));
                        self.bound.findings.moment_words.push(constant.location);
                    }
                }
                Node::FuncCall(call) => {
                    self.call(call)?;
                    self.note_aggregate(node, scope)?;
                }
                Node::JsonObjectAgg(_) | Node::JsonArrayAgg(_) => {
                    self.note_aggregate(node, scope)?;
                }
                Node::TypeCast(cast) => {
                    // Its argument is looked at next.
                    names_table = is_table_name(cast);
                    if !names_table {
                        self.cast(cast);
                    }
                }
                Node::CaseExpr(_) | Node::CoalesceExpr(_) => self.note_lazy(node),
                Node::CurrentOfExpr(_) => self
                    .bound
                    .findings
                    .keep_in_place("it names the row that a cursor is at"),
                Node::SetToDefault(_) => self.bound.findings.unsettle("DEFAULT"),
                Node::SQLValueFunction(function) if moment_type(node).is_some() => {
                    let location = if self.within.is_some() {
                        -1
                    } else {
                        function.location
                    };
                    let findings = &mut self.bound.findings;
                    findings.ask_moment(location);
                    findings.unsettle("CURRENT_TIMESTAMP and the like");
                }
                Node::SQLValueFunction(function) if tells_of_session(function) => self
                    .bound
                    .findings
                    .vary("CURRENT_TIME, CURRENT_USER and the like"),
                Node::SQLValueFunction(_) => self
                    .bound
                    .findings
                    .differ("CURRENT_TIME, CURRENT_USER and the like"),
                Node::ColumnRef(reference) => {
                    let last = reference.fields().iter().next_back().and_then(Node::as_str);
                    if reference.fields().len() > 2 {
                        self.note_schema(reference, scope);
                    }
                    let mut is_replaced = false;
                    if let Some(column) = last.filter(|name| is_system_column(name)) {
                        let of_table = column == "tableoid" && self.note_tableoid(reference, scope);
                        is_replaced = of_table;
                        if of_table {
                            self.bound.findings.tableoid |= !named_table;
                        } else {
                            let found = &mut self.bound.findings.system_column;
                            found.get_or_insert_with(|| column.to_owned());
                        }
                        self.bound
                            .findings
                            .unsettle(format!("the system column {column}"));
                    }
                    self.function_as_column(reference, scope);
                    self.reach_column(reference, scope);
                    if !is_replaced {
                        self.note_reference(reference, scope);
                    }
                }
                Node::A_Indirection(selection) => self.function_as_field(selection),
                Node::A_Expr(expression) => self.operator(expression),
                _ => {}
            }
            children(node, &mut stack)
                .map_err(|error| error.at(self.source.sql, location(node)))?;
        }
        Ok(())
    }

    /// An aggregate belongs to the innermost query whose columns its arguments name; without columns, to its own.
    fn note_aggregate(&mut self, call: Node<'_>, scope: &Scope<'_>) -> Result<(), Error> {
        let own = Scope {
            parent: None,
            ..*scope
        };
        let mut columns = 0usize;
        let mut stack = Vec::new();
        children(call, &mut stack)?;
        while let Some(node) = stack.pop() {
            match node {
                Node::ColumnRef(reference) => {
                    if matches!(self.relations.resolve(reference, &own), Resolved::Column(_)) {
                        return Ok(());
                    }
                    columns += 1;
                }
                Node::SelectStmt(_) => {}
                _ => children(node, &mut stack)?,
            }
        }
        let certain = match call {
            Node::FuncCall(call) => self.is_aggregate(call),
            _ => true,
        };
        self.aggregates_outside += usize::from(columns > 0);
        self.outer_aggregates += usize::from(columns > 0 && certain);
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
}

/// `tableoid::regclass`, whose text is the same on all servers.
fn is_table_name(cast: &nodes::TypeCast) -> bool {
    let Node::ColumnRef(reference) = cast.arg() else {
        return false;
    };
    let last = reference.fields().iter().next_back().and_then(Node::as_str);
    if last != Some("tableoid") {
        return false;
    }
    let path = cast.type_name().map(|name| {
        let parts = name.names().iter().filter_map(|part| part.sval());
        parts.collect::<Vec<_>>()
    });
    matches!(
        path.as_deref(),
        Some(["regclass"] | ["pg_catalog", "regclass"])
    )
}

/// Texts that dates and times read as the moment of execution.
fn means_now(text: &str) -> bool {
    let text = text.trim();
    ["now", "today", "tomorrow", "yesterday"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}

/// CURRENT_USER and its like: the same on all servers that work for a session.
fn tells_of_session(function: &nodes::SQLValueFunction) -> bool {
    matches!(
        function.op,
        SQLValueFunctionOp::SVFOP_CURRENT_ROLE
            | SQLValueFunctionOp::SVFOP_CURRENT_USER
            | SQLValueFunctionOp::SVFOP_USER
            | SQLValueFunctionOp::SVFOP_SESSION_USER
            | SQLValueFunctionOp::SVFOP_CURRENT_SCHEMA
    )
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
