//! What a shard's system catalogs say of tables, views, functions and sequences.
//!
//! Entry points: [`tables`], [`views`], [`reactions`], [`function_sources`], [`sequences`]. All but PostgreSQL's own schemas and `pgweave` is
//! read. Invariant: read on a control connection, where names print qualified (see `connection::CANONICAL_SETTINGS`).

use catalog::{Catalog, Column, Event, Reached, Reaction, Sequence, View, Volatility};

use super::connection::{Connection, column, text, truth};
use super::error::Error;
use super::functions::FunctionSource;

/// A table, materialized view or foreign table as it is on one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardTable {
    pub schema: String,
    pub name: String,
    pub columns: Vec<Column>,
}

/// True of the namespaces `n` that hold users' objects.
pub const USER_SCHEMA: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pgweave') AND n.nspname !~ '^pg_(toast|temp_)'";

/// The locks `l` on relations that let nobody else look at them. What prints an expression or a query with columns takes a
/// lock. Whoever has locked a table against all others may be waiting for a change of the catalog to end, which may be
/// waiting for this reading of it.
const LOCKED: &str = "FROM pg_locks l WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' \
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Collations of the C library whose order is that of the bytes of UTF-8.
const BYTEWISE: &str = "'C', 'POSIX', 'C.UTF-8', 'C.utf8'";

/// Whether the database's own collation is one of them. Before version 15 there was no other provider.
const DATABASE_BYTEWISE: &str = "EXISTS (SELECT FROM pg_database b WHERE b.datname = current_database() \
                                   AND b.datcollate IN ('C', 'POSIX', 'C.UTF-8', 'C.utf8') \
                                   AND coalesce(to_jsonb(b) ->> 'datlocprovider', 'c') = 'c')";

/// All tables, ordered by schema and name. `only` limits them to these names.
pub async fn tables(
    connection: &Connection,
    only: Option<&[(String, String)]>,
) -> Result<Vec<ShardTable>, Error> {
    let Some(chosen) = chosen(only) else {
        return Ok(Vec::new());
    };
    // A default names no columns, so it can be printed without its table, which would be locked for it: whoever holds that
    // lock may be waiting for the catalog's. For the same reason, and because a table may be gone by then, nothing is looked up by
    // name.
    let sql = format!(
        "SELECT n.nspname, c.relname, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.atthasdef OR a.attidentity <> '', \
                CASE WHEN a.attidentity <> '' \
                     THEN (SELECT 'nextval(' || quote_literal(format('%I.%I', sn.nspname, s.relname)) || '::regclass)' \
                             FROM pg_depend o JOIN pg_class s ON s.oid = o.objid JOIN pg_namespace sn ON sn.oid = s.relnamespace \
                            WHERE o.classid = 'pg_class'::regclass AND o.refclassid = 'pg_class'::regclass \
                              AND o.refobjid = c.oid AND o.refobjsubid = a.attnum AND o.deptype = 'i' AND s.relkind = 'S' LIMIT 1) \
                     WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, 0) \
                     WHEN EXISTS (SELECT {LOCKED} AND l.relation = c.oid) THEN NULL \
                     ELSE pg_get_expr(d.adbin, d.adrelid) END, \
                current_setting('server_encoding') = 'UTF8' AND EXISTS (SELECT FROM pg_collation k \
                         WHERE k.oid = a.attcollation \
                           AND (k.collprovider = 'c' AND k.collcollate IN ({BYTEWISE}) \
                                OR k.collprovider = 'd' AND {DATABASE_BYTEWISE})), \
                EXISTS (SELECT FROM pg_collation k WHERE k.oid = a.attcollation AND k.collisdeterministic), \
                coalesce(a.attnum = ANY (i.indkey), false) \
           FROM pg_class c \
           JOIN pg_namespace n ON n.oid = c.relnamespace \
           LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
           LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum \
           LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
          WHERE c.relkind IN ('r', 'p', 'm', 'f') AND {USER_SCHEMA} {chosen} \
          ORDER BY n.nspname, c.relname, a.attnum"
    );
    let mut tables: Vec<ShardTable> = Vec::new();
    for row in connection.rows(&sql).await? {
        let (schema, name) = (text(&row, 0, "pg_class")?, text(&row, 1, "pg_class")?);
        if tables
            .last()
            .is_none_or(|table| table.schema != schema || table.name != name)
        {
            tables.push(ShardTable {
                schema: schema.to_owned(),
                name: name.to_owned(),
                columns: Vec::new(),
            });
        }
        if let (Some(table), Some(column)) = (tables.last_mut(), row[2].clone()) {
            table.columns.push(Column {
                name: column,
                type_oid: number(text(&row, 3, "pg_attribute")?)?,
                type_modifier: number(text(&row, 4, "pg_attribute")?)?,
                not_null: truth(&row, 5),
                has_default: truth(&row, 6),
                default_expression: row[7].clone(),
                sorts_by_bytes: truth(&row, 8),
                equal_by_bytes: truth(&row, 9),
                in_primary_key: truth(&row, 10),
            });
        }
    }
    Ok(tables)
}

