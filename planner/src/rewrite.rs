//! SQL for shards and merge sessions: a changed copy of a client's tree, printed by the grammar library.
//!
//! Entry points: [`SelectEdit`] and [`expression`]. With `parse` the only file that names the library. Copying and printing
//! recurse: [`is_shallow`] must have been asked first.

use pg_raw_parse::make::{MemoryToken, Unique, owned};
use pg_raw_parse::transform::{Assignable, Transform, TransformClosure};
use pg_raw_parse::{NodeMut, deparse};

use crate::Error;
use crate::bind::column_name;
use crate::parse::{
    BoolExprType, ConstValue, LimitOption, Node, SQLValueFunctionOp, SetOperation, nodes,
};
use crate::walk::{children, query_children};

/// How deep a tree may be to be copied and printed.
const DEPTH: u32 = 128;

/// What is different in the copy of a SELECT.
#[derive(Default, Clone)]
pub(crate) struct SelectEdit<'t> {
    /// Columns before all others.
    pub first_columns: Vec<(Node<'t>, String)>,
    /// Columns after those above, as SQL of this module's.
    pub more_columns: Vec<(String, String)>,
    /// Only the columns above, without GROUP BY, HAVING, DISTINCT, ORDER BY and LIMIT.
    pub only_those: bool,
    /// GROUP BY the first so many of them.
    pub grouped_by_first: usize,
    /// Positions of outputs, first columns included, at the end of ORDER BY.
    pub also_order_by: Vec<usize>,
    pub limit: LimitEdit,
    /// Without FOR UPDATE and its kin.
    pub unlocked: bool,
    /// Without ORDER BY.
    pub unordered: bool,
    /// A further condition, as SQL of this module's.
    pub also_where: Option<String>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitEdit {
    #[default]
    Keep,
    None,
    Rows(i64),
    /// `LIMIT $n`, from 1.
    Parameter(u16),
}

impl SelectEdit<'_> {
    /// Whether the statement stays what it is.
    pub fn changes_nothing(&self) -> bool {
        self.first_columns.is_empty()
            && self.more_columns.is_empty()
            && !self.unlocked
            && !self.unordered
            && self.also_where.is_none()
            && !self.only_those
            && self.also_order_by.is_empty()
            && self.limit == LimitEdit::Keep
    }

    /// The changed statement's text.
    pub fn text(&self, select: &nodes::SelectStmt) -> Result<String, Error> {
        let more = self
            .more_columns
            .iter()
            .map(|(sql, name)| {
                Ok((
                    crate::parse::parse(&format!("SELECT {sql}"))?,
                    name.as_str(),
                ))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let also = self
            .also_where
            .as_ref()
            .map(|sql| crate::parse::parse(&format!("SELECT {sql}")))
            .transpose()?;
        let copy = owned(|mem| {
            let mut copy = mem.make_unique(select);
            self.apply(select, &more, &mut copy, mem);
            if self.unlocked {
                copy.as_mut().set_locking_clause(mem.cast_empty());
            }
            if self.unordered {
                copy.as_mut().set_sort_clause(mem.cast_empty());
            }
            if let Some(also) = value(also.as_ref()) {
                let also = mem.make_unique(also);
                let condition = match select.where_clause() {
                    Node::None => also,
                    own => {
                        // One list of conditions, as it is read again.
                        let mut parts = match own {
                            Node::BoolExpr(all) if all.boolop == BoolExprType::AND_EXPR => all
                                .args()
                                .iter()
                                .map(|part| mem.make_unique(part))
                                .collect(),
                            own => vec![mem.make_unique(own)],
                        };
                        parts.push(also);
                        let mut both = mem.make_node::<nodes::BoolExpr>();
                        both.as_mut().set_boolop(BoolExprType::AND_EXPR);
                        both.as_mut().set_args(mem.make_list(&parts));
                        both.uncast()
                    }
                };
                copy.as_mut().set_where_clause(condition);
            }
            copy
        });
        print(Node::SelectStmt(&copy))
    }

    fn apply<'mem>(
        &self,
        select: &nodes::SelectStmt,
        more: &[(crate::parse::Tree, &str)],
        copy: &mut Unique<'mem, &'mem nodes::SelectStmt>,
        mem: MemoryToken<'mem>,
    ) {
        let shift = self.first_columns.len() + more.len();
        let mut targets = Vec::new();
        for (node, name) in &self.first_columns {
            let value = mem.make_unique(*node);
            targets.push(mem.make_res_target(Some(name.as_str()), mem.empty(), value));
        }
        for (tree, name) in more {
            if let Some(Node::SelectStmt(select)) = tree.only()
                && let Some(target) = select.target_list().first()
            {
                let value = mem.make_unique(target.val());
                targets.push(mem.make_res_target(Some(name), mem.empty(), value));
            }
        }
        if !self.only_those {
            targets.extend(
                select
                    .target_list()
                    .iter()
                    .map(|target| mem.make_unique(target)),
            );
        }
        copy.as_mut().set_target_list(mem.make_list(&targets));
        let position = |number: usize| {
            mem.make_a_const(ConstValue::Integer(
                i32::try_from(number).unwrap_or(i32::MAX),
            ))
            .uncast()
        };
        if self.only_those {
            copy.as_mut().set_distinct_clause(mem.empty());
            copy.as_mut().set_having_clause(mem.none());
            copy.as_mut().set_sort_clause(mem.cast_empty());
            copy.as_mut().set_window_clause(mem.empty());
            copy.as_mut().set_limit_count(mem.none());
            copy.as_mut().set_limit_offset(mem.none());
            copy.as_mut()
                .set_limit_option(LimitOption::LIMIT_OPTION_DEFAULT);
            let grouped: Vec<Unique<'mem, Node<'mem>>> =
                (1..=self.grouped_by_first).map(position).collect();
            copy.as_mut().set_group_clause(mem.make_list(&grouped));
            return;
        }
        let moved = |node: Node<'_>| -> Unique<'mem, Node<'mem>> {
            match integer(node) {
                Some(number) => position(number + shift),
                None => mem.make_unique(node),
            }
        };
        if shift > 0 {
            let grouped: Vec<_> = select.group_clause().iter().map(moved).collect();
            copy.as_mut().set_group_clause(mem.make_list(&grouped));
            // Plain DISTINCT is a list with a null in it.
            if select
                .distinct_clause()
                .iter()
                .all(|node| !matches!(node, Node::None))
            {
                let distinct: Vec<_> = select.distinct_clause().iter().map(moved).collect();
                copy.as_mut().set_distinct_clause(mem.make_list(&distinct));
            }
        }
        if shift > 0 || !self.also_order_by.is_empty() {
            let mut sorted = Vec::new();
            for sort in select.sort_clause() {
                let mut sort_copy = mem.make_unique(sort);
                sort_copy.as_mut().set_node(moved(sort.node()));
                sorted.push(sort_copy);
            }
            for column in &self.also_order_by {
                let mut sort = mem.make_node::<nodes::SortBy>();
                sort.as_mut().set_node(position(*column));
                sorted.push(sort);
            }
            copy.as_mut().set_sort_clause(mem.make_list(&sorted));
        }
        let limit = match self.limit {
            LimitEdit::Keep => return,
            LimitEdit::None => mem.none(),
            LimitEdit::Rows(rows) => {
                let text = rows.to_string();
                match i32::try_from(rows) {
                    Ok(rows) => mem.make_a_const(ConstValue::Integer(rows)),
                    Err(_) => mem.make_a_const(ConstValue::Float(&text)),
                }
                .uncast()
            }
            LimitEdit::Parameter(number) => mem.make_param_ref(i32::from(number)).uncast(),
        };
        copy.as_mut().set_limit_offset(mem.none());
        copy.as_mut().set_limit_count(limit);
        if self.limit == LimitEdit::None {
            copy.as_mut()
                .set_limit_option(LimitOption::LIMIT_OPTION_DEFAULT);
        }
    }
}

