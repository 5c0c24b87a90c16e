//! Extensions that a table's definition needs: for types, operator classes, functions in defaults and indexes.

use catalog::ShardId;

use crate::ddl::error::Error;
use crate::ddl::participants::Participants;
use crate::store::connection::text;
use crate::store::quote::identifier;

use super::types::create_schema;

/// Name and schema of each extension that the table, or any part of it, depends on.
pub(super) async fn read(
    participants: &mut dyn Participants,
    shard: ShardId,
    table: u32,
) -> Result<Vec<(String, String)>, Error> {
    let rows = participants
        .query(
            shard,
            &format!(
                "SELECT DISTINCT x.extname, n.nspname \
                   FROM (SELECT 'pg_class'::regclass::oid, {table}::oid \
                          UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = {table} \
                          UNION ALL SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = {table} \
                          UNION ALL SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = {table} \
                          UNION ALL SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgrelid = {table} \
                          UNION ALL SELECT 'pg_policy'::regclass, oid FROM pg_policy WHERE polrelid = {table}) part (class, oid) \
                   JOIN pg_depend d ON d.classid = part.class AND d.objid = part.oid \
                   JOIN pg_depend e ON e.classid = d.refclassid AND e.objid = d.refobjid AND e.deptype = 'e' \
                                   AND e.refclassid = 'pg_extension'::regclass \
                   JOIN pg_extension x ON x.oid = e.refobjid \
                   JOIN pg_namespace n ON n.oid = x.extnamespace \
                  ORDER BY 1"
            ),
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok((
                text(row, 0, "pg_extension")?.to_owned(),
                text(row, 1, "pg_extension")?.to_owned(),
            ))
        })
        .collect()
}

/// Installs on `target` what is missing there.
pub async fn ensure(
    participants: &mut dyn Participants,
    target: ShardId,
    extensions: &[(String, String)],
) -> Result<(), Error> {
    for (extension, schema) in extensions {
        participants.query(target, &create_schema(schema)).await?;
        let sql = format!(
            "CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}",
            identifier(extension),
            identifier(schema)
        );
        participants.query(target, &sql).await?;
    }
    Ok(())
}
