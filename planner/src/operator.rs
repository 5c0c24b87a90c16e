//! The operator's dialect. The only file that names sqlparser.
//!
//! Entry point: [`statement`], for a text that PostgreSQL's grammar has rejected and whose first word is ours. Each statement equals a
//! call of a function of schema `pgweave`:
//!
//! ```text
//! SHARD TABLE t BY [HASH | RANGE | LIST] (a, b) [COLOCATE WITH u] [ON s1, s2]
//!                         pgweave.shard_table('t', array['a', 'b'], by => 'hash', colocate_with => 'u', shards => array['s1', 's2'])
//! REFERENCE TABLE t       pgweave.reference_table('t')
//! UNSHARDED TABLE t ON s  pgweave.unsharded_table('t', 's')
//! AUTO SHARD BY column    pgweave.auto_shard('column')
//! ```
//!
//! `SHOW SHARDS` and its kin are PostgreSQL's SHOW with names of ours: [`shown`].

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::piece::{Piece, piece};
use crate::{AdminArg, AdminCall, Error};

/// Longer texts are none of ours.
const TEXT_LIMIT_BYTES: usize = 64 << 10;

/// The setting that `SHOW name` means when it is one of the operator's views.
pub(crate) fn shown(name: &str) -> Option<String> {
    const VIEWS: [&str; 9] = [
        "shards",
        "tables",
        "placements",
        "pools",
        "sessions",
        "groups",
        "routers",
        "replicas",
        "transactions",
    ];
    let name = name.to_ascii_lowercase();
    VIEWS
        .contains(&name.as_str())
        .then(|| format!("pgweave.{name}"))
}

/// Reads a text in the operator's dialect. `None`: the text is not of this dialect, and the error of PostgreSQL's grammar stands.
pub(crate) fn statement(sql: &str) -> Option<Result<AdminCall, Error>> {
    if sql.len() > TEXT_LIMIT_BYTES {
        return None;
    }
    let (Piece::Word, first) = piece(sql.as_bytes(), 0)? else {
        return None;
    };
    let first = sql.get(first)?.to_ascii_uppercase();
    if !matches!(first.as_str(), "SHARD" | "REFERENCE" | "UNSHARDED" | "AUTO") {
        return None;
    }
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql).ok()?;
    Some(Dialect { parser, sql }.statement())
}

struct Dialect<'a> {
    parser: Parser<'a>,
    sql: &'a str,
}

