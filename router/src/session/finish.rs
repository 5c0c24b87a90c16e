//! The text of the query that finishes over partial aggregates: PostgreSQL's own arithmetic, in SQL.

use planner::{Combine, Piece, Types};

/// The finishing query, now that types are known. `None`: it would not be exact.
pub(super) fn finish_text(combine: &Combine, types: &Types, relation: &str) -> Option<String> {
    if !types.portable {
        return None;
    }
    let mut sql = String::new();
    let name = |column: &usize| format!("pgweave_p{column}");
    let type_of = |column: &usize| types.columns.get(combine.keys + column);
    for piece in &combine.finish {
        match piece {
            Piece::Text(text) => sql.push_str(text),
            Piece::Relation => sql.push_str(relation),
            Piece::Count(column) => sql.push_str(&format!(
                "(COALESCE(pg_catalog.sum({}), 0)::pg_catalog.int8)",
                name(column)
            )),
            Piece::Sum(column) => {
                // bigint: sums of integers. Money, reals, numerics and intervals add up to their own type.
                let cast = match type_of(column)? {
                    20 => "::pg_catalog.int8",
                    700 | 701 | 790 | 1186 | 1700 => "",
                    _ => return None,
                };
                sql.push_str(&format!("(pg_catalog.sum({}){cast})", name(column)));
            }
            Piece::Average { sum, count } => {
                // As `avg` divides: numerics, or double precision by the count as double precision. A sum of reals has lost
                // what `avg` keeps.
                let cast = match type_of(sum)? {
                    20 | 1700 => "",
                    701 | 1186 => "::pg_catalog.float8",
                    _ => return None,
                };
                sql.push_str(&format!(
                    "(pg_catalog.sum({}) / NULLIF(pg_catalog.sum({}), 0){cast})",
                    name(sum),
                    name(count)
                ));
            }
            Piece::Variance {
                count,
                sum,
                squares,
                sample,
                root,
            } => {
                // Those of reals depend on the order of rows.
                if !matches!(type_of(sum)?, 20 | 1700) {
                    return None;
                }
                let columns = [name(count), name(sum), name(squares)];
                sql.push_str(&variance(&columns, *sample, *root));
            }
        }
    }
    Some(sql)
}

/// What `numeric_stddev_internal` makes of the count, the sum and the sum of squares of all rows. NaN and infinities among them make
/// all of it NaN, as there.
fn variance([count, sum, squares]: &[String; 3], sample: bool, root: bool) -> String {
    let (least, divisor) = match sample {
        true => ("1", "(n * (n - 1))"),
        false => ("0", "(n * n)"),
    };
    let states = format!(
        "(SELECT n, n * q - s * s AS d FROM (SELECT pg_catalog.sum({count}) AS n, pg_catalog.sum({sum}) AS s, \
         pg_catalog.sum({squares}) AS q) AS pgweave_states) AS pgweave_spread"
    );
    let none =
        format!("WHEN COALESCE(n, 0) <= {least} THEN NULL WHEN d <= 0 THEN 0::pg_catalog.numeric");
    if !root {
        return format!("(SELECT CASE {none} ELSE d / {divisor} END FROM {states})");
    }
    // The root is rounded to as many digits as the quotient has. `sqrt` may give more, and what is rounded twice can be one unit
    // too much: then the true root is less than the half below it.
    let variances = format!(
        "(SELECT n, d, CASE WHEN n > {least} AND d > 0 THEN d / {divisor} END AS v FROM {states}) AS pgweave_variance"
    );
    let roots = format!(
        "(SELECT n, d, v, pg_catalog.round(pg_catalog.sqrt(v), pg_catalog.scale(v)) AS r, \
         ('1e-' || pg_catalog.scale(v))::pg_catalog.numeric AS u FROM {variances}) AS pgweave_root"
    );
    format!(
        "(SELECT CASE {none} WHEN v = 0 OR v = 'NaN'::pg_catalog.numeric THEN v \
         WHEN (r - 0.5 * u) * (r - 0.5 * u) > v THEN r - u ELSE r END FROM {roots})"
    )
}
