//! Queries within a gathered query that the shards answer on their own: their columns are what a server says they are, and partial
//! results are finished where the part is named.

use std::sync::Arc;

use planner::{Gather, GatherPart, GatherTable, Types};

use super::combine::own_types;
use super::finish::finish_text;
use super::gather::{column_list, is_exact_in_binary};
use super::{Session, Step};
use crate::wire::backend;

impl Session {
    /// Has a server describe the parts' rows. `None`: they cannot be brought as they are.
    pub(super) async fn learn_parts(
        &mut self,
        index: usize,
        gather: &Gather,
        types: &Types,
    ) -> Step<Option<Arc<Gather>>> {
        let mut known = gather.clone();
        for table in &mut known.tables {
            let Some(part) = &mut table.part else {
                continue;
            };
            let parameters = own_types(types, &part.sql, false);
            let described = self.describe_text(index, &part.sql, &parameters).await?;
            let description = backend::messages(&described).find(|(tag, _)| *tag == b'T');
            let description = description.map_or(&[][..], |(_, body)| body);
            table.columns.clear();
            let mut modifiers = Vec::new();
            for (name, fixed) in backend::columns(description) {
                let oid = backend::type_oid(description, fixed);
                let name = String::from_utf8_lossy(name).into_owned();
                table.columns.push((name, oid));
                modifiers.push(backend::type_modifier(description, fixed));
            }
            let exact = table
                .columns
                .iter()
                .all(|(_, oid)| is_exact_in_binary(*oid));
            let oids: Vec<u32> = table.columns.iter().map(|(_, oid)| *oid).collect();
            if !exact || part_relation(part, &oids, "").is_none() {
                return Ok(None);
            }
            part.shapes = self
                .query_shapes(index, &part.sql, (&oids, &modifiers), &parameters)
                .await?;
        }
        Ok(Some(Arc::new(known)))
    }
}

/// What a table is called to the client: a part has no name, so it is shown.
pub(super) fn shown(table: &GatherTable) -> String {
    const MOST_CHARACTERS: usize = 200;
    match &table.part {
        None => table.name.name.clone(),
        Some(part) => {
            let mut text: String = part.sql.chars().take(MOST_CHARACTERS).collect();
            if text.len() < part.sql.len() {
                text.push('…');
            }
            format!("a subquery ({text})")
        }
    }
}

/// What shards are asked for the rows of a part, such that a condition on its columns may follow.
pub(super) fn question_of(table: &GatherTable, part: &GatherPart) -> String {
    match table.matches {
        None => part.sql.clone(),
        Some(_) => format!(
            "SELECT {} FROM ({}) AS pgweave_part",
            column_list(&table.columns),
            part.sql
        ),
    }
}

/// The part over its rows, which are in this relation. `None`: partial results of these types are not combined exactly.
pub(super) fn part_relation(part: &GatherPart, oids: &[u32], relation: &str) -> Option<String> {
    let Some(combine) = &part.combine else {
        return Some(relation.to_owned());
    };
    let types = Types {
        columns: oids.to_vec(),
        portable: true,
        ..Types::default()
    };
    let finish = finish_text(combine, &types, &format!("{relation} AS pgweave_relation"))?;
    let outputs = part.outputs.join(", ");
    Some(format!(
        "(SELECT * FROM ({finish}) AS pgweave_finished({outputs}))"
    ))
}
