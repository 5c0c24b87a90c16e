//! The file's text with what the environment and the command line put above it, and where each setting is written.
//!
//! TOML values carry the span of their text. A setting from elsewhere gets a span behind the end of the file, one range
//! for each, so that whatever refers to a span can tell where the setting came from.

use std::ops::Range;

use miette::NamedSource;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Error, Invalid, Place};
use super::overlay::{Override, insert, spanned};
use super::resolve::Raw;
use super::words::{blotted, in_plain_words, suggest};

/// All settings as written.
pub(super) struct Document<'a> {
    name: &'a str,
    text: &'a str,
    overrides: &'a [Override],
    /// For each override: its value is text, even though it looks like a number or the like.
    as_text: Vec<bool>,
    table: DeTable<'a>,
}

impl<'a> Document<'a> {
    /// Reads the text, lays the overrides over it, and reads the settings from the result.
    pub(super) fn read(
        name: &'a str,
        text: &'a str,
        overrides: &'a [Override],
    ) -> Result<(Document<'a>, Raw), Error> {
        let as_text = vec![false; overrides.len()];
        let mut document = Document {
            name,
            text,
            overrides,
            as_text,
            table: DeTable::new(),
        };
        let file = match DeTable::parse(text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let help =
                    "correct the line; docker/pgweave.toml in the source is a complete example";
                return Err(document.error(span, error.message().to_owned(), help.to_owned()));
            }
        };
        let mut first_error = None;
        loop {
            document.table = file.clone();
            document.lay_over()?;
            let root = Spanned::new(0..text.len(), document.table.clone());
            let error = match Raw::deserialize(toml::Deserializer::from(root)) {
                Ok(raw) => return Ok((document, raw)),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let index = document.override_at(&span);
            let explained = first_error
                .take()
                .unwrap_or_else(|| document.explain(error.message(), span));
            // The environment has no quotes: a password of digits looks like a number until text is wanted.
            match index.and_then(|index| document.as_text.get_mut(index)) {
                Some(as_text) if !*as_text => {
                    *as_text = true;
                    first_error = Some(explained);
                }
                _ => return Err(explained),
            }
        }
    }

