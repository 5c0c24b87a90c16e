//! Scripts: SQL with directives in comments.
//!
//! A statement ends at a `;` at the end of a line, or at an empty line; several statements on one line are sent as one text.
//! `:schema` in it is replaced by the name of the run's schema. After `COPY … FROM STDIN` come the data, up to a line `\.`.
//! A comment that begins with one of these words is a directive; it is for the next statement unless it says otherwise:
//!
//! - `-- script only simple`: the whole script runs in these modes only (`simple`, `text`, `binary`, or `extended` for the
//!   last two).
//! - `-- only extended`: so does the statement.
//! - `-- connect b`: from here on session `b` is used, opened if need be; the first session is `a`.
//! - `-- disconnect b`: ends session `b`, and goes back to `a`.
//! - `-- unordered`: the rows may come in any order.
//! - `-- bind 42::int8, 'it''s', NULL`: values for the parameters; with a type it is declared in Parse. By the
//!   extended protocol only.
//! - `-- limit 2`: Execute asks for this many rows at most, again and again until there are no more. By the extended protocol only.
//! - `-- setup pgweave: SELECT …`: runs on pgweave only, now, and must succeed.
//! - `-- expect-refusal 0A000`: pgweave must refuse the statement with this SQLSTATE. PostgreSQL does not get it.
//! - `-- differs: why`: both run it, and answers are not compared.

use std::path::Path;

use super::Mode;
use crate::process::Failure;

/// A script that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    pub name: String,
    pub steps: Vec<Step>,
    modes: Option<Vec<Mode>>,
}

/// One thing to do, and the line it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub line: usize,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Connect(String),
    Disconnect(String),
    SetUp(String),
    Run(Statement),
}

/// A text to send, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    pub sql: String,
    /// What COPY is to read.
    pub data: Option<String>,
    pub parameters: Option<Vec<Parameter>>,
    pub limit: Option<i32>,
    pub unordered: bool,
    /// The SQLSTATE of pgweave's refusal.
    pub refusal: Option<String>,
    pub differs: bool,
    modes: Option<Vec<Mode>>,
}

/// A value for `$n`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub value: Option<String>,
    /// As written behind `::`; sent in Parse.
    pub type_name: Option<String>,
}

impl Script {
    pub fn read(path: &Path) -> Result<Script, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure(format!("cannot read {}: {error}", path.display())))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Script::parse(&name, &text)
    }

    /// Errors name the line.
    pub fn parse(name: &str, text: &str) -> Result<Script, Failure> {
        let mut script = Script {
            name: name.to_owned(),
            steps: Vec::new(),
            modes: None,
        };
        let mut lines = text.lines().enumerate();
        let mut pending = Statement::default();
        while let Some((index, line)) = lines.next() {
            let number = index + 1;
            let failed = |why: String| Failure(format!("{name}.sql:{number}: {why}"));
            if let Some(comment) = line.strip_prefix("--") {
                directive(comment.trim(), number, &mut script, &mut pending).map_err(failed)?;
                continue;
            }
            if line.trim().is_empty() {
                continue;
            }
            let mut sql = line.to_owned();
            let mut lexer = Lexer::default();
            lexer.feed(line);
            while !(lexer.is_plain() && !lexer.ended_in_remark && sql.trim_end().ends_with(';')) {
                match lines.next() {
                    Some((_, next)) if next.trim().is_empty() && lexer.is_plain() => break,
                    Some((_, next)) => {
                        sql.push('\n');
                        sql.push_str(next);
                        lexer.feed("\n");
                        lexer.feed(next);
                    }
                    None if lexer.is_plain() => break,
                    None => return Err(failed("a quote is not closed".to_owned())),
                }
            }
            let mut statement = std::mem::take(&mut pending);
            if reads_data(&sql) {
                let mut data = String::new();
                loop {
                    match lines.next() {
                        Some((_, "\\.")) => break,
                        Some((_, line)) => {
                            data.push_str(line);
                            data.push('\n');
                        }
                        None => return Err(failed("the data has no end".to_owned())),
                    }
                }
                statement.data = Some(data);
            }
            statement.sql = sql;
            script.steps.push(Step {
                line: number,
                action: Action::Run(statement),
            });
        }
        if pending != Statement::default() {
            return Err(Failure(format!(
                "{name}.sql: the last directive has no statement"
            )));
        }
        Ok(script)
    }

    /// Whether it has pgweave shard tables, which changes what others are answered: a statement whose tables cannot be seen is
    /// allowed while all tables are on one shard.
    pub fn shards_tables(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(&step.action, Action::SetUp(sql) if sql.contains("pgweave.")))
    }

    pub fn runs_in(&self, mode: Mode) -> bool {
        self.modes
            .as_ref()
            .is_none_or(|modes| modes.contains(&mode))
    }
}

