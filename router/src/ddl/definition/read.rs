//! Reading a table's definition from a shard's system catalogs.
//!
//! Entry point: [`read`]. The session must print in the canonical form (see `participants::CanonicalSettings`).

use catalog::ShardId;

use super::grants::{self, Grant};
use super::parts::{
    ColumnDefinition, ConstraintDefinition, ConstraintKind, ForeignKey, Generated, Persistence,
    RelationKind, TableDefinition,
};
use super::{extensions, sequence, types};
use crate::ddl::error::Error;
use crate::ddl::participants::{Participants, array_items};
use crate::store::connection::{text, truth};
use crate::store::quote::{identifier, literal, qualified};
use crate::store::relations::number;

/// Whether there is a relation of any kind by this name.
pub async fn exists(
    participants: &mut dyn Participants,
    shard: ShardId,
    schema: &str,
    name: &str,
) -> Result<bool, Error> {
    let sql = format!(
        "SELECT pg_catalog.to_regclass({}) IS NOT NULL",
        literal(&qualified(schema, name))
    );
    let rows = participants.query(shard, &sql).await?;
    Ok(rows.first().is_some_and(|row| truth(row, 0)))
}

/// The definition of a table; None if there is no relation by this name.
pub async fn read(
    participants: &mut dyn Participants,
    shard: ShardId,
    schema: &str,
    name: &str,
) -> Result<Option<TableDefinition>, Error> {
    let mut reader = Reader {
        participants,
        shard,
        oid: 0,
    };
    let Some(mut table) = reader.heading(schema, name).await? else {
        return Ok(None);
    };
    if matches!(table.kind, RelationKind::Other { .. }) {
        return Ok(Some(table));
    }
    table.columns = reader.columns().await?;
    table.constraints = reader.constraints(schema, name).await?;
    table.inbound = reader.inbound().await?;
    table.indexes = reader.indexes().await?;
    table.triggers = reader.triggers().await?;
    table.policies = reader.policies(schema, name).await?;
    table.statistics = reader.statistics().await?;
    table.comments = reader.comments(schema, name).await?;
    let oid = reader.oid;
    table.sequences = sequence::read(reader.participants, shard, oid).await?;
    table.extensions = extensions::read(reader.participants, shard, oid).await?;
    table.types = types::read(reader.participants, shard, oid).await?;
    Ok(Some(table))
}

pub(super) struct Reader<'a> {
    participants: &'a mut dyn Participants,
    shard: ShardId,
    pub(super) oid: u32,
}

