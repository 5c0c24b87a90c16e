//! Why a definition or a catalog change is refused.

use std::fmt;

use crate::store::{Error as StoreError, ServerError};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A shard's answer, to be passed on as it is.
    #[error("{}", .0.message)]
    Shard(Box<ServerError>),
    /// It cannot be done over several shards, or not yet.
    #[error("{0}")]
    Unsupported(Box<Answer>),
    #[error("{0}")]
    UndefinedTable(Box<Answer>),
    #[error("{0}")]
    UndefinedColumn(Box<Answer>),
    #[error("{0}")]
    UndefinedFunction(Box<Answer>),
    /// No object of another kind by that name.
    #[error("{0}")]
    UndefinedObject(Box<Answer>),
    #[error("{0}")]
    InvalidArgument(Box<Answer>),
    #[error("{0}")]
    NotAllowed(Box<Answer>),
    /// The object is not in the state that this needs.
    #[error("{0}")]
    WrongState(Box<Answer>),
    #[error("{0}")]
    Duplicate(Box<Answer>),
    /// Somebody else changed the same thing: try again.
    #[error("{0}")]
    Conflict(Box<Answer>),
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

impl Answer {
    pub fn new(message: impl Into<String>) -> Self {
        Answer {
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<ServerError> for Error {
    fn from(error: ServerError) -> Self {
        Error::Shard(Box::new(error))
    }
}

macro_rules! refusals {
    ($($function:ident => $variant:ident),* $(,)?) => {
        impl Answer {
            $(pub fn $function(self) -> Error {
                Error::$variant(Box::new(self))
            })*
        }
    };
}

refusals! {
    unsupported => Unsupported,
    undefined_table => UndefinedTable,
    undefined_column => UndefinedColumn,
    undefined_function => UndefinedFunction,
    undefined_object => UndefinedObject,
    invalid_argument => InvalidArgument,
    not_allowed => NotAllowed,
    wrong_state => WrongState,
    duplicate => Duplicate,
    conflict => Conflict,
}

impl Error {
    pub fn sqlstate(&self) -> &str {
        match self {
            Error::Store(error) => error.sqlstate(),
            Error::Shard(error) => &error.sqlstate,
            Error::Unsupported(_) => "0A000",
            Error::UndefinedTable(_) => "42P01",
            Error::UndefinedColumn(_) => "42703",
            Error::UndefinedFunction(_) => "42883",
            Error::UndefinedObject(_) => "42704",
            Error::InvalidArgument(_) => "22023",
            Error::NotAllowed(_) => "42501",
            Error::WrongState(_) => "55000",
            Error::Duplicate(_) => "42710",
            Error::Conflict(_) => "40001",
        }
    }

    /// The fields of the error response.
    pub fn answer(&self) -> Answer {
        match self {
            Error::Store(error) => match error {
                StoreError::Server(error) => of_server(error),
                other => Answer::new(other.to_string()),
            },
            Error::Shard(error) => of_server(error),
            Error::Unsupported(answer)
            | Error::UndefinedTable(answer)
            | Error::UndefinedColumn(answer)
            | Error::UndefinedFunction(answer)
            | Error::UndefinedObject(answer)
            | Error::InvalidArgument(answer)
            | Error::NotAllowed(answer)
            | Error::WrongState(answer)
            | Error::Duplicate(answer)
            | Error::Conflict(answer) => (**answer).clone(),
        }
    }

    /// The CONTEXT field: the shard, for an error that a shard raised.
    pub fn context(&self) -> Option<String> {
        let error = match self {
            Error::Store(StoreError::Server(error)) | Error::Shard(error) => error,
            _ => return None,
        };
        let shard = format!("shard {}", error.server);
        Some(match &error.context {
            Some(context) => format!("{context}\n{shard}"),
            None => shard,
        })
    }
}

fn of_server(error: &ServerError) -> Answer {
    Answer {
        message: error.message.clone(),
        detail: error.detail.clone(),
        hint: error.hint.clone(),
    }
}