/// What relations run by themselves when they are used. `only` limits it to these relations.
pub async fn reactions(
    connection: &Connection,
    only: Option<&[(String, String)]>,
) -> Result<Vec<Reaction>, Error> {
    match reactions_query(only) {
        Some(sql) => read_reactions(&connection.rows(&sql).await?),
        None => Ok(Vec::new()),
    }
}

/// The query for [`reactions`]; `None` if it is about nothing. It goes by what PostgreSQL has noted as dependencies, which takes
/// no locks on the relations.
pub fn reactions_query(only: Option<&[(String, String)]>) -> Option<String> {
    let chosen = chosen(only)?;
    Some(format!(
        "SELECT n.nspname, c.relname, made.event, CASE WHEN p.oid IS NULL THEN 'relation' ELSE 'function' END, \
                un.nspname, coalesce(p.proname, o.relname) \
           FROM (SELECT 'pg_trigger'::regclass AS classid, oid AS objid, tgrelid AS relid, 'write' AS event \
                   FROM pg_trigger WHERE NOT tgisinternal \
                 UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid, 'write' FROM pg_attrdef \
                 UNION ALL SELECT 'pg_constraint'::regclass, oid, conrelid, 'write' FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0 \
                 UNION ALL SELECT 'pg_constraint'::regclass, k.oid, a.attrelid, 'write' \
                   FROM pg_constraint k JOIN pg_attribute a ON a.atttypid = k.contypid AND a.attnum > 0 AND NOT a.attisdropped \
                  WHERE k.contypid <> 0 \
                 UNION ALL SELECT 'pg_rewrite'::regclass, oid, ev_class, 'write' FROM pg_rewrite WHERE ev_type <> '1' \
                 UNION ALL SELECT 'pg_policy'::regclass, k.oid, polrelid, 'use' \
                   FROM pg_policy k JOIN pg_class s ON s.oid = polrelid AND s.relrowsecurity) made \
           JOIN pg_class c ON c.oid = made.relid JOIN pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_depend d ON d.classid = made.classid AND d.objid = made.objid \
           LEFT JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid \
           LEFT JOIN pg_class o ON d.refclassid = 'pg_class'::regclass AND o.oid = d.refobjid AND o.oid <> c.oid \
                                   AND (o.relkind IN ('r', 'p', 'f', 'v', 'm') OR made.classid = 'pg_rewrite'::regclass) \
           JOIN pg_namespace un ON un.oid = coalesce(p.pronamespace, o.relnamespace) \
          WHERE un.nspname <> 'pg_catalog' AND (p.oid IS NULL OR un.nspname NOT IN ('information_schema', 'pgweave')) \
            AND {USER_SCHEMA} {chosen} \
          UNION \
         SELECT n.nspname, c.relname, 'write', 'along', un.nspname, o.relname \
           FROM (SELECT confrelid AS relid, conrelid AS along FROM pg_constraint \
                  WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd')) \
                 UNION ALL SELECT inhparent, inhrelid FROM pg_inherits \
                 UNION ALL SELECT r.ev_class, d.refobjid FROM pg_rewrite r \
                   JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass \
                  WHERE r.ev_type = '1') written \
           JOIN pg_class c ON c.oid = written.relid AND c.relkind IN ('r', 'p', 'f', 'v') JOIN pg_namespace n ON n.oid = c.relnamespace \
           JOIN pg_class o ON o.oid = written.along AND o.oid <> c.oid AND o.relkind IN ('r', 'p', 'f', 'v') \
           JOIN pg_namespace un ON un.oid = o.relnamespace \
          WHERE un.nspname <> 'pg_catalog' AND {USER_SCHEMA} {chosen}"
    ))
}