impl Statement {
    pub fn runs_in(&self, mode: Mode) -> bool {
        let extended_only = self.parameters.is_some() || self.limit.is_some();
        !(extended_only && mode == Mode::Simple)
            && self
                .modes
                .as_ref()
                .is_none_or(|modes| modes.contains(&mode))
    }
}

fn directive(
    comment: &str,
    line: usize,
    script: &mut Script,
    pending: &mut Statement,
) -> Result<(), String> {
    let (word, rest) = comment.split_once(' ').unwrap_or((comment, ""));
    let rest = rest.trim();
    let mut step = |action| script.steps.push(Step { line, action });
    match word {
        "script" => {
            let only = rest
                .strip_prefix("only ")
                .ok_or("write: script only MODE")?;
            script.modes = Some(modes(only)?);
        }
        "only" => pending.modes = Some(modes(rest)?),
        "connect" => step(Action::Connect(rest.to_owned())),
        "disconnect" => step(Action::Disconnect(rest.to_owned())),
        "unordered" => pending.unordered = true,
        "bind" => pending.parameters = Some(parameters(rest)?),
        "limit" => pending.limit = Some(rest.parse().map_err(|_| "limit needs a number")?),
        "setup" => match rest.strip_prefix("pgweave:") {
            Some(sql) => step(Action::SetUp(sql.trim().to_owned())),
            None => return Err("write: setup pgweave: SQL".to_owned()),
        },
        "expect-refusal" if rest.len() == 5 => pending.refusal = Some(rest.to_owned()),
        "expect-refusal" => return Err("expect-refusal needs an SQLSTATE".to_owned()),
        "differs:" => pending.differs = true,
        // A comment for people.
        _ => {}
    }
    Ok(())
}

fn modes(words: &str) -> Result<Vec<Mode>, String> {
    let mut modes = Vec::new();
    for word in words.split([' ', ',']).filter(|word| !word.is_empty()) {
        match word {
            "simple" => modes.push(Mode::Simple),
            "text" => modes.push(Mode::Text),
            "binary" => modes.push(Mode::Binary),
            "extended" => modes.extend([Mode::Text, Mode::Binary]),
            other => return Err(format!("{other} is no mode")),
        }
    }
    Ok(modes)
}

/// Values as SQL would have them: quoted, bare, or NULL, each with a type or without.
fn parameters(text: &str) -> Result<Vec<Parameter>, String> {
    let mut parameters = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (value, after) = match rest.strip_prefix('\'') {
            Some(quoted) => {
                let mut value = String::new();
                let mut tail = quoted;
                loop {
                    let (part, after) = tail.split_once('\'').ok_or("a quote is not closed")?;
                    value.push_str(part);
                    match after.strip_prefix('\'') {
                        Some(further) => {
                            value.push('\'');
                            tail = further;
                        }
                        None => break (Some(value), after),
                    }
                }
            }
            None => {
                let end = rest.find([',', ':']).unwrap_or(rest.len());
                let (bare, after) = rest.split_at(end);
                let bare = bare.trim();
                ((bare != "NULL").then(|| bare.to_owned()), after)
            }
        };
        let (type_name, after) = match after.trim_start().strip_prefix("::") {
            Some(after) => {
                let end = after.find(',').unwrap_or(after.len());
                let (name, after) = after.split_at(end);
                (Some(name.trim().to_owned()), after)
            }
            None => (None, after),
        };
        parameters.push(Parameter { value, type_name });
        rest = after.trim_start();
        if !rest.is_empty() {
            rest = rest
                .strip_prefix(',')
                .ok_or("values are separated by commas")?;
            rest = rest.trim_start();
        }
    }
    Ok(parameters)
}

fn reads_data(sql: &str) -> bool {
    let words = sql.to_ascii_lowercase();
    words.trim_start().starts_with("copy ") && words.contains("from stdin")
}

/// Knows whether a text read so far ends within a quote or a comment.
#[derive(Debug, Default)]
struct Lexer {
    within: Within,
    /// The last line ended in a `--` comment.
    ended_in_remark: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Plain,
    /// Up to this character.
    Quoted(char),
    /// Up to this after a dollar, as in `$body$`.
    Dollar(String),
    /// A string like `E'it\'s'`.
    Escaped,
    /// Comments within comments, so many.
    Comment(u32),
}

impl Lexer {
    fn is_plain(&self) -> bool {
        self.within == Within::Plain
    }

