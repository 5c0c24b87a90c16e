//! The statements that make a table like a definition.

use super::grants;
use super::parts::{ColumnDefinition, ConstraintKind, Generated, Persistence, TableDefinition};
use super::sequence::{SequenceDefinition, SequenceLink};
use super::types::create_schema;
use crate::store::quote::{identifier, literal, qualified};

impl TableDefinition {
    /// All statements, in order. `shared_exist` says which sequences that are not the table's own are there already.
    /// The types must be there (see `types::ensure`), and the tables that foreign keys refer to.
    pub fn statements(&self, shared_exist: impl Fn(&SequenceDefinition) -> bool) -> Vec<String> {
        let mut statements = vec![create_schema(&self.schema)];
        let fresh = || {
            self.sequences
                .iter()
                .filter(|sequence| sequence.link != SequenceLink::Used || !shared_exist(sequence))
        };
        for sequence in fresh().filter(|sequence| sequence.link != SequenceLink::Identity) {
            statements.extend(sequence.create());
        }
        statements.push(self.create_table());
        let table = self.qualified();
        statements.push(format!(
            "ALTER TABLE {table} OWNER TO {}",
            identifier(&self.owner)
        ));
        for sequence in fresh() {
            statements.extend(sequence.adorn());
            if sequence.link == SequenceLink::Owned {
                statements.push(format!(
                    "ALTER SEQUENCE {} OWNED BY {table}.{}",
                    sequence.qualified(),
                    identifier(&sequence.column)
                ));
            }
            statements.push(sequence.advance());
        }
        for column in &self.columns {
            self.column_settings(column, &mut statements);
        }
        self.constraints(&mut statements);
        for index in self
            .indexes
            .iter()
            .filter(|index| !index.of_constraint && index.is_valid)
        {
            statements.push(index.text.clone());
        }
        if let Some(index) = self.indexes.iter().find(|index| index.is_clustered) {
            statements.push(format!(
                "ALTER TABLE {table} CLUSTER ON {}",
                identifier(&index.name)
            ));
        }
        if let Some(identity) = &self.replica_identity {
            statements.push(format!("ALTER TABLE {table} REPLICA IDENTITY {identity}"));
        }
        self.row_security(&mut statements);
        for trigger in &self.triggers {
            statements.push(trigger.text.clone());
            if let Some(state) = trigger.state {
                statements.push(format!(
                    "ALTER TABLE {table} {state} {}",
                    identifier(&trigger.name)
                ));
            }
        }
        statements.extend(self.statistics.iter().cloned());
        for comment in &self.comments {
            statements.push(format!(
                "COMMENT ON {} IS {}",
                comment.object,
                literal(&comment.text)
            ));
        }
        self.privileges(&mut statements);
        statements
    }

    pub fn qualified(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    fn create_table(&self) -> String {
        let persistence = match self.persistence {
            Persistence::Permanent => "",
            Persistence::Unlogged => "UNLOGGED ",
            Persistence::Temporary => "TEMPORARY ",
        };
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|column| self.column_text(column))
            .collect();
        let mut statement = format!(
            "CREATE {persistence}TABLE {} ({})",
            self.qualified(),
            columns.join(", ")
        );
        if let Some(method) = &self.access_method {
            statement.push_str(&format!(" USING {}", identifier(method)));
        }
        if !self.options.is_empty() {
            statement.push_str(&format!(" WITH ({})", options(&self.options)));
        }
        statement
    }

