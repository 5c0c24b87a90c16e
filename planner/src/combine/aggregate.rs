//! Which aggregates shards can give partial results of, and what these are.

use catalog::GroupId;

use crate::Combined;
use crate::bind::Binder;
use crate::functions::is_aggregate;
use crate::parse::{Node, nodes};
use crate::query::Item;

/// An aggregate of which shards give partial results.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Aggregate {
    /// The sum of counts.
    Count,
    Sum,
    Average,
    /// By the count, the sum, and the sum of squares. `sample`: divided by one less than the count; `root`: the standard deviation.
    Variance {
        sample: bool,
        root: bool,
    },
    /// Combined by the function itself; if the router can do it as well, how.
    Itself(&'static str, Option<Combined>),
}

/// The name of the aggregate of PostgreSQL's own that a call is.
pub(super) fn own_name<'t>(call: &'t nodes::FuncCall, binder: &Binder<'_, '_>) -> Option<&'t str> {
    let path: Vec<&str> = call.funcname().iter().filter_map(Node::as_str).collect();
    let name = match path.as_slice() {
        [name] if binder.context.catalog.functions(name).is_empty() => *name,
        ["pg_catalog", name] => *name,
        _ => return None,
    };
    let plain = !call.agg_within_group && !call.func_variadic && call.over().is_none();
    (plain && is_aggregate(name)).then_some(name)
}

/// The aggregate that a call is, if its partial results can be combined. `apart`: the group by whose shard keys no two shards
/// have the same values, if each shard gives one result per group of the client's.
pub(super) fn aggregate(
    call: &nodes::FuncCall,
    binder: &Binder<'_, '_>,
    apart: Option<GroupId>,
) -> Option<Aggregate> {
    let name = own_name(call, binder)?;
    if !call.agg_order().is_empty() {
        return None;
    }
    let itself = |name, combined| Some(Aggregate::Itself(name, combined));
    // Of these it is the same whether a value comes once or several times.
    match name {
        "min" => return itself("min", Some(Combined::Least { bytewise: false })),
        "max" => return itself("max", Some(Combined::Greatest { bytewise: false })),
        "bool_and" | "every" => return itself("bool_and", Some(Combined::And)),
        "bool_or" => return itself("bool_or", Some(Combined::Or)),
        "bit_and" => return itself("bit_and", Some(Combined::BitAnd)),
        "bit_or" => return itself("bit_or", Some(Combined::BitOr)),
        "range_intersect_agg" => return itself("range_intersect_agg", None),
        "any_value" => return itself("any_value", None),
        _ => {}
    }
    if call.agg_distinct && !apart.is_some_and(|group| is_of_key(call, binder, group)) {
        return None;
    }
    // Of a literal without a type each aggregate makes what it takes.
    let untyped = matches!(
        call.args().first(),
        Some(Node::A_Const(_) | Node::ParamRef(_))
    );
    let variance = |sample, root| {
        // Different values may have the same square.
        (!call.agg_distinct && !untyped).then_some(Aggregate::Variance { sample, root })
    };
    match name {
        "bit_xor" => itself("bit_xor", Some(Combined::BitXor)),
        "count" | "regr_count" => Some(Aggregate::Count),
        "sum" => Some(Aggregate::Sum),
        "avg" if !untyped => Some(Aggregate::Average),
        "stddev" | "stddev_samp" => variance(true, true),
        "stddev_pop" => variance(false, true),
        "variance" | "var_samp" => variance(true, false),
        "var_pop" => variance(false, false),
        _ => None,
    }
}

/// Whether the only argument is the whole shard key of a table of this group, as the table has it.
fn is_of_key(call: &nodes::FuncCall, binder: &Binder<'_, '_>, group: GroupId) -> bool {
    let mut arguments = call.args().iter();
    let (Some(Node::ColumnRef(reference)), None) = (arguments.next(), arguments.next()) else {
        return false;
    };
    let Some(variable) = binder.root_column(reference) else {
        return false;
    };
    binder.bound.items.iter().any(|item| match item {
        Item::Sharded {
            group: of,
            key_variables,
            ..
        } => *of == group && key_variables.as_slice() == [variable],
        Item::Other | Item::Reference { .. } | Item::Derived { .. } | Item::Join(_) => false,
    })
}
