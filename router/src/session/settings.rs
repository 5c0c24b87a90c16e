//! The settings of a session: what startup options, SET and RESET made of it.
//!
//! With transaction pooling a session meets a different server connection at each transaction. So the session keeps
//! its own settings, and a connection remembers which settings were applied to it; [`statements_between`] gives the
//! SQL that turns one into the other. It is empty in the usual case, where both sides hold the same `Arc`.
//!
//! Values are kept as SQL that recreates them, because PostgreSQL quotes list settings (`search_path`) by rules of
//! its own: the client's text after `TO` for SET, a `set_config` call for startup options.
//!
//! Settings made inside a transaction block are undone by its ROLLBACK, as on PostgreSQL. SET LOCAL ends with the
//! transaction: no connection is brought to it (the block tells those that join), but the router itself must read
//! `search_path` and its like as the servers read them meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::savepoints::Savepoints;
use crate::backend::AppliedSettings;

/// How one setting is made again on another connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Assignment {
    /// The text after `SET name TO`.
    Sql(Box<str>),
    /// The plain value, as in a startup packet or in `set_config`.
    Text(Box<str>),
}

/// The names that a later SET must not be able to shadow: a role restricts what may be set after it.
const LAST: &str = "role";

/// Settings by which a server reads a statement and the constants in it. Once it is prepared, only what they were then
/// counts.
const READING: [&str; 10] = [
    "array_nulls",
    "backslash_quote",
    "datestyle",
    "intervalstyle",
    "lc_monetary",
    "standard_conforming_strings",
    "timezone",
    "timezone_abbreviations",
    "transform_null_equals",
    "xmloption",
];

/// Settings by which a server writes values.
const FORMATTING: [&str; 9] = [
    "bytea_output",
    "client_encoding",
    "datestyle",
    "extra_float_digits",
    "intervalstyle",
    "lc_monetary",
    "search_path",
    "timezone",
    "xmlbinary",
];

/// Those of them that count when the text is cut into words, which is done once; the others count whenever names are
/// looked up again.
const LEXICAL: [&str; 2] = ["backslash_quote", "standard_conforming_strings"];

/// One session's settings, with what a ROLLBACK returns to.
#[derive(Clone, Debug)]
pub struct Settings {
    startup: AppliedSettings,
    now: InForce,
    saved: Savepoints<InForce>,
}

#[derive(Clone, Debug)]
struct InForce {
    /// The session's, which outlast the transaction.
    lasting: AppliedSettings,
    /// Settings that end with the transaction; `None`: the default. They hide the lasting ones.
    local: BTreeMap<Box<str>, Option<Assignment>>,
}

impl Settings {
    /// Settings of a session that started with `options` (from the startup packet); RESET returns to these.
    pub fn new(options: impl IntoIterator<Item = (String, String)>) -> Self {
        let startup: BTreeMap<Box<str>, Assignment> = options
            .into_iter()
            .map(|(name, value)| (canonical_name(&name), Assignment::Text(value.into())))
            .collect();
        let startup = Arc::new(startup);
        Self {
            now: InForce {
                lasting: startup.clone(),
                local: BTreeMap::new(),
            },
            startup,
            saved: Savepoints::none(),
        }
    }

    /// What a connection must have applied before it serves this session.
    pub fn wanted(&self) -> &AppliedSettings {
        &self.now.lasting
    }

    /// The settings as they were when the open block began; as they are if none is open.
    pub fn before_block(&self) -> &AppliedSettings {
        &self.saved.before_block().unwrap_or(&self.now).lasting
    }

    /// Records a SET that a server has accepted.
    pub fn set(&mut self, name: &str, assignment: Assignment) {
        let name = canonical_name(name);
        self.now.local.remove(&name);
        Arc::make_mut(&mut self.now.lasting).insert(name, assignment);
    }

    /// Records RESET of one setting, or SET … TO DEFAULT.
    pub fn reset(&mut self, name: &str) {
        let name = canonical_name(name);
        self.now.local.remove(&name);
        match self.startup.get(&name) {
            Some(value) => Arc::make_mut(&mut self.now.lasting).insert(name, value.clone()),
            None => Arc::make_mut(&mut self.now.lasting).remove(&name),
        };
    }

    /// Records RESET ALL, which PostgreSQL does not extend to the role.
    pub fn reset_all(&mut self) {
        let role = self.now.lasting.get(LAST).cloned();
        self.now.local.retain(|name, _| &**name == LAST);
        self.now.lasting = self.startup.clone();
        if let Some(role) = role {
            Arc::make_mut(&mut self.now.lasting).insert(LAST.into(), role);
        }
    }

    /// Records DISCARD ALL.
    pub fn discard(&mut self) {
        self.now.lasting = self.startup.clone();
    }

    /// The value of one setting as the session made it, if it did.
    pub fn get(&self, name: &str) -> Option<&Assignment> {
        match self.now.local.get(name) {
            Some(Some(assignment)) => Some(assignment),
            Some(None) => self.startup.get(name),
            None => self.now.lasting.get(name),
        }
    }