    fn column_text(&self, column: &ColumnDefinition) -> String {
        let mut text = format!("{} {}", identifier(&column.name), column.type_name);
        if let Some(collation) = &column.collation {
            text.push_str(&format!(" COLLATE {collation}"));
        }
        let identity = || {
            let sequence = self.sequences.iter().find(|sequence| {
                sequence.column == column.name && sequence.link == SequenceLink::Identity
            });
            sequence.map_or_else(String::new, |sequence| {
                format!(
                    " (SEQUENCE NAME {} {})",
                    sequence.qualified(),
                    sequence.options()
                )
            })
        };
        let expression = column.expression.as_deref().unwrap_or("NULL");
        match column.generated {
            Some(Generated::IdentityAlways) => {
                text.push_str(&format!(" GENERATED ALWAYS AS IDENTITY{}", identity()))
            }
            Some(Generated::IdentityByDefault) => {
                text.push_str(&format!(" GENERATED BY DEFAULT AS IDENTITY{}", identity()))
            }
            Some(Generated::Stored) => {
                text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) STORED"))
            }
            Some(Generated::Virtual) => {
                text.push_str(&format!(" GENERATED ALWAYS AS ({expression}) VIRTUAL"))
            }
            None if column.expression.is_some() => text.push_str(&format!(" DEFAULT {expression}")),
            None => {}
        }
        if column.not_null {
            if let Some(name) = &column.not_null_name {
                text.push_str(&format!(" CONSTRAINT {}", identifier(name)));
            }
            text.push_str(" NOT NULL");
        }
        text
    }

    fn column_settings(&self, column: &ColumnDefinition, statements: &mut Vec<String>) {
        let alter = format!(
            "ALTER TABLE {} ALTER COLUMN {}",
            self.qualified(),
            identifier(&column.name)
        );
        if let Some(storage) = &column.storage {
            statements.push(format!("{alter} SET STORAGE {storage}"));
        }
        if let Some(compression) = &column.compression {
            statements.push(format!("{alter} SET COMPRESSION {compression}"));
        }
        if let Some(target) = column.statistics_target {
            statements.push(format!("{alter} SET STATISTICS {target}"));
        }
        if !column.options.is_empty() {
            statements.push(format!("{alter} SET ({})", options(&column.options)));
        }
    }

    fn constraints(&self, statements: &mut Vec<String>) {
        for constraint in &self.constraints {
            statements.push(format!(
                "ALTER TABLE {} ADD CONSTRAINT {} {}",
                self.qualified(),
                identifier(&constraint.name),
                constraint.text
            ));
            let has_index = matches!(
                constraint.kind,
                ConstraintKind::PrimaryKey | ConstraintKind::Unique | ConstraintKind::Exclude
            );
            if has_index && !constraint.index_options.is_empty() {
                let index = qualified(&self.schema, &constraint.name);
                statements.push(format!(
                    "ALTER INDEX {index} SET ({})",
                    options(&constraint.index_options)
                ));
            }
        }
    }

    fn row_security(&self, statements: &mut Vec<String>) {
        if self.row_security {
            statements.push(format!(
                "ALTER TABLE {} ENABLE ROW LEVEL SECURITY",
                self.qualified()
            ));
        }
        if self.force_row_security {
            statements.push(format!(
                "ALTER TABLE {} FORCE ROW LEVEL SECURITY",
                self.qualified()
            ));
        }
        statements.extend(self.policies.iter().cloned());
    }

    fn privileges(&self, statements: &mut Vec<String>) {
        let object = format!("TABLE {}", self.qualified());
        if let Some(grants) = &self.grants {
            statements.extend(grants::statements(grants, &object, "", &self.owner));
        }
        for column in &self.columns {
            if let Some(grants) = &column.grants {
                let columns = format!(" ({})", identifier(&column.name));
                statements.extend(grants::statements(grants, &object, &columns, &self.owner));
            }
        }
    }
}

/// `name=value` items as they go between parentheses.
fn options(items: &[String]) -> String {
    let items: Vec<String> = items
        .iter()
        .map(|item| match item.split_once('=') {
            Some((name, value)) => format!("{}={}", option_name(name), literal(value)),
            None => option_name(item),
        })
        .collect();
    items.join(", ")
}

/// `toast.autovacuum_enabled` is two names.
fn option_name(name: &str) -> String {
    name.split('.')
        .map(identifier)
        .collect::<Vec<_>>()
        .join(".")
}