/// What [`reactions_query`] answers.
pub fn read_reactions(rows: &[Vec<Option<String>>]) -> Result<Vec<Reaction>, Error> {
    let mut reactions = Vec::new();
    for row in rows {
        let field = |index| text(row, index, "pg_depend").map(str::to_owned);
        let (schema, name) = (field(4)?, field(5)?);
        reactions.push(Reaction {
            schema: field(0)?,
            name: field(1)?,
            event: match text(row, 2, "pg_depend")? {
                "use" => Event::Use,
                _ => Event::Write,
            },
            reaches: match text(row, 3, "pg_depend")? {
                "function" => Reached::Function(schema, name),
                "along" => Reached::Along(schema, name),
                _ => Reached::Relation(schema, name),
            },
        });
    }
    Ok(reactions)
}

/// The condition that limits a query on `pg_class c` to these names; `None` if there are none.
fn chosen(only: Option<&[(String, String)]>) -> Option<String> {
    let names = match only {
        None => return Some(String::new()),
        Some([]) => return None,
        Some(names) => names,
    };
    let pairs: Vec<String> = names
        .iter()
        .map(|(schema, name)| {
            format!(
                "({}, {})",
                super::quote::literal(schema),
                super::quote::literal(name)
            )
        })
        .collect();
    Some(format!(
        "AND (n.nspname, c.relname) IN ({})",
        pairs.join(", ")
    ))
}

/// All views. The definition of one whose tables are locked is left empty ([`unread`]).
pub async fn views(connection: &Connection) -> Result<Vec<View>, Error> {
    let sql = format!(
        "SELECT n.nspname, c.relname, \
                CASE WHEN EXISTS (SELECT FROM pg_rewrite w \
                                    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass \
                                   WHERE w.ev_class = c.oid AND EXISTS (SELECT {LOCKED} AND l.relation = d.refobjid)) \
                     THEN '' ELSE pg_get_viewdef(c.oid) END, \
                ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum)::text[], \
                ARRAY(SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) \
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
          WHERE c.relkind = 'v' AND {USER_SCHEMA} ORDER BY n.nspname, c.relname"
    );
    let mut views = Vec::new();
    for row in connection.query(&sql, &[]).await? {
        // NULL: dropped since the query's snapshot was taken.
        if let Some(definition) = column(&row, 2)? {
            views.push(View {
                schema: column(&row, 0)?,
                name: column(&row, 1)?,
                definition,
                columns: column(&row, 3)?,
                types: column(&row, 4)?,
            });
        }
    }
    Ok(views)
}