    /// The settings in force by which servers read statements.
    pub fn reading(&self) -> AppliedSettings {
        let in_force = READING
            .into_iter()
            .filter_map(|name| Some((name.into(), self.get(name)?.clone())));
        Arc::new(in_force.collect())
    }

    /// The settings in force by which servers write values.
    pub fn formatting(&self) -> AppliedSettings {
        let in_force = FORMATTING
            .into_iter()
            .filter_map(|name| Some((name.into(), self.get(name)?.clone())));
        Arc::new(in_force.collect())
    }

    /// Records SET LOCAL, within a block; `None`: to its default.
    pub fn set_local(&mut self, name: &str, assignment: Option<Assignment>) {
        self.now.local.insert(canonical_name(name), assignment);
    }

    /// A transaction block begins; its ROLLBACK returns to the settings of this moment.
    pub fn begin(&mut self) {
        self.saved.begin(self.now.clone());
    }

    /// A savepoint within the block.
    pub fn savepoint(&mut self, name: &str) {
        self.saved.savepoint(name, self.now.clone());
    }

    /// Settings made since the savepoint are undone; the savepoint stays.
    pub fn rollback_to(&mut self, name: &str) {
        if let Some(then) = self.saved.rollback_to(name) {
            self.now = then;
        }
    }

    /// The savepoint and those after it are forgotten; the settings stay.
    pub fn release(&mut self, name: &str) {
        self.saved.release(name);
    }

    /// The block has committed. Returns whether any setting changed by that.
    pub fn commit(&mut self) -> bool {
        self.saved.end();
        self.end_local()
    }

    /// The block has rolled back. Returns whether any setting changed by that.
    pub fn rollback(&mut self) -> bool {
        let had_local = self.end_local();
        let Some(InForce { lasting, .. }) = self.saved.end() else {
            return had_local;
        };
        let now = &self.now.lasting;
        let changed = had_local || !Arc::ptr_eq(&lasting, now) && lasting != *now;
        self.now.lasting = lasting;
        changed
    }

    fn end_local(&mut self) -> bool {
        let had = !self.now.local.is_empty();
        self.now.local.clear();
        had
    }
}

/// The statements that turn a connection with `applied` into one with `wanted`; `None` when nothing is to be done.
pub fn statements_between(applied: &AppliedSettings, wanted: &AppliedSettings) -> Option<String> {
    if Arc::ptr_eq(applied, wanted) || applied == wanted {
        return None;
    }
    let mut sql = String::new();
    if applied.contains_key(LAST) && applied.get(LAST) != wanted.get(LAST) {
        sql.push_str("RESET role;");
    }
    for name in applied.keys() {
        if &**name != LAST && !is_own(name) && !wanted.contains_key(name) {
            sql.push_str("RESET ");
            push_name(&mut sql, name);
            sql.push(';');
        }
    }
    let changed = |name: &str| {
        wanted
            .get(name)
            .filter(|value| applied.get(name) != Some(value))
    };
    for name in wanted
        .keys()
        .filter(|name| &***name != LAST && !is_own(name))
    {
        if let Some(assignment) = changed(name) {
            push_assignment(&mut sql, name, assignment);
        }
    }
    if let Some(assignment) = changed(LAST) {
        push_assignment(&mut sql, LAST, assignment);
    }
    (!sql.is_empty()).then_some(sql)
}

