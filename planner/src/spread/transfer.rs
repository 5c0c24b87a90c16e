//! INSERT of a query's rows, which the router takes to their shards.
//!
//! Entry point: [`transfer`]. The query is one of its own, answered on whatever rung it can be; its rows are stored by COPY. What
//! INSERT can do beyond COPY is left out.

use catalog::{Table, TableKind, quote_identifier};

use crate::parse::{Node, OverridingKind, nodes};
use crate::piece::{Piece, piece};
use crate::relation::{Found, look_up};
use crate::{
    Context, Learned, Load, LoadFormat, LoadKey, LoadTarget, StatementTag, Transfer, TransferSource,
};

/// The plan, if this INSERT stores the rows of a query and does nothing else. `own`: its text, which begins at this byte.
pub(super) fn transfer(
    insert: &nodes::InsertStmt,
    (own, start): (&str, usize),
    parameters: u16,
    context: &Context<'_>,
) -> Option<Transfer> {
    let relation = insert.relation()?;
    let Found::Table(table) = look_up(
        context,
        relation.schemaname(),
        relation.relname().unwrap_or_default(),
    ) else {
        return None;
    };
    let TableKind::Sharded { group, key } = &table.kind else {
        return None;
    };
    let plain = insert.on_conflict_clause().is_none()
        && insert.returning_clause().is_none()
        && insert.with_clause().is_none()
        && insert.override_ == OverridingKind::OVERRIDING_NOT_SET;
    let Node::SelectStmt(select) = insert.select_stmt() else {
        return None;
    };
    if !plain {
        return None;
    }
    let names = stored_columns(insert, select, table)?;
    let columns: Vec<(String, u32)> = names
        .iter()
        // A server says which column there is not.
        .map(|name| {
            let known = table.column(name);
            (name.clone(), known.map_or(0, |column| column.type_oid))
        })
        .collect();
    let key = key
        .iter()
        .map(|key| {
            let column = table.column(&key.name)?;
            Some(LoadKey {
                position: names.iter().position(|name| *name == key.name)?,
                key_type: key.key_type,
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                force_null: false,
                force_not_null: false,
            })
        })
        .collect::<Option<_>>()?;
    let at = usize::try_from(relation.location)
        .ok()?
        .checked_sub(start)?;
    let query = query_start(own, at)?;
    let quoted: Vec<String> = names.iter().map(|name| quote_identifier(name)).collect();
    let full = format!(
        "{}.{}",
        quote_identifier(&table.schema),
        quote_identifier(&table.name)
    );
    Some(Transfer {
        statement: start..start + own.len(),
        tag: StatementTag("INSERT"),
        source: TransferSource::Query(query..own.len()),
        copy: format!("COPY {full} ({}) FROM STDIN", quoted.join(", ")),
        table: full,
        load: Load {
            table: table.name.clone(),
            target: LoadTarget::Rows { group: *group, key },
            format: LoadFormat::Text {
                delimiter: b'\t',
                null: "\\N".to_owned(),
            },
            header: false,
            all_columns: None,
        },
        columns,
        parameters,
        learned: Learned::default(),
    })
}

/// The columns that the query's outputs go to. Without a list it depends on how many there are, which only a plain list of
/// expressions tells.
fn stored_columns(
    insert: &nodes::InsertStmt,
    select: &nodes::SelectStmt,
    table: &Table,
) -> Option<Vec<String>> {
    if !insert.cols().is_empty() {
        return insert
            .cols()
            .iter()
            .map(|column| match column {
                Node::ResTarget(column) if column.indirection().is_empty() => {
                    column.name().map(str::to_owned)
                }
                _ => None,
            })
            .collect();
    }
    let outputs = select.target_list().len();
    let is_plain = outputs > 0
        && select
            .target_list()
            .iter()
            .all(|target| match target.val() {
                Node::ColumnRef(reference) => {
                    !matches!(reference.fields().iter().next_back(), Some(Node::A_Star(_)))
                }
                Node::A_Indirection(_) => false,
                _ => true,
            });
    // Generated columns take no values; they are not told from defaults.
    let names = table.columns.iter().map(|column| column.name.clone());
    (is_plain && outputs <= table.columns.len()).then(|| names.take(outputs).collect())
}

/// Where the query of an INSERT begins, whose table is named at this byte.
fn query_start(own: &str, table: usize) -> Option<usize> {
    let text = own.as_bytes();
    let begins = |range: std::ops::Range<usize>| {
        let word = own.get(range).unwrap_or_default();
        ["select", "with", "values", "table"]
            .iter()
            .any(|keyword| word.eq_ignore_ascii_case(keyword))
    };
    // Past the table's name.
    let (_, mut name) = piece(text, table)?;
    while let Some((Piece::Mark(b'.'), dot)) = piece(text, name.end) {
        (_, name) = piece(text, dot.end)?;
    }
    let mut at = name.end;
    let mut depth = 0usize;
    while let Some((kind, range)) = piece(text, at) {
        at = range.end;
        match kind {
            Piece::Mark(b'(') => {
                let mut inner = range.end;
                // A query may have several parentheses around it.
                while let Some((Piece::Mark(b'('), more)) = piece(text, inner) {
                    inner = more.end;
                }
                if depth == 0
                    && let Some((Piece::Word, word)) = piece(text, inner)
                    && begins(word)
                {
                    return Some(range.start);
                }
                depth += 1;
            }
            Piece::Mark(b')') => depth = depth.checked_sub(1)?,
            Piece::Word if depth == 0 && begins(range.clone()) => return Some(range.start),
            Piece::Word | Piece::Mark(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_found() {
        let rest = |sql: &'static str| {
            let at = sql.find("INTO ").map_or(0, |at| at + 5);
            query_start(sql, at).map(|start| &sql[start..])
        };
        assert_eq!(rest("INSERT INTO s.t SELECT 1"), Some("SELECT 1"));
        assert_eq!(
            rest("INSERT INTO values (a, \"select\") /* select */ select 1"),
            Some("select 1")
        );
        assert_eq!(
            rest("INSERT INTO t AS x (a) ((SELECT 1) UNION SELECT 2)"),
            Some("((SELECT 1) UNION SELECT 2)")
        );
        assert_eq!(
            rest("INSERT INTO t (a) WITH x AS (SELECT 1) TABLE x"),
            Some("WITH x AS (SELECT 1) TABLE x")
        );
    }
}
