//! What PostgreSQL calls an output column without a name: `FigureColname` of `parse_target.c`.

use crate::parse::{A_Expr_Kind, Node, SubLinkType};

/// The name of an expression's column; `None` where versions differ or the expression is not known here.
pub(crate) fn column_name(expression: Node<'_>) -> Option<String> {
    match figure(expression)? {
        Figured::Name(name) | Figured::Weak(name) => Some(name),
        Figured::Nothing => Some("?column?".to_owned()),
    }
}

enum Figured {
    Name(String),
    /// Only for want of a better one.
    Weak(String),
    Nothing,
}

fn figure(mut node: Node<'_>) -> Option<Figured> {
    // The types and CASEs around what has been reached, from the outside.
    let mut weak: Option<String> = None;
    let found = loop {
        let name = |name: &str| Figured::Name(name.to_owned());
        break match node {
            Node::ColumnRef(reference) => {
                let last = reference.fields().iter().next_back();
                last.and_then(Node::as_str).map_or(Figured::Nothing, name)
            }
            Node::A_Indirection(indirection) => {
                match indirection
                    .indirection()
                    .iter()
                    .rev()
                    .find_map(Node::as_str)
                {
                    Some(field) => name(field),
                    None => {
                        node = indirection.arg();
                        continue;
                    }
                }
            }
            Node::FuncCall(call) => {
                name(call.funcname().iter().next_back().and_then(Node::as_str)?)
            }
            Node::A_Expr(expression) if expression.kind == A_Expr_Kind::AEXPR_NULLIF => {
                name("nullif")
            }
            Node::A_Expr(_) | Node::BoolExpr(_) | Node::A_Const(_) | Node::ParamRef(_) => {
                Figured::Nothing
            }
            Node::NullTest(_) | Node::BooleanTest(_) => Figured::Nothing,
            Node::TypeCast(cast) => {
                let names = cast.type_name()?.names();
                let last = names.iter().next_back().and_then(|name| name.sval())?;
                weak.get_or_insert_with(|| last.to_owned());
                node = cast.arg();
                continue;
            }
            Node::CollateClause(clause) => {
                node = clause.arg();
                continue;
            }
            Node::CaseExpr(case) => {
                weak.get_or_insert_with(|| "case".to_owned());
                match case.defresult() {
                    Node::None => Figured::Nothing,
                    result => {
                        node = result;
                        continue;
                    }
                }
            }
            Node::GroupingFunc(_) => name("grouping"),
            Node::SubLink(link) => match link.sub_link_type {
                SubLinkType::EXISTS_SUBLINK => name("exists"),
                SubLinkType::ARRAY_SUBLINK => name("array"),
                SubLinkType::EXPR_SUBLINK => {
                    let Node::SelectStmt(select) = link.subselect() else {
                        return None;
                    };
                    let target = select.target_list().first()?;
                    match target.name() {
                        Some(given) => name(given),
                        None => {
                            node = target.val();
                            continue;
                        }
                    }
                }
                _ => Figured::Nothing,
            },
            Node::A_ArrayExpr(_) => name("array"),
            Node::RowExpr(_) => name("row"),
            Node::CoalesceExpr(_) => name("coalesce"),
            _ => return None,
        };
    };
    Some(match (found, weak) {
        (Figured::Nothing, Some(weak)) => Figured::Weak(weak),
        (found, _) => found,
    })
}
