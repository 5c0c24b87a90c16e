//! Why a statement has no plan, in the words a client sees.
//!
//! Entry point: [`Error`]. Every variant answers with its SQLSTATE; messages name the construct and the table, hints
//! say what to do next. Errors that PostgreSQL's own grammar raises keep PostgreSQL's text and position.

use std::fmt;

/// The outcome of planning or resolving that is not a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// PostgreSQL's scanner or grammar rejects the text. `sqlstate` is 42601 but for a few lexical errors.
    Syntax {
        sqlstate: &'static str,
        message: String,
        detail: Option<String>,
        hint: Option<String>,
        position: Option<usize>,
    },
    /// Nested deeper or longer than is safe to parse or to walk.
    TooComplex { message: String },
    /// Not provably answered by one shard (or not at all behind a router).
    Unsupported {
        message: String,
        detail: Option<String>,
        hint: Option<String>,
        position: Option<usize>,
    },
    /// The values of this execution lead to several shards.
    SeveralShards { shards: Vec<String> },
    /// No placement covers the key.
    Unmapped {
        message: String,
        detail: Option<String>,
    },
    /// The statement is well-formed but says something wrong: an argument, a name, an option.
    Invalid {
        sqlstate: &'static str,
        message: String,
        hint: Option<String>,
        position: Option<usize>,
    },
    /// The planner met a state that it holds to be impossible.
    Internal { message: String },
}

impl Error {
    /// The five-character code that a client's driver turns into an exception class.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Error::Syntax { sqlstate, .. } | Error::Invalid { sqlstate, .. } => sqlstate,
            Error::TooComplex { .. } => "54001",
            Error::Unsupported { .. } | Error::SeveralShards { .. } => "0A000",
            Error::Unmapped { .. } => "23514",
            Error::Internal { .. } => "XX000",
        }
    }

    pub fn message(&self) -> String {
        match self {
            Error::Syntax { message, .. }
            | Error::TooComplex { message }
            | Error::Unsupported { message, .. }
            | Error::Unmapped { message, .. }
            | Error::Invalid { message, .. }
            | Error::Internal { message } => message.clone(),
            Error::SeveralShards { shards } => {
                format!(
                    "this statement's shard keys lie on several shards: {}",
                    shards.join(", ")
                )
            }
        }
    }

    pub fn detail(&self) -> Option<&str> {
        match self {
            Error::Syntax { detail, .. }
            | Error::Unsupported { detail, .. }
            | Error::Unmapped { detail, .. } => detail.as_deref(),
            Error::SeveralShards { .. } => {
                Some("A statement of this kind is not supported over several shards.")
            }
            Error::TooComplex { .. } | Error::Invalid { .. } | Error::Internal { .. } => None,
        }
    }

    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Syntax { hint, .. }
            | Error::Unsupported { hint, .. }
            | Error::Invalid { hint, .. } => hint.as_deref(),
            Error::SeveralShards { .. } => Some("Send one statement per shard key."),
            Error::TooComplex { .. } => {
                Some("Split the statement, or pass long lists as an array parameter.")
            }
            Error::Unmapped { .. } | Error::Internal { .. } => None,
        }
    }

    /// Where in the client's text, in characters from 1.
    pub fn position(&self) -> Option<usize> {
        match self {
            Error::Syntax { position, .. }
            | Error::Unsupported { position, .. }
            | Error::Invalid { position, .. } => *position,
            Error::TooComplex { .. }
            | Error::SeveralShards { .. }
            | Error::Unmapped { .. }
            | Error::Internal { .. } => None,
        }
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Error {
        Error::Unsupported {
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
        }
    }

    pub(crate) fn internal(message: impl Into<String>) -> Error {
        Error::Internal {
            message: message.into(),
        }
    }

    pub(crate) fn invalid(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error::Invalid {
            sqlstate,
            message: message.into(),
            hint: None,
            position: None,
        }
    }

    pub(crate) fn with_hint(mut self, text: impl Into<String>) -> Error {
        match &mut self {
            Error::Syntax { hint, .. }
            | Error::Unsupported { hint, .. }
            | Error::Invalid { hint, .. } => {
                *hint = Some(text.into());
            }
            Error::TooComplex { .. }
            | Error::SeveralShards { .. }
            | Error::Unmapped { .. }
            | Error::Internal { .. } => {}
        }
        self
    }

    pub(crate) fn with_detail(mut self, text: impl Into<String>) -> Error {
        match &mut self {
            Error::Syntax { detail, .. }
            | Error::Unsupported { detail, .. }
            | Error::Unmapped { detail, .. } => {
                *detail = Some(text.into());
            }
            Error::TooComplex { .. }
            | Error::SeveralShards { .. }
            | Error::Invalid { .. }
            | Error::Internal { .. } => {}
        }
        self
    }

    /// Sets the position from a byte offset, unless one is set already.
    pub(crate) fn at(mut self, sql: &str, offset: i32) -> Error {
        if let Error::Syntax { position, .. }
        | Error::Unsupported { position, .. }
        | Error::Invalid { position, .. } = &mut self
            && position.is_none()
            && let Ok(offset) = usize::try_from(offset)
            && let Some(before) = sql.get(..offset)
        {
            *position = Some(before.chars().count() + 1);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}