/// The settings by which a text is read again that was first read under `before`.
pub fn read_again(before: &AppliedSettings, now: &AppliedSettings) -> AppliedSettings {
    let lexical = |name: &str| LEXICAL.contains(&name);
    let kept = before.iter().filter(|(name, _)| lexical(name));
    let new = now.iter().filter(|(name, _)| !lexical(name));
    Arc::new(
        kept.chain(new)
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

/// The statements that bring an open transaction from one set of settings to another, until it ends.
pub fn local_statements_between(from: &AppliedSettings, to: &AppliedSettings) -> String {
    let mut sql = String::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        sql.push_str("SET LOCAL ");
        push_name(&mut sql, name);
        sql.push_str(" TO DEFAULT;");
    }
    for (name, assignment) in to.iter() {
        if from.get(name) != Some(assignment) {
            push_scoped(&mut sql, name, assignment, true);
        }
    }
    sql
}

/// Settings of the router's own are not the servers'.
fn is_own(name: &str) -> bool {
    name.starts_with("pgweave.")
}

/// One `SET` or `set_config` statement, ended with a semicolon.
pub fn push_assignment(sql: &mut String, name: &str, assignment: &Assignment) {
    push_scoped(sql, name, assignment, false);
}

fn push_scoped(sql: &mut String, name: &str, assignment: &Assignment, local: bool) {
    match assignment {
        Assignment::Sql(text) => {
            sql.push_str(if local { "SET LOCAL " } else { "SET " });
            push_name(sql, name);
            sql.push_str(" TO ");
            sql.push_str(text);
        }
        Assignment::Text(value) => {
            sql.push_str("SELECT pg_catalog.set_config(");
            push_literal(sql, name);
            sql.push_str(", ");
            push_literal(sql, value);
            sql.push_str(if local { ", true)" } else { ", false)" });
        }
    }
    sql.push(';');
}

/// Setting names are case-insensitive on the server.
pub fn canonical_name(name: &str) -> Box<str> {
    name.to_ascii_lowercase().into()
}

/// A setting's name, each dotted part as a quoted identifier.
pub fn push_name(sql: &mut String, name: &str) {
    for (index, part) in name.split('.').enumerate() {
        if index > 0 {
            sql.push('.');
        }
        sql.push('"');
        sql.push_str(&part.replace('"', "\"\""));
        sql.push('"');
    }
}

/// A string literal that reads the same whatever `standard_conforming_strings` says.
pub fn push_literal(sql: &mut String, value: &str) {
    let escape = value.contains('\\');
    if escape {
        sql.push_str(" E");
    }
    sql.push('\'');
    for character in value.chars() {
        if character == '\'' || (escape && character == '\\') {
            sql.push(character);
        }
        sql.push(character);
    }
    sql.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> Assignment {
        Assignment::Sql(text.into())
    }

    #[test]
    fn equal_settings_need_no_statement() {
        let session = Settings::new([("application_name".to_owned(), "a".to_owned())]);
        let other = Settings::new([("Application_Name".to_owned(), "a".to_owned())]);
        assert_eq!(statements_between(session.wanted(), other.wanted()), None);
    }

    #[test]
    fn a_difference_resets_and_sets_with_the_role_last_in_and_first_out() {
        let mut before = Settings::new([]);
        before.set("work_mem", sql("'1MB'"));
        before.set("role", sql("alice"));
        let mut after = Settings::new([("search_path".to_owned(), "a, b'c".to_owned())]);
        after.set("role", sql("bob"));
        assert_eq!(
            statements_between(before.wanted(), after.wanted()).unwrap(),
            "RESET role;RESET \"work_mem\";SELECT pg_catalog.set_config('search_path', 'a, b''c', false);SET \"role\" TO bob;"
        );
    }

    #[test]
    fn rollback_returns_to_the_settings_before_the_block() {
        let mut session = Settings::new([]);
        session.set("a", sql("1"));
        session.begin();
        session.set("a", sql("2"));
        session.savepoint("s");
        session.set("a", sql("3"));
        session.rollback_to("s");
        assert_eq!(session.get("a"), Some(&sql("2")));
        assert!(session.rollback());
        assert_eq!(session.get("a"), Some(&sql("1")));
    }

    #[test]
    fn a_local_setting_hides_the_sessions_own_until_the_block_or_its_savepoint_ends() {
        let mut session = Settings::new([("a".to_owned(), "0".to_owned())]);
        session.set("a", sql("1"));
        session.begin();
        session.savepoint("s");
        session.set_local("A", Some(sql("2")));
        assert_eq!(session.get("a"), Some(&sql("2")));
        session.set_local("a", None);
        assert_eq!(session.get("a"), Some(&Assignment::Text("0".into())));
        session.rollback_to("s");
        assert_eq!(session.get("a"), Some(&sql("1")));
        session.set_local("a", Some(sql("3")));
        session.set("a", sql("4"));
        assert_eq!(session.get("a"), Some(&sql("4")));
        session.set_local("a", Some(sql("5")));
        assert!(session.commit());
        assert_eq!(session.get("a"), Some(&sql("4")));
    }

    #[test]
    fn what_a_statement_is_read_by_can_be_brought_back() {
        let mut session = Settings::new([("TimeZone".to_owned(), "UTC".to_owned())]);
        session.set("work_mem", sql("'1MB'"));
        session.set("standard_conforming_strings", sql("off"));
        let before = session.reading();
        session.set("datestyle", sql("german"));
        session.set("timezone", sql("'Asia/Tokyo'"));
        session.set("standard_conforming_strings", sql("on"));
        let now = session.reading();
        assert_eq!(
            local_statements_between(&now, &before),
            "SET LOCAL \"datestyle\" TO DEFAULT;SET LOCAL \"standard_conforming_strings\" TO off;\
             SELECT pg_catalog.set_config('timezone', 'UTC', true);"
        );
        let again = read_again(&before, &now);
        assert_eq!(
            local_statements_between(&now, &again),
            "SET LOCAL \"standard_conforming_strings\" TO off;"
        );
        assert_eq!(local_statements_between(&now, &now), "");
    }

    #[test]
    fn reset_returns_to_the_startup_value() {
        let mut session = Settings::new([("timezone".to_owned(), "UTC".to_owned())]);
        session.set("TimeZone", sql("'Asia/Tokyo'"));
        session.reset("timezone");
        assert_eq!(
            session.get("timezone"),
            Some(&Assignment::Text("UTC".into()))
        );
    }

    #[test]
    fn literals_survive_backslashes_and_quotes() {
        let mut text = String::new();
        push_literal(&mut text, r"a\'b");
        assert_eq!(text, r" E'a\\''b'");
    }
}
