//! User-defined types that a table's columns need.

use catalog::ShardId;

use crate::ddl::error::{Answer, Error};
use crate::ddl::participants::{Participants, array_items};
use crate::store::connection::{text, truth};
use crate::store::quote::{identifier, literal, qualified};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeDefinition {
    pub schema: String,
    pub name: String,
    pub body: TypeBody,
    pub owner: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeBody {
    /// The extension that brings it, and the schema that it is in.
    Extension {
        extension: String,
        schema: String,
    },
    Enumeration {
        labels: Vec<String>,
    },
    /// What follows `CREATE DOMAIN name`.
    Domain {
        text: String,
    },
    /// What follows `CREATE TYPE name`.
    Other {
        text: String,
    },
    /// Written in C, outside any extension.
    Base,
}

/// The types of a table's columns and what those are made of; the innermost first.
pub(super) async fn read(
    participants: &mut dyn Participants,
    shard: ShardId,
    table: u32,
) -> Result<Vec<TypeDefinition>, Error> {
    let rows = participants.query(shard, &type_query(table)).await?;
    let mut types = Vec::new();
    for row in rows {
        let field = |index| text(&row, index, "pg_type");
        let (schema, name) = (field(0)?.to_owned(), field(1)?.to_owned());
        let body = match (row.get(4).cloned().flatten(), field(2)?) {
            (Some(extension), _) => TypeBody::Extension {
                extension,
                schema: field(5)?.to_owned(),
            },
            (None, "e") => TypeBody::Enumeration {
                labels: array_items(field(3)?)?,
            },
            (None, "d") => TypeBody::Domain {
                text: field(3)?.to_owned(),
            },
            (None, "c") => TypeBody::Other {
                text: field(3)?.to_owned(),
            },
            (None, "r") if !truth(&row, 7) => TypeBody::Other {
                text: field(3)?.to_owned(),
            },
            _ => TypeBody::Base,
        };
        types.push(TypeDefinition {
            schema,
            name,
            body,
            owner: field(6)?.to_owned(),
        });
    }
    Ok(types)
}

/// Makes on `target` what is missing there of `types`; checks that an enumeration that is there has the same labels.
pub async fn ensure(
    participants: &mut dyn Participants,
    target: ShardId,
    types: &[TypeDefinition],
) -> Result<(), Error> {
    for needed in types {
        let there = participants
            .query(
                target,
                &format!(
                    "SELECT ARRAY(SELECT e.enumlabel FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)::text[] \
                       FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                      WHERE n.nspname = {} AND t.typname = {}",
                    literal(&needed.schema),
                    literal(&needed.name)
                ),
            )
            .await?;
        match there.first() {
            Some(row) => {
                if let TypeBody::Enumeration { labels } = &needed.body
                    && array_items(text(row, 0, "pg_enum")?)? != *labels
                {
                    return Err(Answer::new(format!(
                        "type {}.{} has other labels on shard {target}",
                        needed.schema, needed.name
                    ))
                    .hint("Bring the type to the same labels, in the same order, on every shard.")
                    .wrong_state());
                }
            }
            None => create(participants, target, needed).await?,
        }
    }
    Ok(())
}

async fn create(
    participants: &mut dyn Participants,
    target: ShardId,
    needed: &TypeDefinition,
) -> Result<(), Error> {
    let name = qualified(&needed.schema, &needed.name);
    let mut statements = Vec::new();
    let mut owned = Some("TYPE");
    match &needed.body {
        TypeBody::Extension { extension, schema } => {
            statements.push(create_schema(schema));
            statements.push(format!(
                "CREATE EXTENSION IF NOT EXISTS {} SCHEMA {}",
                identifier(extension),
                identifier(schema)
            ));
            owned = None;
        }
        TypeBody::Enumeration { labels } => {
            let labels: Vec<String> = labels.iter().map(|label| literal(label)).collect();
            statements.push(create_schema(&needed.schema));
            statements.push(format!(
                "CREATE TYPE {name} AS ENUM ({})",
                labels.join(", ")
            ));
        }
        TypeBody::Domain { text } => {
            statements.push(create_schema(&needed.schema));
            statements.push(format!("CREATE DOMAIN {name} AS {text}"));
            owned = Some("DOMAIN");
        }
        TypeBody::Other { text } => {
            statements.push(create_schema(&needed.schema));
            statements.push(format!("CREATE TYPE {name} AS {text}"));
        }
        TypeBody::Base => {
            return Err(Answer::new(format!(
                "type {}.{} is missing on shard {target}",
                needed.schema, needed.name
            ))
            .hint("Types written in C cannot be copied. Create the type on every shard first.")
            .wrong_state());
        }
    }
    if let Some(word) = owned {
        statements.push(format!(
            "ALTER {word} {name} OWNER TO {}",
            identifier(&needed.owner)
        ));
    }
    for statement in statements {
        participants.query(target, &statement).await?;
    }
    Ok(())
}

pub(super) fn create_schema(schema: &str) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", identifier(schema))
}