pub async fn function_sources(connection: &Connection) -> Result<Vec<FunctionSource>, Error> {
    let version = server_version(connection).await?;
    // From version 14 on the body of an SQL function may be stored parsed, with an empty prosrc. What it depends on stands for
    // it: printing it would lock its tables, and wait for whoever alters one and waits for the catalog himself.
    let body = if version >= 140_000 {
        "CASE WHEN p.prosqlbody IS NULL THEN p.prosrc \
              ELSE coalesce((SELECT string_agg(quote_ident(coalesce(f.proname, c.relname)), ' ') FROM pg_depend d \
                     LEFT JOIN pg_proc f ON d.refclassid = 'pg_proc'::regclass AND f.oid = d.refobjid \
                     LEFT JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid \
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid), '') END"
    } else {
        "p.prosrc"
    };
    // A default of an argument runs with the call.
    let body = format!("{body} || coalesce(E'\\n' || pg_get_expr(p.proargdefaults, 0), '')");
    let sql = format!(
        "SELECT n.nspname, p.proname, p.provolatile::text, l.lanname, {body}, \
                (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
                    AND d.refclassid = 'pg_extension'::regclass LIMIT 1), \
                CASE WHEN p.prokind = 'a' THEN NOT EXISTS ( \
                     SELECT FROM pg_aggregate g, \
                          LATERAL unnest(ARRAY[g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, \
                                               g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn]::oid[]) AS part (oid) \
                     JOIN pg_proc made ON made.oid = part.oid \
                     WHERE g.aggfnoid = p.oid AND made.provolatile <> 'i' AND made.pronamespace <> 'pg_catalog'::regnamespace) END \
           FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang \
          WHERE {USER_SCHEMA} \
          UNION ALL \
         SELECT n.nspname, o.oprname, p.provolatile::text, l.lanname, p.prosrc, \
                (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
                  WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' \
                    AND d.refclassid = 'pg_extension'::regclass LIMIT 1), NULL \
           FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace JOIN pg_proc p ON p.oid = o.oprcode \
           JOIN pg_language l ON l.oid = p.prolang \
          WHERE p.provolatile <> 'i' AND {USER_SCHEMA} ORDER BY 1, 2"
    );
    let mut sources = Vec::new();
    for row in connection.rows(&sql).await? {
        sources.push(FunctionSource {
            schema: text(&row, 0, "pg_proc")?.to_owned(),
            name: text(&row, 1, "pg_proc")?.to_owned(),
            volatility: match text(&row, 2, "pg_proc")? {
                "i" => Volatility::Immutable,
                "s" => Volatility::Stable,
                _ => Volatility::Volatile,
            },
            language: text(&row, 3, "pg_proc")?.to_owned(),
            body: text(&row, 4, "pg_proc")?.to_owned(),
            extension: row[5].clone(),
            aggregate: row[6].as_deref().map(|harmless| harmless == "t"),
        });
    }
    Ok(sources)
}

/// Whether some view's definition could not be read: statements that use it are refused until it is.
pub fn unread(catalog: &Catalog) -> bool {
    catalog
        .views()
        .iter()
        .any(|view| view.definition.is_empty())
}

pub async fn sequences(connection: &Connection) -> Result<Vec<Sequence>, Error> {
    let sql = format!(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
          WHERE c.relkind = 'S' AND {USER_SCHEMA} ORDER BY n.nspname, c.relname"
    );
    let mut sequences = Vec::new();
    for row in connection.rows(&sql).await? {
        sequences.push(Sequence {
            schema: text(&row, 0, "pg_class")?.to_owned(),
            name: text(&row, 1, "pg_class")?.to_owned(),
        });
    }
    Ok(sequences)
}

/// The schemas of users' objects.
pub async fn schemas(connection: &Connection) -> Result<Vec<String>, Error> {
    let sql =
        format!("SELECT n.nspname FROM pg_namespace n WHERE {USER_SCHEMA} ORDER BY n.nspname");
    let rows = connection.rows(&sql).await?;
    rows.iter()
        .map(|row| Ok(text(row, 0, "pg_namespace")?.to_owned()))
        .collect()
}

/// `server_version_num`, such as 150004.
pub async fn server_version(connection: &Connection) -> Result<u32, Error> {
    let rows = connection.rows("SHOW server_version_num").await?;
    number(text(
        rows.first().map_or(&[][..], Vec::as_slice),
        0,
        "server_version_num",
    )?)
}

pub fn number<T: std::str::FromStr>(value: &str) -> Result<T, Error> {
    value
        .parse()
        .map_err(|_| Error::corrupt(format!("{value:?} where a number belongs")))
}
