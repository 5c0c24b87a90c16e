//! The parts that a table's definition is made of, as plain data.

use super::grants::Grant;
use super::sequence::SequenceDefinition;
use super::types::TypeDefinition;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    Ordinary,
    Partitioned,
    /// Anything that holds no rows of its own or is not changed by INSERT: `what` names it.
    Other {
        what: &'static str,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    Permanent,
    Unlogged,
    Temporary,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDefinition {
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    pub persistence: Persistence,
    pub owner: String,
    /// None: `heap`.
    pub access_method: Option<String>,
    /// Storage parameters, `name=value`, those of the TOAST table with `toast.` before them.
    pub options: Vec<String>,
    pub row_security: bool,
    pub force_row_security: bool,
    /// `REPLICA IDENTITY …`, where it is not the default.
    pub replica_identity: Option<String>,
    /// A partition, a child or a parent by inheritance, or a table OF a type: `what` names it.
    pub lineage: Option<&'static str>,
    /// Names of rules.
    pub rules: Vec<String>,
    pub columns: Vec<ColumnDefinition>,
    pub constraints: Vec<ConstraintDefinition>,
    pub indexes: Vec<IndexDefinition>,
    pub triggers: Vec<TriggerDefinition>,
    /// Whole `CREATE POLICY` statements.
    pub policies: Vec<String>,
    /// Whole `CREATE STATISTICS` statements.
    pub statistics: Vec<String>,
    pub comments: Vec<Comment>,
    pub grants: Option<Vec<Grant>>,
    pub sequences: Vec<SequenceDefinition>,
    /// What the columns' types need, in the order in which it can be made.
    pub types: Vec<TypeDefinition>,
    /// Extensions that any part needs, with their schemas.
    pub extensions: Vec<(String, String)>,
    /// Foreign keys of other tables that point here.
    pub inbound: Vec<ForeignKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnDefinition {
    pub name: String,
    /// As `format_type` prints it.
    pub type_name: String,
    pub type_oid: u32,
    /// `atttypmod`, -1 for none.
    pub type_modifier: i32,
    /// Qualified and quoted, where it is not the type's own.
    pub collation: Option<String>,
    /// Whether equal under the collation means equal bytes. True for types without collation.
    pub deterministic: bool,
    pub not_null: bool,
    /// The name of a NOT NULL constraint, from version 18 on.
    pub not_null_name: Option<String>,
    /// A default or generation expression.
    pub expression: Option<String>,
    pub generated: Option<Generated>,
    pub storage: Option<String>,
    pub compression: Option<String>,
    pub statistics_target: Option<i32>,
    pub options: Vec<String>,
    pub grants: Option<Vec<Grant>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generated {
    IdentityAlways,
    IdentityByDefault,
    Stored,
    Virtual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstraintKind {
    Check,
    PrimaryKey,
    Unique,
    Exclude,
    ForeignKey,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConstraintDefinition {
    pub name: String,
    pub kind: ConstraintKind,
    /// As `pg_get_constraintdef` prints it.
    pub text: String,
    /// The table's columns in it, in order; for an exclusion only plain columns compared by `=`.
    pub columns: Vec<String>,
    pub foreign: Option<ForeignKey>,
    /// Storage parameters of its index.
    pub index_options: Vec<String>,
}

/// A foreign key, from the side of the table that refers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    pub name: String,
    pub from_schema: String,
    pub from_table: String,
    pub from_columns: Vec<String>,
    pub to_schema: String,
    pub to_table: String,
    pub to_columns: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexDefinition {
    pub name: String,
    /// As `pg_get_indexdef` prints it.
    pub text: String,
    pub is_unique: bool,
    /// Plain columns among its keys.
    pub columns: Vec<String>,
    /// False after a failed CREATE INDEX CONCURRENTLY.
    pub is_valid: bool,
    pub is_clustered: bool,
    /// A constraint owns it, and makes it.
    pub of_constraint: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerDefinition {
    pub name: String,
    /// As `pg_get_triggerdef` prints it.
    pub text: String,
    pub function_schema: String,
    pub function_name: String,
    /// `ENABLE REPLICA TRIGGER`, `ENABLE ALWAYS TRIGGER`, `DISABLE TRIGGER`, where it is not the default.
    pub state: Option<&'static str>,
}

/// A comment on the table or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// `TABLE "s"."t"`, `COLUMN "s"."t"."c"`, …
    pub object: String,
    pub text: String,
}

impl TableDefinition {
    pub fn column(&self, name: &str) -> Option<&ColumnDefinition> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// `schema.name`, for messages.
    pub fn display_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}
