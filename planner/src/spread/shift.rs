//! UPDATE of a shard key: rows are deleted where they are, and stored where their new keys belong.
//!
//! Entry point: [`shift`]. Each shard deletes its rows and returns them as they are to become. What a table's triggers, cascades and
//! the like would make of that is asked of a server before it is done.

use catalog::{GroupId, ShardId, TableKind, quote_identifier};

use crate::parse::{Node, nodes};
use crate::relation::{Found, look_up};
use crate::rewrite::{are_shallow, expression, from_and_where};
use crate::{
    Context, Error, Learned, Load, LoadFormat, LoadKey, LoadTarget, Spread, SpreadKind,
    StatementTag, Taken, Transfer, TransferSource,
};

/// The plan. `refused`: why the key cannot be changed in place. `group`: of which each shard can delete its rows by itself.
pub(super) fn shift(
    update: &nodes::UpdateStmt,
    (own, start): (&str, usize),
    (group, shards): (GroupId, Option<Vec<ShardId>>),
    parameters: u16,
    context: &Context<'_>,
    refused: &Error,
) -> Result<Transfer, Error> {
    let because = |what: &str| {
        let message = format!("{} {what}", refused.message());
        Error::unsupported(message)
            .with_hint("Delete the rows and insert them with their new keys.")
    };
    let Some(relation) = update.relation() else {
        return Err(refused.clone());
    };
    let Found::Table(table) = look_up(
        context,
        relation.schemaname(),
        relation.relname().unwrap_or_default(),
    ) else {
        return Err(refused.clone());
    };
    let TableKind::Sharded { key, .. } = &table.kind else {
        return Err(refused.clone());
    };
    if update.returning_clause().is_some() {
        return Err(because("with RETURNING"));
    }
    if update.with_clause().is_some() {
        return Err(because("with WITH"));
    }
    let parts = update
        .target_list()
        .iter()
        .map(|target| target.val())
        .chain(update.from_clause())
        .chain([update.where_clause()]);
    if !are_shallow(parts) {
        return Err(because("by so deep an expression"));
    }
    let called = relation
        .alias()
        .and_then(|alias| alias.aliasname())
        .or(relation.relname())
        .unwrap_or_default();
    let mut values = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        let mut assigned = update
            .target_list()
            .iter()
            .filter(|target| target.name() == Some(column.name.as_str()));
        values.push(match (assigned.next(), assigned.next()) {
            (None, _) => format!(
                "{}.{}",
                quote_identifier(called),
                quote_identifier(&column.name)
            ),
            (Some(target), None) if target.indirection().is_empty() => match target.val() {
                Node::MultiAssignRef(_) => {
                    return Err(because("together with other columns in parentheses"));
                }
                Node::SetToDefault(_) => return Err(because("beside DEFAULT")),
                value => expression(value)?,
            },
            _ => return Err(because("beside a part of a column")),
        });
    }
    let only = if relation.inh { "" } else { "ONLY " };
    let mut name = String::new();
    if let Some(schema) = relation.schemaname() {
        name.push_str(&format!("{}.", quote_identifier(schema)));
    }
    name.push_str(&quote_identifier(relation.relname().unwrap_or_default()));
    let mut rest = from_and_where(update)?;
    if let Some(from) = rest.strip_prefix("FROM ") {
        rest = format!("USING {from}");
    }
    let sql = format!(
        "DELETE FROM {only}{name} AS {} {rest} RETURNING {}",
        quote_identifier(called),
        values.join(", ")
    );
    let keys = key
        .iter()
        .filter_map(|key| {
            let position = table.columns.iter().position(|c| c.name == key.name)?;
            let column = table.columns.get(position)?;
            Some(LoadKey {
                position,
                key_type: key.key_type,
                type_oid: column.type_oid,
                type_modifier: column.type_modifier,
                force_null: false,
                force_not_null: false,
            })
        })
        .collect();
    let full = format!(
        "{}.{}",
        quote_identifier(&table.schema),
        quote_identifier(&table.name)
    );
    let columns = table.columns.iter();
    let quoted: Vec<String> = columns.clone().map(|c| quote_identifier(&c.name)).collect();
    Ok(Transfer {
        statement: start..start + own.len(),
        tag: StatementTag("UPDATE"),
        source: TransferSource::Taken(Taken {
            spread: Spread {
                statement: 0..sql.len(),
                tag: StatementTag("DELETE"),
                group,
                kind: SpreadKind::Each(shards),
                edits: Vec::new().into(),
                returns_rows: true,
                parameters,
                moment: false,
                learned: Learned::default(),
            },
            sql,
        }),
        table: full.clone(),
        copy: format!("COPY {full} ({}) FROM STDIN", quoted.join(", ")),
        load: Load {
            table: table.name.clone(),
            target: LoadTarget::Rows { group, key: keys },
            format: LoadFormat::Text {
                delimiter: b'\t',
                null: "\\N".to_owned(),
            },
            header: false,
            all_columns: None,
        },
        columns: columns.map(|c| (c.name.clone(), c.type_oid)).collect(),
        parameters,
        learned: Learned::default(),
    })
}