/// The value of `SELECT value`.
fn value(tree: Option<&crate::parse::Tree>) -> Option<Node<'_>> {
    match tree?.only()? {
        Node::SelectStmt(select) => Some(select.target_list().first()?.val()),
        _ => None,
    }
}

/// The position that `ORDER BY 2` names.
pub(crate) fn integer(node: Node<'_>) -> Option<usize> {
    match node {
        Node::A_Const(constant) => match constant.val()? {
            ConstValue::Integer(number) => usize::try_from(number).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// An expression as SQL.
pub(crate) fn expression(node: Node<'_>) -> Result<String, Error> {
    replaced(node, |_| None)
}

/// The statement with the time of its transaction given by a parameter, `$n` from 1. `None`: a column would lose its name.
pub(crate) fn with_moment(
    select: &nodes::SelectStmt,
    parameter: u16,
) -> Result<Option<String>, Error> {
    let values = ["", "::pg_catalog.date", "::pg_catalog.timestamp"].map(|cast| {
        crate::parse::parse(&format!(
            "SELECT ${parameter}::pg_catalog.timestamptz{cast}"
        ))
    });
    let [Ok(zoned), Ok(date), Ok(local)] = &values else {
        return Err(Error::internal(
            "the time of a transaction cannot be written",
        ));
    };
    let mut named = true;
    let copy = owned(|mem| {
        let mut copy = mem.make_unique(select);
        let mut transform = Moments {
            mem,
            values: [zoned, date, local],
            named: true,
        };
        transform.transform_select_stmt(copy.as_mut());
        named = transform.named;
        copy
    });
    match named {
        true => print(Node::SelectStmt(&copy)).map(Some),
        false => Ok(None),
    }
}

/// Where a SELECT stands in its text: where its first output is, and how many set operations begin there too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(i32, u32);

/// `None`: it cannot be told from others.
pub(crate) fn place_of(select: &nodes::SelectStmt) -> Option<Place> {
    let mut leftmost = select;
    let mut operations = 0;
    while leftmost.op != SetOperation::SETOP_NONE {
        leftmost = leftmost.larg()?;
        operations += 1;
    }
    let first = leftmost.target_list().first()?;
    // What the grammar adds, such as the star of `TABLE name`, stands nowhere.
    (first.location >= 0).then_some(Place(first.location, operations))
}

/// A SELECT within the statement.
pub(crate) fn find(select: &nodes::SelectStmt, place: Place) -> Option<Node<'_>> {
    let mut stack = vec![Node::SelectStmt(select)];
    while let Some(node) = stack.pop() {
        if let Node::SelectStmt(select) = node
            && place_of(select) == Some(place)
        {
            return Some(node);
        }
        let known = query_children(node, &mut stack) || children(node, &mut stack).is_ok();
        if !known {
            return None;
        }
    }
    None
}

/// The statement with other queries, as SQL, in place of some of those within it.
pub(crate) fn with_queries(
    select: &nodes::SelectStmt,
    instead: &[(Place, String)],
) -> Result<String, Error> {
    let parsed = instead
        .iter()
        .map(|(place, sql)| Ok((*place, crate::parse::parse(sql)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let mut replaced = 0;
    let copy = owned(|mem| {
        let mut copy = mem.make_unique(select);
        let mut transform = Queries {
            mem,
            instead: &parsed,
            replaced: 0,
        };
        transform.transform_select_stmt(copy.as_mut());
        replaced = transform.replaced;
        copy
    });
    match replaced == instead.len() {
        true => print(Node::SelectStmt(&copy)),
        false => Err(Error::internal("a query within a statement is not found")),
    }
}

struct Queries<'mem, 'v> {
    mem: MemoryToken<'mem>,
    instead: &'v [(Place, crate::parse::Tree)],
    replaced: usize,
}

impl<'mem> Transform<'mem> for Queries<'mem, '_> {
    fn transform_select_stmt<'mutref>(&mut self, mut node: nodes::SelectStmtMut<'mem, 'mutref>) {
        let place = place_of(&node);
        let found = self.instead.iter().find(|(known, _)| Some(*known) == place);
        let Some(Node::SelectStmt(other)) = found.and_then(|(_, tree)| tree.only()) else {
            return pg_raw_parse::transform::transform_select_stmt(node, self);
        };
        self.replaced += 1;
        let mem = self.mem;
        node.set_distinct_clause(mem.make_unique(other.distinct_clause()));
        node.set_target_list(mem.make_unique(other.target_list()));
        node.set_from_clause(mem.make_unique(other.from_clause()));
        node.set_where_clause(mem.none());
        node.set_group_clause(mem.empty());
        node.set_group_distinct(false);
        node.set_having_clause(mem.none());
        node.set_window_clause(mem.empty());
        node.set_values_lists(mem.empty());
        node.set_sort_clause(mem.make_unique(other.sort_clause()));
        node.set_limit_offset(mem.make_unique(other.limit_offset()));
        node.set_limit_count(mem.make_unique(other.limit_count()));
        node.set_limit_option(other.limit_option);
        node.set_locking_clause(mem.cast_empty());
        node.set_with_clause(mem.make_unique(other.with_clause()));
        node.set_op(SetOperation::SETOP_NONE);
        node.set_all(false);
        node.set_larg(mem.make_unique(other.larg()));
        node.set_rarg(mem.make_unique(other.rarg()));
    }
}

/// A query as SQL.
pub(crate) fn query_text(node: Node<'_>) -> Result<String, Error> {
    print(node)
}

/// The type that a moment is given as: `now()` and its like have the time zone, dates and local times follow from it.
pub(crate) fn moment_type(node: Node<'_>) -> Option<&'static str> {
    match node {
        Node::FuncCall(call) if call.args().is_empty() && call.over().is_none() => {
            let path: Vec<&str> = call.funcname().iter().filter_map(Node::as_str).collect();
            match path.as_slice() {
                ["now" | "transaction_timestamp"]
                | ["pg_catalog", "now" | "transaction_timestamp"] => Some("timestamptz"),
                _ => None,
            }
        }
        Node::SQLValueFunction(function) => match function.op {
            SQLValueFunctionOp::SVFOP_CURRENT_TIMESTAMP => Some("timestamptz"),
            SQLValueFunctionOp::SVFOP_CURRENT_DATE => Some("date"),
            SQLValueFunctionOp::SVFOP_LOCALTIMESTAMP => Some("timestamp"),
            _ => None,
        },
        _ => None,
    }
}

struct Moments<'mem, 'v> {
    mem: MemoryToken<'mem>,
    /// With time zone, as a date, without time zone.
    values: [&'v crate::parse::Tree; 3],
    named: bool,
}

impl<'mem> Transform<'mem> for Moments<'mem, '_> {
    fn transform_node<'mutref>(&mut self, node: Assignable<'mem, 'mutref>) {
        let found = match &*node {
            NodeMut::FuncCall(call) => moment_type(Node::FuncCall(call)),
            NodeMut::SQLValueFunction(function) => moment_type(Node::SQLValueFunction(function)),
            _ => None,
        };
        let value = match found {
            None => return pg_raw_parse::transform::transform_node(node.into_inner(), self),
            Some("date") => self.values[1],
            Some("timestamp") => self.values[2],
            Some(_) => self.values[0],
        };
        if let Some(Node::SelectStmt(select)) = value.only()
            && let Some(target) = select.target_list().first()
        {
            node.replace(self.mem.make_unique(target.val()));
        }
    }

    fn transform_res_target<'mutref>(&mut self, mut node: nodes::ResTargetMut<'mem, 'mutref>) {
        let mut stack = vec![node.val()];
        let mut holds = false;
        while let Some(below) = stack.pop() {
            holds |= moment_type(below).is_some();
            if !matches!(below, Node::SelectStmt(_)) {
                self.named &= children(below, &mut stack).is_ok();
            }
        }
        if holds && node.name().is_none() {
            match column_name(node.val()) {
                Some(name) => {
                    let name = self.mem.copy_string(&name);
                    node.set_name(Some(name));
                }
                None => self.named = false,
            }
        }
        pg_raw_parse::transform::transform_res_target(node, self);
    }
}

/// A call of another function with the same arguments, as SQL.
pub(crate) fn called(node: Node<'_>, name: &str) -> Result<String, Error> {
    let Node::FuncCall(call) = node else {
        return Err(Error::internal("what is to be called otherwise is no call"));
    };
    let copy = owned(|mem| {
        let mut copy = mem.make_unique(call);
        let field = mem.make_string(Some(name)).uncast();
        copy.as_mut().set_funcname(mem.make_list(&[field]));
        copy
    });
    expression(Node::FuncCall(&copy))
}

/// An expression as SQL, with columns of these names in place of some of its parts.
pub(crate) fn replaced(
    node: Node<'_>,
    mut with: impl FnMut(Node<'_>) -> Option<String>,
) -> Result<String, Error> {
    let copy = owned(|mem| {
        let value = mem.make_unique(node);
        let target = mem.make_res_target(None, mem.empty(), value);
        let mut select = mem.make_node::<nodes::SelectStmt>();
        select.as_mut().set_target_list(mem.make_list(&[target]));
        let mut transform = TransformClosure::new(|node| {
            let found = as_node(&node).and_then(&mut with);
            match found {
                Some(name) => {
                    let field = mem.make_string(Some(&name)).uncast();
                    node.replace(mem.make_column_ref(mem.make_list(&[field])).uncast());
                    None
                }
                None => Some(node),
            }
        });
        transform.transform_select_stmt(select.as_mut());
        select
    });
    let text = print(Node::SelectStmt(&copy))?;
    text.strip_prefix("SELECT ")
        .map(str::to_owned)
        .ok_or_else(|| Error::internal("a printed expression does not begin as it should"))
}

/// The kinds of nodes that a replacement may stand for.
fn as_node<'n>(node: &'n NodeMut<'_, '_>) -> Option<Node<'n>> {
    Some(match node {
        NodeMut::FuncCall(node) => Node::FuncCall(node),
        NodeMut::ColumnRef(node) => Node::ColumnRef(node),
        NodeMut::A_Expr(node) => Node::A_Expr(node),
        NodeMut::TypeCast(node) => Node::TypeCast(node),
        NodeMut::CaseExpr(node) => Node::CaseExpr(node),
        NodeMut::CoalesceExpr(node) => Node::CoalesceExpr(node),
        NodeMut::A_Indirection(node) => Node::A_Indirection(node),
        NodeMut::BoolExpr(node) => Node::BoolExpr(node),
        NodeMut::NullTest(node) => Node::NullTest(node),
        NodeMut::MinMaxExpr(node) => Node::MinMaxExpr(node),
        NodeMut::A_Const(node) => Node::A_Const(node),
        _ => return None,
    })
}

/// A tree as SQL that is read as the same tree again: the library forgets some parentheses.
fn print(node: Node<'_>) -> Result<String, Error> {
    let text = deparse(node)
        .map_err(|error| {
            Error::internal(format!("a changed statement cannot be printed: {error}"))
        })?
        .as_str()
        .to_owned();
    let same = crate::parse::parse(&text)
        .is_ok_and(|again| again.only().is_some_and(|read| shape(read) == shape(node)));
    match same {
        true => Ok(text),
        false => Err(Error::internal(format!(
            "a changed statement is read otherwise than it was meant: {text}"
        ))),
    }
}

/// A tree without the places where its nodes stood.
fn shape(node: Node<'_>) -> String {
    /// How the names of fields end that hold such places.
    const PLACES: [&str; 3] = ["location: ", "list_start: ", "list_end: "];
    let drawn = format!("{node:?}");
    let mut shape = String::with_capacity(drawn.len());
    let mut rest = drawn.as_str();
    while let Some(at) = rest.find(": ") {
        let (before, after) = rest.split_at(at + ": ".len());
        shape.push_str(before);
        rest = match PLACES.iter().any(|place| before.ends_with(place)) {
            true => after.trim_start_matches(|byte: char| byte == '-' || byte.is_ascii_digit()),
            false => after,
        };
    }
    shape.push_str(rest);
    shape
}

/// Whether a statement may be copied and printed: it is not too deep, and made of nodes that are known.
pub(crate) fn is_shallow(select: &nodes::SelectStmt) -> bool {
    are_shallow([Node::SelectStmt(select)])
}

/// The same of parts of a statement.
pub(crate) fn are_shallow<'t>(parts: impl IntoIterator<Item = Node<'t>>) -> bool {
    let mut stack: Vec<(Node<'t>, u32)> = parts.into_iter().map(|part| (part, 0)).collect();
    let mut below = Vec::new();
    while let Some((node, depth)) = stack.pop() {
        if depth > DEPTH {
            return false;
        }
        let known = query_children(node, &mut below) || children(node, &mut below).is_ok();
        if !known {
            return false;
        }
        stack.extend(below.drain(..).map(|child| (child, depth + 1)));
    }
    true
}

/// FROM and WHERE of an UPDATE, as SQL.
pub(crate) fn from_and_where(update: &nodes::UpdateStmt) -> Result<String, Error> {
    let copy = owned(|mem| {
        let mut select = mem.make_node::<nodes::SelectStmt>();
        let from: Vec<_> = update
            .from_clause()
            .iter()
            .map(|node| mem.make_unique(node))
            .collect();
        select.as_mut().set_from_clause(mem.make_list(&from));
        let condition = mem.make_unique(update.where_clause());
        select.as_mut().set_where_clause(condition);
        select
    });
    let text = print(Node::SelectStmt(&copy))?;
    let text = text
        .strip_prefix("SELECT")
        .ok_or_else(|| Error::internal("a printed query does not begin as it should"))?;
    Ok(text.trim().to_owned())
}
