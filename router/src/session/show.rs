//! `SHOW pgweave.…`, the settings that belong to the router, and the operator's functions.

use std::sync::Arc;

use catalog::{Catalog, KeyValue, ShardId};
use planner::{AdminCall, SetScope, SetValue};

use super::report::Report;
use super::settings::Assignment;
use super::{Derived, Manual, Session, Step};
use crate::cancel::SessionHandle;
use crate::config::{Consistency, ReadPreference, ScatterMode};
use crate::wire::encode;
use crate::{admin, show};

const TEXT: u32 = 25;

impl Session {
    /// `SHOW pgweave.name`.
    pub(super) async fn show(&mut self, name: &str, catalog: &Arc<Catalog>) -> Step {
        let table = match name {
            "session" => self.session_table(),
            "shard" => one("pgweave.shard", self.own_value("pgweave.shard")),
            "shard_key" => one("pgweave.shard_key", self.own_value("pgweave.shard_key")),
            "read_preference" => one(
                "pgweave.read_preference",
                read_preference_name(self.derived.read_preference).to_owned(),
            ),
            "scatter" => one("pgweave.scatter", self.derived.scatter.name().to_owned()),
            "consistency" => {
                let name = self.derived.consistency.name();
                one("pgweave.consistency", name.to_owned())
            }
            other => Box::pin(show::show(other, &self.router, catalog))
                .await
                .ok_or_else(|| unknown(other))?,
        };
        let columns: Vec<(&str, u32)> = table
            .columns
            .iter()
            .map(|name| (name.as_str(), TEXT))
            .collect();
        encode::row_description(&mut self.client.out, &columns);
        for row in &table.rows {
            let row: Vec<Option<&[u8]>> = row
                .iter()
                .map(|value| value.as_ref().map(|text| text.as_bytes()))
                .collect();
            encode::data_row(&mut self.client.out, &row);
        }
        encode::command_complete(&mut self.client.out, "SHOW");
        Ok(())
    }

    /// The columns of `SHOW pgweave.name`, for Describe.
    pub(super) fn show_columns(&self, name: &str) -> Step<Vec<(String, u32)>> {
        let columns = match name {
            "session" => self.session_table().columns,
            "shard" | "shard_key" | "read_preference" | "scatter" | "consistency" => {
                vec![format!("pgweave.{name}")]
            }
            other => show::columns(other).ok_or_else(|| unknown(other))?,
        };
        Ok(columns.into_iter().map(|name| (name, TEXT)).collect())
    }

    /// Which server connections work for this session, and what keeps them.
    fn session_table(&self) -> show::Table {
        let columns = [
            "shard",
            "server",
            "role",
            "backend_pid",
            "in_transaction",
            "pinned_by",
        ];
        let catalog = self.catalog();
        let rows = self
            .links
            .iter()
            .map(|link| {
                let shard = catalog
                    .shard(link.shard)
                    .map_or_else(|| link.shard.to_string(), |shard| shard.name.clone());
                let pins: Vec<&str> = link.pins.names().collect();
                vec![
                    Some(shard),
                    Some(link.backend.cancel_target().to_string()),
                    Some(if link.replica { "replica" } else { "primary" }.to_owned()),
                    Some(link.backend.process_id().to_string()),
                    Some(if link.in_block { "yes" } else { "no" }.to_owned()),
                    (!pins.is_empty()).then(|| pins.join(", ")),
                ]
            })
            .collect();
        show::Table {
            columns: columns.map(str::to_owned).into(),
            rows,
        }
    }

    fn own_value(&self, name: &str) -> String {
        self.setting_text(name).unwrap_or_default()
    }

    fn setting_text(&self, name: &str) -> Option<String> {
        match self.settings.get(name)? {
            Assignment::Text(text) => Some(text.to_string()),
            Assignment::Sql(_) => None,
        }
    }

