//! Sequences that a table's columns draw from.

use catalog::ShardId;

use super::grants::{self, Grant};
use crate::ddl::error::Error;
use crate::ddl::participants::Participants;
use crate::store::connection::{text, truth};
use crate::store::quote::{literal, qualified};
use crate::store::relations::number;

/// How a column comes to its sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SequenceLink {
    /// `GENERATED … AS IDENTITY`: made with the column.
    Identity,
    /// `serial`, or OWNED BY: dropped with the column.
    Owned,
    /// Named in a default only.
    Used,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceDefinition {
    pub schema: String,
    pub name: String,
    pub column: String,
    pub link: SequenceLink,
    pub type_name: String,
    pub start: i64,
    pub increment: i64,
    pub minimum: i64,
    pub maximum: i64,
    pub cache: i64,
    pub cycle: bool,
    pub last_value: i64,
    pub is_called: bool,
    pub owner: String,
    pub grants: Option<Vec<Grant>>,
}

impl SequenceDefinition {
    pub fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// `START … INCREMENT …`, without a name or type.
    pub(super) fn options(&self) -> String {
        format!(
            "START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {} {}",
            self.start,
            self.increment,
            self.minimum,
            self.maximum,
            self.cache,
            if self.cycle { "CYCLE" } else { "NO CYCLE" }
        )
    }

    /// Makes a sequence that is not made with its column.
    pub(super) fn create(&self) -> Vec<String> {
        let qualified = self.qualified();
        let guard = if self.link == SequenceLink::Used {
            "IF NOT EXISTS "
        } else {
            ""
        };
        vec![format!(
            "CREATE SEQUENCE {guard}{qualified} AS {} {}",
            self.type_name,
            self.options()
        )]
    }

    /// Moves a new sequence on to where this one is.
    pub(super) fn advance(&self) -> String {
        format!(
            "SELECT pg_catalog.setval({}::regclass, {}, {})",
            literal(&self.qualified()),
            self.last_value,
            self.is_called
        )
    }

    /// Privileges and owner of one that is not the table's own.
    pub(super) fn adorn(&self) -> Vec<String> {
        let mut statements = Vec::new();
        if self.link != SequenceLink::Identity {
            statements.push(format!(
                "ALTER SEQUENCE {} OWNER TO {}",
                self.qualified(),
                crate::store::quote::identifier(&self.owner)
            ));
        }
        if let Some(grants) = &self.grants {
            statements.extend(grants::statements(
                grants,
                &format!("SEQUENCE {}", self.qualified()),
                "",
                &self.owner,
            ));
        }
        statements
    }
}

/// The sequences of a table's columns.
pub(super) async fn read(
    participants: &mut dyn Participants,
    shard: ShardId,
    table: u32,
) -> Result<Vec<SequenceDefinition>, Error> {
    // An owned sequence depends on its column; a default depends on the sequences that it names. A serial column is
    // found both ways, and counts as owned.
    let found = participants
        .query(
            shard,
            &format!(
                "SELECT DISTINCT ON (s.seqrelid) n.nspname, c.relname, a.attname, l.link, format_type(s.seqtypid, NULL), \
                        s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle, \
                        pg_get_userbyid(c.relowner), c.relacl IS NOT NULL, c.oid \
                   FROM (SELECT d.objid AS sequence, d.refobjsubid AS attnum, d.deptype::text AS link \
                           FROM pg_depend d \
                          WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass \
                            AND d.refobjid = {table} AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') \
                          UNION ALL \
                         SELECT d.refobjid, f.adnum, 'n' \
                           FROM pg_attrdef f \
                           JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid \
                                           AND d.refclassid = 'pg_class'::regclass \
                          WHERE f.adrelid = {table}) l \
                   JOIN pg_sequence s ON s.seqrelid = l.sequence \
                   JOIN pg_class c ON c.oid = s.seqrelid \
                   JOIN pg_namespace n ON n.oid = c.relnamespace \
                   JOIN pg_attribute a ON a.attrelid = {table} AND a.attnum = l.attnum \
                  ORDER BY s.seqrelid, l.link"
            ),
        )
        .await?;
    let mut sequences = Vec::new();
    for row in found {
        let field = |index| text(&row, index, "pg_sequence");
        let (schema, name) = (field(0)?.to_owned(), field(1)?.to_owned());
        let state = participants
            .query(
                shard,
                &format!(
                    "SELECT last_value, is_called FROM {}",
                    qualified(&schema, &name)
                ),
            )
            .await?;
        let state = state.first().map_or(&[][..], Vec::as_slice);
        let grants = if truth(&row, 12) {
            let list = format!(
                "SELECT {} FROM pg_class c, {} WHERE c.oid = {} ORDER BY x.place",
                grants::COLUMNS,
                grants::exploded("c.relacl"),
                field(13)?
            );
            Some(grants::read(&participants.query(shard, &list).await?)?)
        } else {
            None
        };
        sequences.push(SequenceDefinition {
            schema,
            name,
            column: field(2)?.to_owned(),
            link: match field(3)? {
                "i" => SequenceLink::Identity,
                "a" => SequenceLink::Owned,
                _ => SequenceLink::Used,
            },
            type_name: field(4)?.to_owned(),
            start: number(field(5)?)?,
            increment: number(field(6)?)?,
            minimum: number(field(7)?)?,
            maximum: number(field(8)?)?,
            cache: number(field(9)?)?,
            cycle: truth(&row, 10),
            last_value: number(text(state, 0, "a sequence")?)?,
            is_called: truth(state, 1),
            owner: field(11)?.to_owned(),
            grants,
        });
    }
    Ok(sequences)
}
