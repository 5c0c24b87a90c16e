//! One step down an expression tree.
//!
//! Entry point: [`children`]. Callers keep their own stack of nodes, so that depth costs heap, not stack. Every kind of node that PostgreSQL's
//! grammar puts into an expression is named; one that is not is an error, never skipped. Query nodes
//! (SELECT and its kin) are handed out as they are: entering them is the binder's job.

use crate::Error;
use crate::parse::Node;

/// Pushes the direct children of an expression node.
pub(crate) fn children<'t>(node: Node<'t>, out: &mut Vec<Node<'t>>) -> Result<(), Error> {
    match node {
        Node::None
        | Node::A_Const(_)
        | Node::A_Star(_)
        | Node::ParamRef(_)
        | Node::ColumnRef(_)
        | Node::SetToDefault(_)
        | Node::SQLValueFunction(_)
        | Node::CurrentOfExpr(_)
        | Node::MergeSupportFunc(_)
        | Node::String(_)
        | Node::Integer(_)
        | Node::Float(_)
        | Node::Boolean(_)
        | Node::BitString(_)
        | Node::JsonOutput(_)
        | Node::JsonFormat(_)
        | Node::JsonReturning(_)
        | Node::RangeVar(_)
        | Node::Alias(_) => {}
        Node::SelectStmt(_)
        | Node::InsertStmt(_)
        | Node::UpdateStmt(_)
        | Node::DeleteStmt(_)
        | Node::MergeStmt(_) => {
            out.push(node);
        }
        Node::NodeList(list) => out.extend(list.iter().rev()),
        Node::A_Expr(e) => out.extend([e.rexpr(), e.lexpr()]),
        Node::BoolExpr(e) => out.extend(e.args().iter().rev()),
        Node::SubLink(e) => out.extend([e.subselect(), e.testexpr()]),
        Node::FuncCall(e) => {
            if let Some(window) = e.over() {
                out.push(Node::WindowDef(window));
            }
            out.push(e.agg_filter());
            out.extend(e.agg_order().iter().map(Node::SortBy));
            out.extend(e.args().iter().rev());
        }
        Node::NamedArgExpr(e) => out.push(e.arg()),
        Node::TypeCast(e) => {
            if let Some(name) = e.type_name() {
                out.extend(name.typmods());
            }
            out.push(e.arg());
        }
        Node::TypeName(e) => out.extend(e.typmods()),
        Node::CollateClause(e) => out.push(e.arg()),
        Node::A_Indirection(e) => {
            out.extend(e.indirection());
            out.push(e.arg());
        }
        Node::A_Indices(e) => out.extend([e.lidx(), e.uidx()]),
        Node::A_ArrayExpr(e) => out.extend(e.elements().iter().rev()),
        Node::RowExpr(e) => out.extend(e.args().iter().rev()),
        Node::CaseExpr(e) => {
            out.push(e.defresult());
            out.extend(e.args().iter().rev());
            out.push(e.arg());
        }
        Node::CaseWhen(e) => out.extend([e.result(), e.expr()]),
        Node::CoalesceExpr(e) => out.extend(e.args().iter().rev()),
        Node::MinMaxExpr(e) => out.extend(e.args().iter().rev()),
        Node::NullTest(e) => out.push(e.arg()),
        Node::BooleanTest(e) => out.push(e.arg()),
        Node::XmlExpr(e) => {
            out.extend(e.named_args());
            out.extend(e.args());
        }
        Node::XmlSerialize(e) => out.push(e.expr()),
        Node::GroupingFunc(e) => out.extend(e.args()),
        Node::GroupingSet(e) => out.extend(e.content()),
        Node::SortBy(e) => out.push(e.node()),
        Node::WindowDef(e) => {
            out.extend(e.partition_clause());
            out.extend(e.order_clause().iter().map(Node::SortBy));
            out.extend([e.start_offset(), e.end_offset()]);
        }
        Node::ResTarget(e) => {
            out.push(e.val());
            out.extend(e.indirection());
        }
        Node::MultiAssignRef(e) => out.push(e.source()),
        Node::JsonValueExpr(e) => out.extend([e.raw_expr(), e.formatted_expr()]),
        Node::JsonKeyValue(e) => {
            out.push(e.key());
            out.extend(e.value().map(Node::JsonValueExpr));
        }
        Node::JsonObjectConstructor(e) => out.extend(e.exprs().iter().map(Node::JsonKeyValue)),
        Node::JsonArrayConstructor(e) => out.extend(e.exprs().iter().map(Node::JsonValueExpr)),
        Node::JsonArrayQueryConstructor(e) => out.push(e.query()),
        Node::JsonAggConstructor(e) => {
            out.push(e.agg_filter());
            out.extend(e.agg_order());
            out.extend(e.over().map(Node::WindowDef));
        }
        Node::JsonObjectAgg(e) => {
            out.extend(e.arg().map(Node::JsonKeyValue));
            out.extend(e.constructor().map(Node::JsonAggConstructor));
        }
        Node::JsonArrayAgg(e) => {
            out.extend(e.arg().map(Node::JsonValueExpr));
            out.extend(e.constructor().map(Node::JsonAggConstructor));
        }
        Node::JsonIsPredicate(e) => out.push(e.expr()),
        Node::JsonParseExpr(e) => out.extend(e.expr().map(Node::JsonValueExpr)),
        Node::JsonScalarExpr(e) => out.push(e.expr()),
        Node::JsonSerializeExpr(e) => out.extend(e.expr().map(Node::JsonValueExpr)),
        Node::JsonArgument(e) => out.extend(e.val().map(Node::JsonValueExpr)),
        Node::JsonBehavior(e) => out.push(e.expr()),
        Node::JsonFuncExpr(e) => {
            out.extend(e.context_item().map(Node::JsonValueExpr));
            out.push(e.pathspec());
            out.extend(e.passing());
            out.extend(e.on_empty().map(Node::JsonBehavior));
            out.extend(e.on_error().map(Node::JsonBehavior));
        }
        _ => {
            return Err(Error::unsupported(
                "this expression is not supported by the router",
            ));
        }
    }
    Ok(())
}

/// Pushes what a query or an element of FROM consists of. `false`: the node is neither.
pub(crate) fn query_children<'t>(node: Node<'t>, out: &mut Vec<Node<'t>>) -> bool {
    match node {
        Node::SelectStmt(select) => {
            out.extend(select.distinct_clause());
            out.extend(select.target_list().iter().map(Node::ResTarget));
            out.extend(select.from_clause());
            out.push(select.where_clause());
            out.extend(select.group_clause());
            out.push(select.having_clause());
            out.extend(select.window_clause());
            out.extend(select.values_lists());
            out.extend(select.sort_clause().iter().map(Node::SortBy));
            out.extend([select.limit_offset(), select.limit_count()]);
            if let Some(with) = select.with_clause() {
                out.extend(with.ctes().iter().map(Node::CommonTableExpr));
            }
            out.extend(
                [select.larg(), select.rarg()]
                    .into_iter()
                    .flatten()
                    .map(Node::SelectStmt),
            );
        }
        Node::CommonTableExpr(cte) => out.push(cte.ctequery()),
        Node::JoinExpr(join) => out.extend([join.larg(), join.rarg(), join.quals()]),
        Node::RangeSubselect(subselect) => out.push(subselect.subquery()),
        Node::RangeFunction(function) => out.extend(function.functions()),
        Node::RangeTableSample(sample) => {
            out.push(sample.relation());
            out.extend(sample.args());
            out.push(sample.repeatable());
        }
        Node::RangeVar(_) => {}
        _ => return false,
    }
    true
}