    /// SET of one of the router's own settings.
    pub(super) fn set_own(
        &mut self,
        scope: SetScope,
        name: &str,
        value: &SetValue,
        catalog: &Arc<Catalog>,
    ) -> Step {
        let name = name.to_ascii_lowercase();
        if scope == SetScope::Local && self.block.is_none() {
            self.notice(Report::warning(
                "25P01",
                "SET LOCAL can only be used in transaction blocks",
            ));
            return Ok(());
        }
        let text = value.joined().unwrap_or_default();
        match name.as_str() {
            "pgweave.shard" if !text.is_empty() && catalog.shard_by_name(&text).is_none() => {
                return Err(
                    Report::error("22023", format!("there is no shard named \"{text}\""))
                        .hint("SHOW pgweave.shards lists the shards.")
                        .into(),
                );
            }
            // Otherwise every statement would fail by it, RESET included.
            "pgweave.shard_key" if !text.is_empty() => {
                shard_of_key(&text, catalog)?;
            }
            "pgweave.shard" | "pgweave.shard_key" => {}
            "pgweave.read_preference"
                if text.is_empty() || parse_read_preference(&text).is_some() => {}
            "pgweave.consistency" => {
                let wanted = Consistency::from_name(&text);
                if wanted.is_none() && !text.is_empty() {
                    return Err(Report::error(
                        "22023",
                        format!("invalid value for parameter \"pgweave.consistency\": \"{text}\""),
                    )
                    .hint("Available values: default, snapshot.")
                    .into());
                }
                let block = self.block.as_ref();
                if wanted == Some(Consistency::Snapshot)
                    && block.is_some_and(|block| block.queried && !block.snapshot)
                {
                    return Err(Report::error(
                        "25001",
                        "SET pgweave.consistency = 'snapshot' must be called before any query",
                    )
                    .into());
                }
            }
            "pgweave.scatter" if text.is_empty() || ScatterMode::from_name(&text).is_some() => {}
            "pgweave.scatter" => {
                return Err(Report::error(
                    "22023",
                    format!("invalid value for parameter \"pgweave.scatter\": \"{text}\""),
                )
                .hint("Available values: allow, warn, forbid.")
                .into());
            }
            "pgweave.read_preference" => {
                return Err(Report::error(
                    "22023",
                    format!("invalid value for parameter \"pgweave.read_preference\": \"{text}\""),
                )
                .hint("Available values: primary, prefer_replica, replica.")
                .into());
            }
            other => {
                return Err(Report::error(
                    "42704",
                    format!("unrecognized configuration parameter \"{other}\""),
                )
                .hint("pgweave knows pgweave.shard, pgweave.shard_key, pgweave.read_preference, pgweave.scatter and pgweave.consistency.")
                .into());
            }
        }
        match (scope, text.is_empty()) {
            (SetScope::Session, true) => self.settings.reset(&name),
            (SetScope::Session, false) => self.settings.set(&name, Assignment::Text(text.into())),
            (SetScope::Local, _) => self
                .settings
                .set_local(&name, Some(Assignment::Text(text.into()))),
        }
        self.adopt_settings();
        Ok(())
    }

    /// Derives what the planner and the router need from the settings as they are now.
    pub(super) fn adopt_settings(&mut self) {
        let user = self.current_user();
        let search_path = match self.settings.get("search_path") {
            Some(Assignment::Sql(text) | Assignment::Text(text)) => text.to_string(),
            None => self.server_search_path.clone(),
        };
        let manual = self
            .setting_text("pgweave.shard")
            .filter(|text| !text.is_empty())
            .map(Manual::Shard)
            .or_else(|| {
                self.setting_text("pgweave.shard_key")
                    .filter(|text| !text.is_empty())
                    .map(Manual::ShardKey)
            });
        let on = |name: &str, default: bool| match self.settings.get(name) {
            Some(Assignment::Sql(text) | Assignment::Text(text)) => !matches!(
                text.trim_matches('\'').to_ascii_lowercase().as_str(),
                "off" | "false" | "no" | "0" | "of" | "f" | "fa" | "fal" | "fals" | "n"
            ),
            None => default,
        };
        let utf8 = match self.settings.get("client_encoding") {
            Some(Assignment::Sql(text) | Assignment::Text(text)) => is_utf8(text),
            None => self
                .client
                .reported
                .get("client_encoding")
                .is_none_or(is_utf8),
        };
        self.derived = Derived {
            search_path: parse_search_path(&search_path, &user).into(),
            manual,
            read_preference: self
                .setting_text("pgweave.read_preference")
                .and_then(|text| parse_read_preference(&text))
                .unwrap_or(self.router.config.replicas.read_preference),
            consistency: self
                .setting_text("pgweave.consistency")
                .and_then(|text| Consistency::from_name(&text))
                .unwrap_or(self.router.config.transactions.consistency),
            scatter: self
                .setting_text("pgweave.scatter")
                .and_then(|text| ScatterMode::from_name(&text))
                .unwrap_or_else(|| {
                    let SessionHandle { user, database, .. } = &*self.handle;
                    self.router.config.scatter_mode(user, database)
                }),
            standard_conforming_strings: on("standard_conforming_strings", true),
            reading: self.settings.reading(),
            utf8,
        };
    }

