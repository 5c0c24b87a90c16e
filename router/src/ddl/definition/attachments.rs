//! What hangs on a table besides its columns and constraints: indexes, triggers, policies, statistics, comments.

use super::parts::{Comment, IndexDefinition, TriggerDefinition};
use super::read::Reader;
use crate::ddl::error::Error;
use crate::ddl::participants::array_items;
use crate::store::connection::{text, truth};
use crate::store::quote::{identifier, qualified};

impl Reader<'_> {
    pub(super) async fn indexes(&mut self) -> Result<Vec<IndexDefinition>, Error> {
        let rows = self
            .rows(&format!(
                "SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisunique, i.indisvalid, \
                        ARRAY(SELECT a.attname FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u (attnum, place) \
                                JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum \
                               WHERE u.place <= i.indnkeyatts ORDER BY u.place)::text[], \
                        i.indisclustered, k.oid IS NOT NULL \
                   FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
                   LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x') \
                  WHERE i.indrelid = {} ORDER BY c.relname",
                self.oid
            ))
            .await?;
        let mut indexes = Vec::new();
        for row in rows {
            let field = |index| text(&row, index, "pg_index");
            indexes.push(IndexDefinition {
                name: field(0)?.to_owned(),
                text: field(1)?.to_owned(),
                is_unique: truth(&row, 2),
                is_valid: truth(&row, 3),
                columns: array_items(field(4)?)?,
                is_clustered: truth(&row, 5),
                of_constraint: truth(&row, 6),
            });
        }
        Ok(indexes)
    }

    pub(super) async fn triggers(&mut self) -> Result<Vec<TriggerDefinition>, Error> {
        let rows = self
            .rows(&format!(
                "SELECT t.tgname, pg_get_triggerdef(t.oid), n.nspname, p.proname, t.tgenabled::text \
                   FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace \
                  WHERE t.tgrelid = {} AND NOT t.tgisinternal ORDER BY t.tgname",
                self.oid
            ))
            .await?;
        let mut triggers = Vec::new();
        for row in rows {
            let field = |index| text(&row, index, "pg_trigger");
            triggers.push(TriggerDefinition {
                name: field(0)?.to_owned(),
                text: field(1)?.to_owned(),
                function_schema: field(2)?.to_owned(),
                function_name: field(3)?.to_owned(),
                state: match field(4)? {
                    "D" => Some("DISABLE TRIGGER"),
                    "R" => Some("ENABLE REPLICA TRIGGER"),
                    "A" => Some("ENABLE ALWAYS TRIGGER"),
                    _ => None,
                },
            });
        }
        Ok(triggers)
    }

    pub(super) async fn policies(
        &mut self,
        schema: &str,
        name: &str,
    ) -> Result<Vec<String>, Error> {
        let rows = self
            .rows(&format!(
                "SELECT p.polname, p.polpermissive, \
                        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, \
                        (SELECT string_agg(CASE WHEN r.oid = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(r.oid)) END, ', ' ORDER BY r.oid) \
                           FROM unnest(p.polroles) AS r (oid)), \
                        pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) \
                   FROM pg_policy p WHERE p.polrelid = {} ORDER BY p.oid",
                self.oid
            ))
            .await?;
        let mut policies = Vec::new();
        for row in rows {
            let field = |index| text(&row, index, "pg_policy");
            let mut statement = format!(
                "CREATE POLICY {} ON {} AS {} FOR {} TO {}",
                identifier(field(0)?),
                qualified(schema, name),
                if truth(&row, 1) {
                    "PERMISSIVE"
                } else {
                    "RESTRICTIVE"
                },
                field(2)?,
                field(3)?
            );
            if let Some(using) = &row[4] {
                statement.push_str(&format!(" USING ({using})"));
            }
            if let Some(check) = &row[5] {
                statement.push_str(&format!(" WITH CHECK ({check})"));
            }
            policies.push(statement);
        }
        Ok(policies)
    }

    pub(super) async fn statistics(&mut self) -> Result<Vec<String>, Error> {
        let sql = format!(
            "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxrelid = {} ORDER BY stxname",
            self.oid
        );
        let rows = self.rows(&sql).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| row.into_iter().next().flatten())
            .collect())
    }

    pub(super) async fn comments(
        &mut self,
        schema: &str,
        name: &str,
    ) -> Result<Vec<Comment>, Error> {
        let table = qualified(schema, name);
        let rows = self
            .rows(&format!(
                "SELECT d.what, d.name, d.schema, x.description \
                   FROM (SELECT CASE WHEN s.attnum = 0 THEN 'TABLE' ELSE 'COLUMN' END AS what, a.attname AS name, NULL::name AS schema, \
                                'pg_class'::regclass AS class, {0}::oid AS oid, s.attnum AS part \
                           FROM (SELECT 0 AS attnum UNION ALL SELECT attnum FROM pg_attribute WHERE attrelid = {0} AND attnum > 0) s \
                           LEFT JOIN pg_attribute a ON a.attrelid = {0} AND a.attnum = s.attnum AND s.attnum > 0 \
                          UNION ALL SELECT 'CONSTRAINT', conname, NULL, 'pg_constraint'::regclass, oid, 0 FROM pg_constraint WHERE conrelid = {0} \
                          UNION ALL SELECT 'TRIGGER', tgname, NULL, 'pg_trigger'::regclass, oid, 0 FROM pg_trigger WHERE tgrelid = {0} \
                          UNION ALL SELECT 'POLICY', polname, NULL, 'pg_policy'::regclass, oid, 0 FROM pg_policy WHERE polrelid = {0} \
                          UNION ALL SELECT 'INDEX', c.relname, n.nspname, 'pg_class'::regclass, c.oid, 0 \
                                      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
                                     WHERE i.indrelid = {0} \
                          UNION ALL SELECT 'STATISTICS', s.stxname, n.nspname, 'pg_statistic_ext'::regclass, s.oid, 0 \
                                      FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace WHERE s.stxrelid = {0}) d \
                   JOIN pg_description x ON x.classoid = d.class AND x.objoid = d.oid AND x.objsubid = d.part \
                  ORDER BY 1, 2",
                self.oid
            ))
            .await?;
        let mut comments = Vec::new();
        for row in rows {
            let field = |index| text(&row, index, "pg_description");
            let object = match field(0)? {
                "TABLE" => format!("TABLE {table}"),
                "COLUMN" => format!("COLUMN {table}.{}", identifier(field(1)?)),
                what @ ("INDEX" | "STATISTICS") => {
                    format!("{what} {}", qualified(field(2)?, field(1)?))
                }
                what => format!("{what} {} ON {table}", identifier(field(1)?)),
            };
            comments.push(Comment {
                object,
                text: field(3)?.to_owned(),
            });
        }
        Ok(comments)
    }
}
