//! Types that a shard key's column may have.

use std::fmt;

/// The type of a shard-key column: those whose hash and btree order are reproduced here exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    Int2,
    Int4,
    Int8,
    Text,
    Varchar,
    /// `character(n)`: trailing blanks do not count.
    Bpchar,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Bool,
    Bytea,
}

impl KeyType {
    pub const ALL: [KeyType; 12] = [
        KeyType::Int2,
        KeyType::Int4,
        KeyType::Int8,
        KeyType::Text,
        KeyType::Varchar,
        KeyType::Bpchar,
        KeyType::Uuid,
        KeyType::Date,
        KeyType::Timestamp,
        KeyType::Timestamptz,
        KeyType::Bool,
        KeyType::Bytea,
    ];

    /// The key type with this `pg_type.oid`. Domains and every other type give `None`.
    pub fn from_oid(oid: u32) -> Option<KeyType> {
        Self::ALL.into_iter().find(|each| each.oid() == oid)
    }

    /// `pg_type.oid`; fixed since PostgreSQL's first release that had the type (`pg_type.dat`).
    pub fn oid(self) -> u32 {
        match self {
            KeyType::Int2 => 21,
            KeyType::Int4 => 23,
            KeyType::Int8 => 20,
            KeyType::Text => 25,
            KeyType::Varchar => 1043,
            KeyType::Bpchar => 1042,
            KeyType::Uuid => 2950,
            KeyType::Date => 1082,
            KeyType::Timestamp => 1114,
            KeyType::Timestamptz => 1184,
            KeyType::Bool => 16,
            KeyType::Bytea => 17,
        }
    }

    /// The type by its SQL name or PostgreSQL's short name, in any case, without a length or precision.
    pub fn from_name(name: &str) -> Option<KeyType> {
        const NAMES: [(&str, KeyType); 22] = [
            ("smallint", KeyType::Int2),
            ("int2", KeyType::Int2),
            ("integer", KeyType::Int4),
            ("int", KeyType::Int4),
            ("int4", KeyType::Int4),
            ("bigint", KeyType::Int8),
            ("int8", KeyType::Int8),
            ("text", KeyType::Text),
            ("character varying", KeyType::Varchar),
            ("varchar", KeyType::Varchar),
            ("character", KeyType::Bpchar),
            ("char", KeyType::Bpchar),
            ("bpchar", KeyType::Bpchar),
            ("uuid", KeyType::Uuid),
            ("date", KeyType::Date),
            ("timestamp without time zone", KeyType::Timestamp),
            ("timestamp", KeyType::Timestamp),
            ("timestamp with time zone", KeyType::Timestamptz),
            ("timestamptz", KeyType::Timestamptz),
            ("boolean", KeyType::Bool),
            ("bool", KeyType::Bool),
            ("bytea", KeyType::Bytea),
        ];
        NAMES
            .into_iter()
            .find(|(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, key_type)| key_type)
    }

    /// A name that means exactly this type in a cast. For `Bpchar` not `character`, which is `character(1)` there.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Int2 => "smallint",
            KeyType::Int4 => "integer",
            KeyType::Int8 => "bigint",
            KeyType::Text => "text",
            KeyType::Varchar => "character varying",
            KeyType::Bpchar => "bpchar",
            KeyType::Uuid => "uuid",
            KeyType::Date => "date",
            KeyType::Timestamp => "timestamp without time zone",
            KeyType::Timestamptz => "timestamp with time zone",
            KeyType::Bool => "boolean",
            KeyType::Bytea => "bytea",
        }
    }

    /// The extended hash function of the type's default hash operator class (`pg_amproc.dat`, versions 13 to 17;
    /// 18 renames some to `hashdateextended`, `timestamptz_hash_extended`, `hashboolextended`, `hashbyteaextended`
    /// with the same results). Not all can be called from SQL with the type: see [`crate::point_expression`].
    pub fn hash_function(self) -> &'static str {
        match self {
            KeyType::Int2 => "hashint2extended",
            KeyType::Int4 | KeyType::Date => "hashint4extended",
            KeyType::Int8 => "hashint8extended",
            KeyType::Text | KeyType::Varchar => "hashtextextended",
            KeyType::Bpchar => "hashbpcharextended",
            KeyType::Uuid => "uuid_hash_extended",
            KeyType::Timestamp | KeyType::Timestamptz => "timestamp_hash_extended",
            KeyType::Bool => "hashcharextended",
            KeyType::Bytea => "hashvarlenaextended",
        }
    }

    /// True when equal values of the two types have equal points and compare alike, so that tables keyed by either may
    /// share a shard map: integers of any width; text and varchar.
    pub fn colocates_with(self, other: KeyType) -> bool {
        self.widest() == other.widest()
    }

    /// Of the types that colocate with this one, the one that holds all their values.
    pub fn widest(self) -> KeyType {
        match self {
            KeyType::Int2 | KeyType::Int4 => KeyType::Int8,
            KeyType::Varchar => KeyType::Text,
            other => other,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_oids_lead_back() {
        for key_type in KeyType::ALL {
            assert_eq!(KeyType::from_oid(key_type.oid()), Some(key_type));
            assert_eq!(KeyType::from_name(key_type.name()), Some(key_type));
        }
        assert_eq!(KeyType::from_oid(1700), None);
        assert_eq!(KeyType::from_name("BIGINT"), Some(KeyType::Int8));
        assert_eq!(KeyType::from_name("numeric"), None);
    }
}
