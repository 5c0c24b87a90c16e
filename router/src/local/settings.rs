//! Server settings as they go into a configuration file.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::Error;

/// Settings that this module decides, since it relies on them.
const RESERVED: &[&str] = &[
    "config_file",
    "data_directory",
    "listen_addresses",
    "port",
    "primary_conninfo",
    "primary_slot_name",
    "unix_socket_directories",
];

/// Names and values of server settings; a later value replaces an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// Reads `NAME=VALUE`.
    pub fn parse(&mut self, text: &str) -> Result<(), Error> {
        let (name, value) = text.split_once('=').ok_or_else(|| Error::Setting {
            name: text.to_owned(),
            reason: "write NAME=VALUE, as in work_mem=64MB",
        })?;
        self.set(name.trim(), value.trim())
    }

    /// Sets one setting. Errors if the name is no name of a setting, or one that this module decides itself.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let refuse = |reason| {
            Err(Error::Setting {
                name: name.to_owned(),
                reason,
            })
        };
        let name = name.to_ascii_lowercase();
        let well_formed = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'.');
        if !well_formed {
            return refuse("a setting's name has letters, digits, '_' and '.' only");
        }
        if RESERVED.contains(&name.as_str()) {
            return refuse("pgweave decides this one itself");
        }
        self.values.insert(name, value.to_owned());
        Ok(())
    }

    /// What every server of a cluster needs; `durable` servers survive a crash of the machine, others only their own.
    pub(super) fn of_a_shard(durable: bool) -> Settings {
        let mut settings = Settings::default();
        let mut set =
            |name: &str, value: &str| settings.values.insert(name.to_owned(), value.to_owned());
        set("max_connections", "300");
        set("max_prepared_transactions", "200");
        set("wal_level", "logical");
        set("max_wal_senders", "40");
        set("max_replication_slots", "40");
        set("hot_standby", "on");
        set("password_encryption", "scram-sha-256");
        set("logging_collector", "off");
        set("log_destination", "stderr");
        set("log_line_prefix", "%m [%p] %q%u@%d ");
        if !durable {
            set("fsync", "off");
            set("full_page_writes", "off");
            // Files in the data directory go with it, also when the server is killed.
            set("dynamic_shared_memory_type", "mmap");
        }
        settings
    }

    pub(super) fn extend(&mut self, other: &Settings) {
        self.values.extend(
            other
                .values
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
    }

    /// For names that are reserved to this module.
    pub(super) fn decide(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// The lines of a configuration file.
    pub(super) fn to_lines(&self) -> String {
        let mut lines = String::new();
        for (name, value) in &self.values {
            let value = value
                .replace('\\', "\\\\")
                .replace('\'', "''")
                .replace('\n', "\\n");
            let _ = writeln!(lines, "{name} = '{value}'");
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_the_server_reads_them() {
        let mut settings = Settings::default();
        settings.parse("search_path = it's \\ here").unwrap();
        settings.parse("Work_Mem=4MB").unwrap();
        assert_eq!(
            settings.to_lines(),
            "search_path = 'it''s \\\\ here'\nwork_mem = '4MB'\n"
        );
    }

    #[test]
    fn what_is_no_setting_is_refused() {
        let mut settings = Settings::default();
        assert!(
            settings
                .parse("work_mem")
                .unwrap_err()
                .to_string()
                .contains("NAME=VALUE")
        );
        assert!(
            settings
                .parse("port=1")
                .unwrap_err()
                .to_string()
                .contains("decides")
        );
        assert!(settings.parse("a b=1").is_err());
        assert!(settings.parse("=1").is_err());
    }
}