    /// An error at the setting `path`, or at the nearest place above it that is written.
    pub(super) fn error_at(&self, path: &[&str], message: String, help: String) -> Error {
        let mut span = 0..0;
        let mut table = Some(&self.table);
        let mut list: Option<&[Spanned<DeValue<'a>>]> = None;
        for part in path {
            let value = match (table, list) {
                (Some(table), _) => table.get(*part),
                (_, Some(list)) => part.parse::<usize>().ok().and_then(|index| list.get(index)),
                (None, None) => None,
            };
            let Some(value) = value else { break };
            span = value.span();
            table = value.get_ref().as_table();
            list = value.get_ref().as_array().map(|array| &array[..]);
        }
        self.error(span, message, help)
    }

    /// Puts the settings of the other sources into the table.
    fn lay_over(&mut self) -> Result<(), Error> {
        let mut start = self.text.len() + 1;
        for (over, as_text) in self.overrides.iter().zip(&self.as_text) {
            let span = start..start + over.text.len();
            let value = spanned(&over.value, *as_text, &span);
            if !insert(&mut self.table, &over.path, value, &span) {
                let message = format!("`{}` is no setting", over.path.join("."));
                return Err(self.error(
                    span,
                    message,
                    "name a section and a key, as in listen.port".to_owned(),
                ));
            }
            start = span.end + 1;
        }
        Ok(())
    }

    /// The override whose range holds `span`.
    fn override_at(&self, span: &Range<usize>) -> Option<usize> {
        let mut start = self.text.len() + 1;
        self.overrides.iter().position(|over| {
            let range = start..start + over.text.len() + 1;
            start = range.end;
            range.contains(&span.start)
        })
    }

    /// Makes the library's message one for operators.
    fn explain(&self, message: &str, span: Range<usize>) -> Error {
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        // An unknown key may be the misspelt name of a secret.
        let hide_value = message.starts_with("unknown field");
        let (message, help) = match (message, quoted.as_slice()) {
            (text, [unknown, known @ ..]) if text.starts_with("unknown field") => {
                let section = self.section_of(&span);
                let known_list = match known {
                    [] => String::new(),
                    known => format!("{section} knows {}", known.join(", ")),
                };
                (
                    format!("unknown key `{unknown}`"),
                    suggest(unknown, known, known_list),
                )
            }
            (text, [unknown, known @ ..]) if text.starts_with("unknown variant") => (
                format!("unknown value `{unknown}`"),
                suggest(
                    unknown,
                    known,
                    format!("choose one of {}", known.join(", ")),
                ),
            ),
            // The only section that a file must have.
            (text, ["catalog"]) if text.starts_with("missing field") => (
                "section [catalog] is missing".to_owned(),
                "add it with a line `host = \"…\"`: the server that holds schema pgweave"
                    .to_owned(),
            ),
            (text, [missing, ..]) if text.starts_with("missing field") => {
                let section = self.section_of(&span);
                (
                    format!("`{missing}` is missing in {section}"),
                    format!("add a line `{missing} = …` to {section}"),
                )
            }
            (text, _) => (
                in_plain_words(text),
                "docker/pgweave.toml in the source shows each setting".to_owned(),
            ),
        };
        self.error_with(span, message, help, hide_value)
    }

    /// The section that holds a span, for people.
    fn section_of(&self, span: &Range<usize>) -> String {
        if let Some(over) = self
            .override_at(span)
            .and_then(|index| self.overrides.get(index))
        {
            return match over.path.as_slice() {
                [section, .., _] => format!("[{section}]"),
                _ => "the top".to_owned(),
            };
        }
        // The last header above it; a table's own span is its header.
        let end = span.end.min(self.text.len());
        let line_end = self.text[end..]
            .find('\n')
            .map_or(self.text.len(), |offset| end + offset);
        let header = self.text[..line_end]
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| line.starts_with('['));
        match header {
            Some(header) => {
                let name = header
                    .trim_start_matches('[')
                    .split(']')
                    .next()
                    .unwrap_or("");
                format!("[{name}]")
            }
            None => "the top".to_owned(),
        }
    }

    fn error(&self, span: Range<usize>, message: String, help: String) -> Error {
        self.error_with(span, message, help, false)
    }

    /// `hide_value` shows the key only.
    fn error_with(
        &self,
        span: Range<usize>,
        message: String,
        help: String,
        hide_value: bool,
    ) -> Error {
        let place = match self
            .override_at(&span)
            .and_then(|index| self.overrides.get(index))
        {
            Some(over) => {
                let text = blotted(&over.text, hide_value);
                let span = 0..text.len();
                Place {
                    name: over.name.clone(),
                    line: 1,
                    column: 1,
                    source: NamedSource::new(&over.name, text),
                    span,
                }
            }
            None => self.place_in_file(span, hide_value),
        };
        Error::Invalid(Box::new(Invalid {
            message,
            help,
            place,
        }))
    }

    fn place_in_file(&self, span: Range<usize>, hide_value: bool) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let line_start = self.text[..start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line_end = self.text[start..]
            .find('\n')
            .map_or(self.text.len(), |newline| start + newline);
        // Only this line is shown, in its place: the others may hold secrets.
        let hidden = |text: &str| -> String {
            text.chars()
                .filter(|character| *character == '\n')
                .collect()
        };
        let before = hidden(&self.text[..line_start]);
        let several_lines = self.text.contains("\"\"\"") || self.text.contains("'''");
        let line = if several_lines {
            String::new()
        } else {
            blotted(&self.text[line_start..line_end], hide_value)
        };
        let offset = before.len() + (start - line_start).min(line.len());
        let end = (offset + span.len()).min(before.len() + line.len());
        Place {
            name: self.name.to_owned(),
            line: before.len() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            source: NamedSource::new(self.name, format!("{before}{line}\n")),
            span: offset..end.max(offset),
        }
    }
}
