//! Calls of the operator's functions: `SELECT pgweave.shard_table('orders', 'customer_id', colocate_with => 'customers')`.
//!
//! Entry point: [`call`]. Only a SELECT of one such call and nothing else is an admin call, with constants, arrays of constants and
//! parameters as arguments: what an operator asks for must not depend on data.

use crate::operand::Source;
use crate::parse::{ConstValue, Node, absent, names, nodes};
use crate::served::size_function;
use crate::{AdminArg, AdminCall, Error};

/// The admin call that a SELECT is; `None` if it is none.
pub(crate) fn call(
    select: &nodes::SelectStmt,
    source: Source<'_>,
) -> Result<Option<AdminCall>, Error> {
    let Some((function, column, from_clause)) = only_function(select) else {
        return Ok(None);
    };
    let path = names(function.funcname());
    let [.., "pgweave", name] = path.as_slice() else {
        return Ok(None);
    };
    if size_function(name).is_some() {
        return Ok(None);
    }
    let mut parameters = 0;
    let mut arguments = Vec::new();
    for node in function.args() {
        let (label, value) = match node {
            Node::NamedArgExpr(named) => (named.name().map(str::to_owned), named.arg()),
            other => (None, other),
        };
        let value = argument(value, &mut parameters, 0).ok_or_else(|| {
            Error::unsupported(format!(
                "pgweave.{name} takes constants and parameters only"
            ))
            .with_hint("Write the argument as a literal, an array of literals, or a parameter.")
            .at(source.sql, function.location)
        })?;
        arguments.push((label, value));
    }
    if function.agg_star
        || function.agg_distinct
        || function.over().is_some()
        || function.func_variadic
    {
        return Err(
            Error::unsupported(format!("pgweave.{name} is not an aggregate"))
                .at(source.sql, function.location),
        );
    }
    Ok(Some(AdminCall {
        name: (*name).to_owned(),
        arguments,
        column: column.unwrap_or(name).to_owned(),
        from_clause,
        parameters,
    }))
}

/// `SELECT f(…)`, `SELECT f(…) AS x` or `SELECT * FROM f(…)` without anything else.
fn only_function(select: &nodes::SelectStmt) -> Option<(&nodes::FuncCall, Option<&str>, bool)> {
    let bare = absent(select.where_clause())
        && select.group_clause().is_empty()
        && absent(select.having_clause())
        && select.window_clause().is_empty()
        && select.sort_clause().is_empty()
        && absent(select.limit_count())
        && absent(select.limit_offset())
        && select.with_clause().is_none()
        && select.into_clause().is_none()
        && select.distinct_clause().is_empty()
        && select.locking_clause().is_empty()
        && select.larg().is_none();
    if !bare || select.target_list().len() != 1 {
        return None;
    }
    let target = select.target_list().first()?;
    if select.from_clause().is_empty() {
        return match target.val() {
            Node::FuncCall(function) => Some((function, target.name(), false)),
            _ => None,
        };
    }
    let Node::ColumnRef(reference) = target.val() else {
        return None;
    };
    let star = reference.fields().len() == 1
        && matches!(reference.fields().first(), Some(Node::A_Star(_)));
    let (true, 1, Some(Node::RangeFunction(range))) = (
        star,
        select.from_clause().len(),
        select.from_clause().first(),
    ) else {
        return None;
    };
    let (1, Some(Node::NodeList(pair))) = (range.functions().len(), range.functions().first())
    else {
        return None;
    };
    match pair.first() {
        Some(Node::FuncCall(function)) => Some((
            function,
            range.alias().and_then(|alias| alias.aliasname()),
            true,
        )),
        _ => None,
    }
}

/// A constant argument; casts of constants are looked through. Arrays nest no deeper than their text does, and that is limited.
fn argument(node: Node<'_>, parameters: &mut u16, depth: u32) -> Option<AdminArg> {
    if depth > 8 {
        return None;
    }
    match node {
        Node::A_Const(constant) => Some(match constant.val() {
            None => AdminArg::Null,
            Some(ConstValue::String(text)) => AdminArg::Text(text.to_owned()),
            Some(ConstValue::Boolean(value)) => AdminArg::Boolean(value),
            Some(value @ (ConstValue::Integer(_) | ConstValue::Float(_))) => {
                AdminArg::Number(value.to_string())
            }
            Some(_) => return None,
        }),
        Node::ParamRef(parameter) => {
            let number = u16::try_from(parameter.number).ok()?;
            *parameters = (*parameters).max(number);
            Some(AdminArg::Parameter(number.checked_sub(1)?))
        }
        Node::TypeCast(cast) => argument(cast.arg(), parameters, depth + 1),
        Node::A_ArrayExpr(array) => array
            .elements()
            .iter()
            .map(|element| argument(element, parameters, depth + 1))
            .collect::<Option<Vec<_>>>()
            .map(AdminArg::Array),
        _ => None,
    }
}