/// Columns: schema, name, typtype, body, extension, extension's schema, owner, whether a range has functions of its own.
fn type_query(table: u32) -> String {
    format!(
        "WITH RECURSIVE needed (oid, depth) AS ( \
             SELECT a.atttypid, 1 FROM pg_attribute a WHERE a.attrelid = {table} AND a.attnum > 0 AND NOT a.attisdropped \
             UNION \
             SELECT part.oid, needed.depth + 1 \
               FROM needed \
               JOIN pg_type t ON t.oid = needed.oid AND t.typnamespace <> 'pg_catalog'::regnamespace \
               LEFT JOIN pg_range r ON r.rngtypid = t.oid, \
               LATERAL (SELECT t.typelem WHERE t.typelem <> 0 \
                        UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0 \
                        UNION ALL SELECT r.rngsubtype WHERE r.rngsubtype IS NOT NULL \
                        UNION ALL SELECT a.atttypid FROM pg_attribute a \
                                   WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS part (oid) \
              WHERE needed.depth < 32) \
         SELECT n.nspname, t.typname, t.typtype::text, \
                CASE t.typtype \
                WHEN 'e' THEN ARRAY(SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder)::text \
                WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) \
                     || coalesce((SELECT format(' COLLATE %I.%I', cn.nspname, c.collname) FROM pg_collation c \
                                    JOIN pg_namespace cn ON cn.oid = c.collnamespace JOIN pg_type b ON b.oid = t.typbasetype \
                                   WHERE c.oid = t.typcollation AND b.typcollation <> t.typcollation), '') \
                     || coalesce(' DEFAULT ' || coalesce(pg_get_expr(t.typdefaultbin, 'pg_type'::regclass), t.typdefault), '') \
                     || CASE WHEN t.typnotnull THEN ' NOT NULL' ELSE '' END \
                     || coalesce((SELECT string_agg(format(' CONSTRAINT %I %s', k.conname, pg_get_constraintdef(k.oid)), '' ORDER BY k.conname) \
                                    FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), '') \
                WHEN 'c' THEN '(' || (SELECT string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)) \
                                      || coalesce((SELECT format(' COLLATE %I.%I', cn.nspname, c.collname) FROM pg_collation c \
                                                     JOIN pg_namespace cn ON cn.oid = c.collnamespace JOIN pg_type b ON b.oid = a.atttypid \
                                                    WHERE c.oid = a.attcollation AND b.typcollation <> a.attcollation), ''), \
                                      ', ' ORDER BY a.attnum) \
                                      FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) || ')' \
                WHEN 'r' THEN (SELECT format('RANGE (SUBTYPE = %s, SUBTYPE_OPCLASS = %I.%I%s)', format_type(r.rngsubtype, NULL), \
                                             opn.nspname, op.opcname, \
                                             coalesce((SELECT format(', COLLATION = %I.%I', cn.nspname, c.collname) FROM pg_collation c \
                                                         JOIN pg_namespace cn ON cn.oid = c.collnamespace WHERE c.oid = r.rngcollation), '')) \
                                 FROM pg_range r JOIN pg_opclass op ON op.oid = r.rngsubopc JOIN pg_namespace opn ON opn.oid = op.opcnamespace \
                                WHERE r.rngtypid = t.oid) \
                ELSE '' END, \
                (SELECT x.extname FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid \
                  WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_extension'::regclass \
                    AND d.deptype = 'e' LIMIT 1), \
                n.nspname, pg_get_userbyid(t.typowner), \
                coalesce((SELECT r.rngcanonical <> 0 OR r.rngsubdiff <> 0 FROM pg_range r WHERE r.rngtypid = t.oid), false) \
           FROM (SELECT oid, max(depth) AS depth FROM needed GROUP BY oid) needed \
           JOIN pg_type t ON t.oid = needed.oid \
           JOIN pg_namespace n ON n.oid = t.typnamespace \
          WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND t.typelem = 0 \
          ORDER BY needed.depth DESC, n.nspname, t.typname"
    )
}