impl Dialect<'_> {
    fn statement(mut self) -> Result<AdminCall, Error> {
        let call = if self.accept("SHARD") {
            self.shard_table()?
        } else if self.accept("REFERENCE") {
            self.expect("TABLE")?;
            call(
                "reference_table",
                vec![(None, AdminArg::Text(self.table()?))],
            )
        } else if self.accept("UNSHARDED") {
            self.expect("TABLE")?;
            let table = self.table()?;
            self.expect("ON")?;
            call(
                "unsharded_table",
                vec![
                    (None, AdminArg::Text(table)),
                    (None, AdminArg::Text(self.name()?)),
                ],
            )
        } else {
            self.expect("AUTO")?;
            self.expect("SHARD")?;
            self.expect("BY")?;
            call("auto_shard", vec![(None, AdminArg::Text(self.name()?))])
        };
        while self.parser.consume_token(&Token::SemiColon) {}
        match self.parser.peek_token() {
            TokenWithSpan {
                token: Token::EOF, ..
            } => Ok(call),
            token => Err(self.unexpected(&token)),
        }
    }

    fn shard_table(&mut self) -> Result<AdminCall, Error> {
        self.expect("TABLE")?;
        let table = self.table()?;
        self.expect("BY")?;
        let by = ["HASH", "RANGE", "LIST"]
            .into_iter()
            .find(|by| self.accept(by));
        self.expect_token(Token::LParen)?;
        let columns = self.names()?;
        self.expect_token(Token::RParen)?;
        let key = match columns.as_slice() {
            [column] => AdminArg::Text(column.clone()),
            _ => AdminArg::Array(columns.into_iter().map(AdminArg::Text).collect()),
        };
        let mut arguments = vec![(None, AdminArg::Text(table)), (None, key)];
        let mut named =
            |name: &str, value: AdminArg| arguments.push((Some(name.to_owned()), value));
        if let Some(by) = by {
            named("by", AdminArg::Text(by.to_ascii_lowercase()));
        }
        if self.accept("COLOCATE") {
            self.expect("WITH")?;
            named("colocate_with", AdminArg::Text(self.table()?));
        }
        if self.accept("ON") {
            named(
                "shards",
                AdminArg::Array(self.names()?.into_iter().map(AdminArg::Text).collect()),
            );
        }
        Ok(call("shard_table", arguments))
    }

    /// `name` or `schema.name`, written so that `regclass` reads it back.
    fn table(&mut self) -> Result<String, Error> {
        let mut table = self.quoted_name()?;
        while self.parser.consume_token(&Token::Period) {
            table.push('.');
            table.push_str(&self.quoted_name()?);
        }
        Ok(table)
    }

    fn quoted_name(&mut self) -> Result<String, Error> {
        let name = self.name()?;
        let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        Ok(if plain {
            name
        } else {
            catalog::quote_identifier(&name)
        })
    }

    fn names(&mut self) -> Result<Vec<String>, Error> {
        let mut names = vec![self.name()?];
        while self.parser.consume_token(&Token::Comma) {
            names.push(self.name()?);
        }
        Ok(names)
    }

    /// A name as PostgreSQL folds it.
    fn name(&mut self) -> Result<String, Error> {
        let token = self.parser.next_token();
        match &token.token {
            Token::Word(Word {
                value,
                quote_style: None,
                ..
            }) => Ok(value.to_lowercase()),
            Token::Word(Word {
                value,
                quote_style: Some('"'),
                ..
            }) => Ok(value.replace("\"\"", "\"")),
            _ => Err(self.unexpected(&token)),
        }
    }

    fn accept(&mut self, keyword: &str) -> bool {
        let found = match &self.parser.peek_token().token {
            Token::Word(word) => {
                word.quote_style.is_none() && word.value.eq_ignore_ascii_case(keyword)
            }
            _ => false,
        };
        if found {
            self.parser.next_token();
        }
        found
    }

    fn expect(&mut self, keyword: &str) -> Result<(), Error> {
        if self.accept(keyword) {
            return Ok(());
        }
        Err(self
            .unexpected(&self.parser.peek_token())
            .with_hint(format!("{keyword} is expected here.")))
    }

    fn expect_token(&mut self, expected: Token) -> Result<(), Error> {
        if self.parser.consume_token(&expected) {
            return Ok(());
        }
        Err(self
            .unexpected(&self.parser.peek_token())
            .with_hint(format!("\"{expected}\" is expected here.")))
    }

    /// In the words of PostgreSQL's own grammar.
    fn unexpected(&self, token: &TokenWithSpan) -> Error {
        let start = token.span.start;
        let (message, position) = match token.token {
            Token::EOF => (
                "syntax error at end of input".to_owned(),
                self.sql.chars().count() + 1,
            ),
            _ => {
                let before: usize = self
                    .sql
                    .split_inclusive('\n')
                    .take(usize::try_from(start.line.saturating_sub(1)).unwrap_or(0))
                    .map(|line| line.chars().count())
                    .sum();
                let column = usize::try_from(start.column).unwrap_or(1);
                (
                    format!("syntax error at or near \"{}\"", token.token),
                    before + column,
                )
            }
        };
        Error::Syntax {
            sqlstate: "42601",
            message,
            detail: None,
            hint: None,
            position: Some(position),
        }
    }
}

fn call(name: &str, arguments: Vec<(Option<String>, AdminArg)>) -> AdminCall {
    AdminCall {
        name: name.to_owned(),
        arguments,
        column: name.to_owned(),
        from_clause: false,
        parameters: 0,
    }
}
