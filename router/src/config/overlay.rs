//! Settings from the environment and the command line, laid over those of the file.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Sources;

/// Before the names of settings in the environment; two underscores separate section and key.
const PREFIX: &str = "PGWEAVE__";

/// A setting that does not come from the file.
pub(super) struct Override {
    /// For people: `environment variable …` or `option --set`.
    pub(super) name: String,
    /// The whole of it, as in `PGWEAVE__POOL__MAX_SIZE=20`.
    pub(super) text: String,
    pub(super) path: Vec<String>,
    pub(super) value: String,
}

impl Override {
    /// All settings of the environment and the command line, the stronger ones last.
    pub(super) fn all(sources: &Sources) -> Vec<Override> {
        let mut overrides: Vec<Override> = sources
            .environment
            .iter()
            .filter_map(|(variable, value)| {
                let path = variable.strip_prefix(PREFIX)?;
                Some(Override {
                    name: format!("environment variable {variable}"),
                    text: format!("{variable}={value}"),
                    path: path.split("__").map(str::to_ascii_lowercase).collect(),
                    value: value.clone(),
                })
            })
            .collect();
        overrides.sort_by(|a, b| a.text.cmp(&b.text));
        overrides.extend(sources.options.iter().map(|option| {
            let (path, value) = option.split_once('=').unwrap_or((option, ""));
            Override {
                name: "option --set".to_owned(),
                text: option.clone(),
                path: path.trim().split('.').map(str::to_owned).collect(),
                value: value.to_owned(),
            }
        }));
        overrides
    }
}

/// A value from outside the file: what TOML would read, if that is no text, else the text as it is.
pub(super) fn spanned<'a>(
    text: &'a str,
    as_text: bool,
    span: &Range<usize>,
) -> Spanned<DeValue<'a>> {
    let parsed = if as_text {
        None
    } else {
        DeValue::parse(text).ok()
    };
    match parsed.map(Spanned::into_inner) {
        Some(
            value @ (DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Array(_)),
        ) => relocated(value, span),
        _ => Spanned::new(span.clone(), DeValue::String(Cow::Borrowed(text))),
    }
}

/// Gives a value and all in it one span.
fn relocated<'a>(value: DeValue<'a>, span: &Range<usize>) -> Spanned<DeValue<'a>> {
    let value = match value {
        DeValue::Array(list) => DeValue::Array(
            list.into_iter()
                .map(|value| relocated(value.into_inner(), span))
                .collect(),
        ),
        other => other,
    };
    Spanned::new(span.clone(), value)
}

/// Sets the value at `path`, making the tables on the way; `false` if something else than a table is in the way.
pub(super) fn insert<'a>(
    table: &mut DeTable<'a>,
    path: &'a [String],
    value: Spanned<DeValue<'a>>,
    span: &Range<usize>,
) -> bool {
    let key = |name: &'a str| Spanned::new(span.clone(), Cow::Borrowed(name));
    let (name, rest) = match path {
        [] => return false,
        [name] => {
            table.remove(name.as_str());
            table.insert(key(name), value);
            return true;
        }
        [name, rest @ ..] => (name, rest),
    };
    if !table.contains_key(name.as_str()) {
        table.insert(
            key(name),
            Spanned::new(span.clone(), DeValue::Table(DeTable::new())),
        );
    }
    match table.get_mut(name.as_str()).map(Spanned::get_mut) {
        Some(DeValue::Table(inner)) => insert(inner, rest, value, span),
        Some(DeValue::Array(list)) => {
            let [index, rest @ ..] = rest else {
                return false;
            };
            let item = index
                .parse::<usize>()
                .ok()
                .and_then(|index| list.get_mut(index));
            match item.map(Spanned::get_mut) {
                Some(DeValue::Table(inner)) => insert(inner, rest, value, span),
                _ => false,
            }
        }
        _ => false,
    }
}