    fn feed(&mut self, line: &str) {
        self.ended_in_remark = false;
        let mut rest = line;
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            let next = &rest[c.len_utf8()..];
            rest = next;
            match &mut self.within {
                Within::Plain if c == '-' && next.starts_with('-') => {
                    self.ended_in_remark = true;
                    return;
                }
                Within::Plain if c == '/' && next.starts_with('*') => {
                    self.within = Within::Comment(1);
                    rest = &next[1..];
                }
                Within::Comment(depth) if c == '/' && next.starts_with('*') => {
                    *depth += 1;
                    rest = &next[1..];
                }
                Within::Comment(depth) if c == '*' && next.starts_with('/') => {
                    *depth -= 1;
                    if *depth == 0 {
                        self.within = Within::Plain;
                    }
                    rest = &next[1..];
                }
                Within::Plain if c == '\'' && matches!(before, 'e' | 'E') => {
                    self.within = Within::Escaped;
                }
                Within::Escaped if c == '\\' => {
                    rest = next.get(1..).unwrap_or("");
                }
                Within::Escaped if c == '\'' => self.within = Within::Plain,
                Within::Plain if c == '\'' || c == '"' => self.within = Within::Quoted(c),
                Within::Quoted(quote) if c == *quote => self.within = Within::Plain,
                Within::Plain if c == '$' => {
                    let end = next.find('$').filter(|end| is_tag(&next[..*end]));
                    if let Some(end) = end {
                        self.within = Within::Dollar(format!("{}$", &next[..end]));
                        rest = &next[end + 1..];
                    }
                }
                Within::Dollar(end) if c == '$' && next.starts_with(end.as_str()) => {
                    rest = &next[end.len()..];
                    self.within = Within::Plain;
                }
                _ => {}
            }
            before = c;
        }
    }
}

/// What may stand between the dollars of a dollar quote.
fn is_tag(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(text: &str) -> Vec<Statement> {
        let script = Script::parse("t", text).unwrap();
        let run = script
            .steps
            .into_iter()
            .filter_map(|step| match step.action {
                Action::Run(statement) => Some(statement),
                _ => None,
            });
        run.collect()
    }

    fn texts(text: &str) -> Vec<String> {
        statements(text).into_iter().map(|s| s.sql).collect()
    }

    #[test]
    fn statements_end_at_a_semicolon_at_the_end_of_a_line_or_at_an_empty_line() {
        assert_eq!(
            texts("SELECT 1;\nSELECT\n  2;\nSELECT 3; SELECT 4;\nSELECT 5\n\n-- said\nSELECT 6"),
            [
                "SELECT 1;",
                "SELECT\n  2;",
                "SELECT 3; SELECT 4;",
                "SELECT 5",
                "SELECT 6"
            ]
        );
    }

    #[test]
    fn quotes_hide_what_would_end_a_statement() {
        assert_eq!(texts("SELECT 'a;\nb';\nSELECT $1;").len(), 2);
        assert_eq!(texts("DO $x$ BEGIN;\n\nEND;\n$x$;\nSELECT 1;").len(), 2);
        assert_eq!(texts("SELECT 1 -- it's;\n;\nSELECT \"a;\nb\";").len(), 2);
        assert_eq!(
            texts("SELECT E'it\\'s;\n';\n/* a /* b; */\n;*/ SELECT 2;").len(),
            2
        );
        assert!(Script::parse("t", "SELECT 'a;").is_err());
    }

    #[test]
    fn copy_takes_its_data_along() {
        let copy = &statements("COPY t FROM STDIN;\n1\tone\n\n2\ttwo\n\\.\nSELECT 1;")[0];
        assert_eq!(copy.data.as_deref(), Some("1\tone\n\n2\ttwo\n"));
    }

    #[test]
    fn directives_are_for_the_next_statement() {
        let text = "-- unordered\n-- expect-refusal 0A000\nSELECT 1;\nSELECT 2;";
        let all = statements(text);
        assert!(all[0].unordered && all[0].refusal.as_deref() == Some("0A000"));
        assert_eq!(
            all[1],
            Statement {
                sql: "SELECT 2;".to_owned(),
                ..Statement::default()
            }
        );
        assert!(Script::parse("t", "-- unordered\n").is_err());
        assert!(Script::parse("t", "-- only fast\nSELECT 1;").is_err());
    }

    #[test]
    fn values_are_read_as_sql_would_read_them() {
        let parameter = |value: Option<&str>, type_name: Option<&str>| Parameter {
            value: value.map(str::to_owned),
            type_name: type_name.map(str::to_owned),
        };
        assert_eq!(
            parameters("42::int8, 'it''s, so', NULL::text, NULL, {1,2}"),
            Ok(vec![
                parameter(Some("42"), Some("int8")),
                parameter(Some("it's, so"), None),
                parameter(None, Some("text")),
                parameter(None, None),
                parameter(Some("{1"), None),
                parameter(Some("2}"), None),
            ])
        );
        assert!(parameters("'open").is_err());
    }
}