    /// The role that `$user` in search_path stands for.
    fn current_user(&self) -> String {
        let role = match self.settings.get("role") {
            Some(Assignment::Sql(text) | Assignment::Text(text)) => {
                parse_search_path(text, "").into_iter().next()
            }
            None => None,
        };
        role.filter(|role| role != "none" && role != "default")
            .unwrap_or_else(|| self.identity.user().to_owned())
    }

    /// The shard that manual routing asks for.
    pub(super) fn manual_shard(&self, catalog: &Catalog) -> Step<Option<ShardId>> {
        match &self.derived.manual {
            None => Ok(None),
            Some(Manual::Shard(name)) => match catalog.shard_by_name(name) {
                Some(shard) => Ok(Some(shard.id)),
                None => Err(
                    Report::error("22023", format!("there is no shard named \"{name}\""))
                        .hint("RESET pgweave.shard, or name one of SHOW pgweave.shards.")
                        .into(),
                ),
            },
            Some(Manual::ShardKey(text)) => Ok(Some(shard_of_key(text, catalog)?)),
        }
    }

    /// Runs one of the operator's functions.
    pub(super) async fn run_admin(
        &mut self,
        call: &AdminCall,
        arguments: Vec<(Option<String>, planner::AdminArg)>,
    ) -> Step {
        if let Some(columns) = super::outbox::columns(&call.name) {
            let output = Box::pin(self.outbox(call, &arguments, columns)).await?;
            self.answer_call(call, &output);
            return Ok(());
        }
        // It works on connections of its own, which do not see what others have not committed, and wait for their locks.
        let begun = self.links.iter().any(|link| link.in_block);
        if begun || self.block.as_ref().is_some_and(|block| block.explicit) {
            return Err(Report::error(
                "25001",
                format!(
                    "pgweave.{} cannot run inside a transaction block",
                    call.name
                ),
            )
            .hint("Several statements in one query are one transaction: send this one by itself.")
            .into());
        }
        if let Some(columns) = super::saga::columns(&call.name) {
            let output = Box::pin(self.saga(call, &arguments, columns)).await?;
            self.answer_call(call, &output);
            return Ok(());
        }
        // What the function changes belongs to whoever calls it: the server judges whether that user may.
        let caller = admin::Caller {
            user: self.identity.user().to_owned(),
            search_path: self.derived.search_path.clone(),
        };
        let table = Box::pin(admin::call(
            &self.router.store,
            &call.name,
            &arguments,
            &caller,
        ))
        .await?;
        for notice in &table.notices {
            self.notice(Report::warning("01000", notice.clone()));
        }
        self.answer_call(call, &table);
        Ok(())
    }

    fn answer_call(&mut self, call: &AdminCall, table: &admin::Output) {
        let columns: Vec<(&str, u32)> = if call.from_clause {
            table
                .columns
                .iter()
                .map(|name| (name.as_str(), TEXT))
                .collect()
        } else {
            vec![(call.column.as_str(), TEXT)]
        };
        encode::row_description(&mut self.client.out, &columns);
        for row in &table.rows {
            let row: Vec<Option<&[u8]>> = row
                .iter()
                .take(columns.len())
                .map(|value| value.as_ref().map(|text| text.as_bytes()))
                .collect();
            encode::data_row(&mut self.client.out, &row);
        }
        let tag = format!("SELECT {}", table.rows.len());
        encode::command_complete(&mut self.client.out, &tag);
    }

    pub(super) fn admin_columns(&self, call: &AdminCall) -> Step<Vec<(String, u32)>> {
        if !call.from_clause {
            return Ok(vec![(call.column.clone(), TEXT)]);
        }
        let columns = admin::columns(&call.name).ok_or_else(|| unknown(&call.name))?;
        Ok(columns.into_iter().map(|name| (name, TEXT)).collect())
    }
}