impl Reader<'_> {
    pub(super) async fn rows(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        Ok(self.participants.query(self.shard, sql).await?)
    }

    async fn server_version(&mut self) -> Result<u32, Error> {
        let rows = self
            .rows("SELECT current_setting('server_version_num')")
            .await?;
        Ok(number(text(
            rows.first().map_or(&[][..], Vec::as_slice),
            0,
            "server_version_num",
        )?)?)
    }

    async fn heading(
        &mut self,
        schema: &str,
        name: &str,
    ) -> Result<Option<TableDefinition>, Error> {
        let rows = self
            .rows(&format!(
                "SELECT c.oid, c.relkind::text, c.relpersistence::text, pg_get_userbyid(c.relowner), \
                        CASE WHEN am.amname <> 'heap' THEN am.amname END, \
                        ARRAY(SELECT unnest(c.reloptions) UNION ALL SELECT 'toast.' || unnest(t.reloptions))::text[], \
                        c.relrowsecurity, c.relforcerowsecurity, c.relreplident::text, \
                        (SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident), \
                        c.relacl IS NOT NULL, c.relispartition, c.reloftype <> 0, \
                        EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid), \
                        EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid), \
                        ARRAY(SELECT r.rulename FROM pg_rewrite r WHERE r.ev_class = c.oid ORDER BY r.rulename)::text[] \
                   FROM pg_class c \
                   LEFT JOIN pg_am am ON am.oid = c.relam \
                   LEFT JOIN pg_class t ON t.oid = c.reltoastrelid \
                  WHERE c.oid = to_regclass({})",
                literal(&qualified(schema, name))
            ))
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let field = |index| text(row, index, "pg_class");
        self.oid = number(field(0)?)?;
        let grants = if truth(row, 10) {
            Some(self.grants("c.relacl", "pg_class c", "c.oid").await?)
        } else {
            None
        };
        Ok(Some(TableDefinition {
            schema: schema.to_owned(),
            name: name.to_owned(),
            kind: match field(1)? {
                "r" => RelationKind::Ordinary,
                "p" => RelationKind::Partitioned,
                "v" => RelationKind::Other { what: "a view" },
                "m" => RelationKind::Other {
                    what: "a materialized view",
                },
                "f" => RelationKind::Other {
                    what: "a foreign table",
                },
                "S" => RelationKind::Other { what: "a sequence" },
                "i" | "I" => RelationKind::Other { what: "an index" },
                "c" => RelationKind::Other {
                    what: "a composite type",
                },
                _ => RelationKind::Other { what: "no table" },
            },
            persistence: match field(2)? {
                "t" => Persistence::Temporary,
                "u" => Persistence::Unlogged,
                _ => Persistence::Permanent,
            },
            owner: field(3)?.to_owned(),
            access_method: row[4].clone(),
            options: array_items(field(5)?)?,
            row_security: truth(row, 6),
            force_row_security: truth(row, 7),
            replica_identity: match (field(8)?, &row[9]) {
                ("f", _) => Some("FULL".to_owned()),
                ("n", _) => Some("NOTHING".to_owned()),
                ("i", Some(index)) => Some(format!("USING INDEX {}", identifier(index))),
                _ => None,
            },
            lineage: if truth(row, 11) {
                Some("a partition")
            } else if truth(row, 12) {
                Some("a table of a composite type")
            } else if truth(row, 13) {
                Some("a child by inheritance")
            } else if truth(row, 14) {
                Some("a parent by inheritance")
            } else {
                None
            },
            rules: array_items(field(15)?)?,
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
            triggers: Vec::new(),
            policies: Vec::new(),
            statistics: Vec::new(),
            comments: Vec::new(),
            grants,
            sequences: Vec::new(),
            types: Vec::new(),
            extensions: Vec::new(),
            inbound: Vec::new(),
        }))
    }

    /// The access list in `column` of the catalog row of this table.
    async fn grants(
        &mut self,
        column: &str,
        catalog: &str,
        key: &str,
    ) -> Result<Vec<Grant>, Error> {
        let sql = format!(
            "SELECT {} FROM {catalog}, {} WHERE {key} = {} ORDER BY x.place",
            grants::COLUMNS,
            grants::exploded(column),
            self.oid
        );
        Ok(grants::read(&self.rows(&sql).await?)?)
    }

    async fn columns(&mut self) -> Result<Vec<ColumnDefinition>, Error> {
        let version = self.server_version().await?;
        let compression = if version >= 140_000 {
            "nullif(a.attcompression::text, '')"
        } else {
            "NULL"
        };
        let not_null_name = if version >= 180_000 {
            "(SELECT k.conname FROM pg_constraint k WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum])"
        } else {
            "NULL"
        };
        let rows = self
            .rows(&format!(
                "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid, \
                        CASE WHEN a.attcollation <> 0 AND a.attcollation <> t.typcollation THEN format('%I.%I', cn.nspname, co.collname) END, \
                        coalesce(co.collisdeterministic, true), a.attnotnull, {not_null_name}, pg_get_expr(d.adbin, d.adrelid), \
                        a.attidentity::text, a.attgenerated::text, \
                        CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END, {compression}, \
                        a.attstattarget, coalesce(a.attoptions, '{{}}')::text, a.attacl IS NOT NULL, a.attnum, a.atttypmod \
                   FROM pg_attribute a \
                   JOIN pg_type t ON t.oid = a.atttypid \
                   LEFT JOIN pg_collation co ON co.oid = a.attcollation \
                   LEFT JOIN pg_namespace cn ON cn.oid = co.collnamespace \
                   LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                  WHERE a.attrelid = {} AND a.attnum > 0 AND NOT a.attisdropped \
                  ORDER BY a.attnum",
                self.oid
            ))
            .await?;
        let mut columns = Vec::new();
        for row in rows {
            let field = |index| text(&row, index, "pg_attribute");
            let grants = if truth(&row, 14) {
                let key = format!("a.attnum = {} AND a.attrelid", field(15)?);
                Some(self.grants("a.attacl", "pg_attribute a", &key).await?)
            } else {
                None
            };
            columns.push(ColumnDefinition {
                name: field(0)?.to_owned(),
                type_name: field(1)?.to_owned(),
                type_oid: number(field(2)?)?,
                type_modifier: number(field(16)?)?,
                collation: row[3].clone(),
                deterministic: truth(&row, 4),
                not_null: truth(&row, 5),
                not_null_name: row[6].clone(),
                expression: row[7].clone(),
                generated: match (field(8)?, field(9)?) {
                    ("a", _) => Some(Generated::IdentityAlways),
                    ("d", _) => Some(Generated::IdentityByDefault),
                    (_, "s") => Some(Generated::Stored),
                    (_, "v") => Some(Generated::Virtual),
                    _ => None,
                },
                storage: row[10].as_deref().and_then(storage_word).map(str::to_owned),
                compression: row[11]
                    .as_deref()
                    .map(|method| if method == "l" { "lz4" } else { "pglz" }.to_owned()),
                // -1, and NULL from version 17 on, mean the default.
                statistics_target: row[12]
                    .as_deref()
                    .map(number)
                    .transpose()?
                    .filter(|target: &i32| *target >= 0),
                options: array_items(field(13)?)?,
                grants,
            });
        }
        Ok(columns)
    }

    async fn constraints(
        &mut self,
        schema: &str,
        name: &str,
    ) -> Result<Vec<ConstraintDefinition>, Error> {
        // The columns of an exclusion constraint that count are those compared by the = of their type's btree.
        let rows = self
            .rows(&format!(
                "SELECT k.conname, k.contype::text, pg_get_constraintdef(k.oid), \
                        ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place) \
                                JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum \
                               WHERE k.contype <> 'x' OR EXISTS (SELECT FROM pg_amop o JOIN pg_opfamily f ON f.oid = o.amopfamily \
                                     JOIN pg_am m ON m.oid = f.opfmethod \
                                     WHERE o.amopopr = k.conexclop[u.place] AND m.amname = 'btree' AND o.amopstrategy = 3) \
                               ORDER BY u.place)::text[], \
                        fn.nspname, fc.relname, \
                        ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place) \
                                JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.place)::text[], \
                        coalesce((SELECT ic.reloptions FROM pg_class ic WHERE ic.oid = k.conindid AND k.contype IN ('p', 'u', 'x')), '{{}}')::text \
                   FROM pg_constraint k \
                   LEFT JOIN pg_class fc ON fc.oid = k.confrelid AND k.confrelid <> 0 \
                   LEFT JOIN pg_namespace fn ON fn.oid = fc.relnamespace \
                  WHERE k.conrelid = {} AND k.contype IN ('c', 'p', 'u', 'x', 'f') AND k.conislocal \
                  ORDER BY array_position('{{c,p,u,x,f}}'::text[], k.contype::text), k.conname",
                self.oid
            ))
            .await?;
        let mut constraints = Vec::new();
        for row in rows {
            let field = |index| text(&row, index, "pg_constraint");
            let columns = array_items(field(3)?)?;
            let foreign = match (&row[4], &row[5]) {
                (Some(to_schema), Some(to_table)) => Some(ForeignKey {
                    name: field(0)?.to_owned(),
                    from_schema: schema.to_owned(),
                    from_table: name.to_owned(),
                    from_columns: columns.clone(),
                    to_schema: to_schema.clone(),
                    to_table: to_table.clone(),
                    to_columns: array_items(field(6)?)?,
                }),
                _ => None,
            };
            constraints.push(ConstraintDefinition {
                name: field(0)?.to_owned(),
                kind: match field(1)? {
                    "p" => ConstraintKind::PrimaryKey,
                    "u" => ConstraintKind::Unique,
                    "x" => ConstraintKind::Exclude,
                    "f" => ConstraintKind::ForeignKey,
                    _ => ConstraintKind::Check,
                },
                text: field(2)?.to_owned(),
                columns,
                foreign,
                index_options: array_items(field(7)?)?,
            });
        }
        Ok(constraints)
    }

    async fn inbound(&mut self) -> Result<Vec<ForeignKey>, Error> {
        let rows = self
            .rows(&format!(
                "SELECT k.conname, n.nspname, c.relname, tn.nspname, tc.relname, \
                        ARRAY(SELECT a.attname FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place) \
                                JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum ORDER BY u.place)::text[], \
                        ARRAY(SELECT a.attname FROM unnest(k.confkey) WITH ORDINALITY AS u (attnum, place) \
                                JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.attnum ORDER BY u.place)::text[] \
                   FROM pg_constraint k \
                   JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                   JOIN pg_class tc ON tc.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = tc.relnamespace \
                  WHERE k.confrelid = {0} AND k.conrelid <> {0} AND k.contype = 'f' AND k.conparentid = 0 ORDER BY 2, 3, 1",
                self.oid
            ))
            .await?;
        let mut keys = Vec::new();
        for row in rows {
            let field = |index| text(&row, index, "pg_constraint");
            keys.push(ForeignKey {
                name: field(0)?.to_owned(),
                from_schema: field(1)?.to_owned(),
                from_table: field(2)?.to_owned(),
                from_columns: array_items(field(5)?)?,
                to_schema: field(3)?.to_owned(),
                to_table: field(4)?.to_owned(),
                to_columns: array_items(field(6)?)?,
            });
        }
        Ok(keys)
    }
}

fn storage_word(letter: &str) -> Option<&'static str> {
    match letter {
        "p" => Some("PLAIN"),
        "e" => Some("EXTERNAL"),
        "m" => Some("MAIN"),
        "x" => Some("EXTENDED"),
        _ => None,
    }
}