/// `SET pgweave.shard_key = '42'`, or `'table=42'` where tables are sharded in several ways. Key columns are separated
/// by commas.
pub(super) fn shard_of_key(text: &str, catalog: &Catalog) -> Step<ShardId> {
    let bad = |message: String| {
        Report::error("22023", message)
            .hint("Give the key as 'value', or as 'schema.table=value' where tables are sharded in several ways.")
    };
    let of_group = |group: &catalog::Group| group.types.iter().map(|own| own.widest()).collect();
    let (group, types, value): (_, Vec<_>, _) = match text.split_once('=') {
        Some((name, value)) => {
            let (schema, table) = name.split_once('.').unwrap_or(("public", name));
            let (group, key) = catalog
                .table(schema.trim(), table.trim())
                .and_then(|table| match &table.kind {
                    catalog::TableKind::Sharded { group, key } => Some((*group, key)),
                    _ => None,
                })
                .ok_or_else(|| bad(format!("\"{name}\" is not a sharded table")))?;
            let types = key.iter().map(|column| column.key_type).collect();
            (catalog.group(group), types, value)
        }
        None => match catalog.groups() {
            [only] => (Some(only), of_group(only), text),
            [] => return Err(bad("no table is sharded yet".to_owned()).into()),
            _ => {
                return Err(bad(
                    "pgweave.shard_key does not say of which table the key is".to_owned()
                )
                .into());
            }
        },
    };
    let group = group.ok_or_else(|| bad("the catalog lacks the table's shard map".to_owned()))?;
    let parts: Vec<&str> = if types.len() == 1 {
        vec![value]
    } else {
        value.split(',').map(str::trim).collect()
    };
    if parts.len() != types.len() {
        return Err(bad(format!("the shard key has {} columns", types.len())).into());
    }
    let mut values = Vec::with_capacity(parts.len());
    for (key_type, part) in types.iter().zip(parts) {
        values.push(KeyValue::from_text(*key_type, part).map_err(|_| {
            bad(format!(
                "\"{part}\" is not a plain value of type {}",
                key_type.name()
            ))
        })?);
    }
    group.map.shard(&types, &values).map_err(|_| {
        Report::error("23514", format!("no placement covers the shard key {text}")).into()
    })
}

/// The schemas of a search_path, as SET takes it or SHOW gives it, with `$user` expanded.
fn parse_search_path(text: &str, user: &str) -> Vec<String> {
    let mut schemas = Vec::new();
    let mut rest = text.trim();
    while let Some(first) = rest.chars().next() {
        let (name, after) = if first == '"' || first == '\'' {
            quoted(rest, first)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].trim().to_lowercase(), &rest[end..])
        };
        // `SET search_path TO 'a, b'` names one schema with a comma in its name; as a startup option it names two.
        schemas.push(name);
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    schemas
        .into_iter()
        .map(|name| {
            if name == "$user" {
                user.to_owned()
            } else {
                name
            }
        })
        .filter(|name| !name.is_empty())
        .collect()
}

fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            if characters.next_if(|(_, next)| *next == quote).is_some() {
                name.push(quote);
                continue;
            }
            return (name, &text[at + 1..]);
        }
        name.push(character);
    }
    (name, "")
}

fn is_utf8(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase();
    matches!(plain.as_str(), "utf8" | "unicode" | "default")
}

fn parse_read_preference(text: &str) -> Option<ReadPreference> {
    match text {
        "primary" => Some(ReadPreference::Primary),
        "prefer_replica" => Some(ReadPreference::PreferReplica),
        "replica" => Some(ReadPreference::Replica),
        _ => None,
    }
}

fn read_preference_name(preference: ReadPreference) -> &'static str {
    match preference {
        ReadPreference::Primary => "primary",
        ReadPreference::PreferReplica => "prefer_replica",
        ReadPreference::Replica => "replica",
    }
}

fn one(name: &str, value: String) -> show::Table {
    show::Table {
        columns: vec![name.to_owned()],
        rows: vec![vec![Some(value)]],
    }
}

fn unknown(name: &str) -> Report {
    Report::error(
        "42704",
        format!("unrecognized configuration parameter \"pgweave.{name}\""),
    )
    .hint("SHOW pgweave.shards, tables, placements, servers, pools, sessions, session, transactions, in_doubt, counters, epoch.")
}

#[cfg(test)]
mod tests {
    use super::parse_search_path;

    #[test]
    fn search_paths_of_set_and_show() {
        let path = |text| parse_search_path(text, "ann");
        assert_eq!(path("\"$user\", public"), ["ann", "public"]);
        assert_eq!(path("a,B , 'c''d', \"E f\""), ["a", "b", "c'd", "E f"]);
        assert_eq!(path("x, pg_temp"), ["x", "pg_temp"]);
        assert!(path("''").is_empty());
    }
}
