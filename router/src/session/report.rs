//! Errors and notices that the router itself sends to a client.

use std::borrow::Cow;

use crate::ddl;
use crate::execute::LinkError;
use crate::wire::ProtocolError;

/// One error or notice, in PostgreSQL's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub severity: &'static str,
    pub sqlstate: Cow<'static, str>,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub context: Option<String>,
    /// In characters of the client's text, from 1.
    pub position: Option<usize>,
    /// Tells a client which of two speaks, the shard or the router.
    pub routine: &'static str,
}

impl Report {
    pub fn error(sqlstate: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            severity: "ERROR",
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: None,
            hint: None,
            context: None,
            position: None,
            routine: "pgweave",
        }
    }

    /// A statement's result is not what it was described as. Drivers know this error by PostgreSQL's name of the
    /// routine, and prepare the statement again.
    pub fn changed_result() -> Self {
        Self {
            routine: "RevalidateCachedQuery",
            ..Self::error("0A000", "cached plan must not change result type")
        }
    }

    pub fn fatal(sqlstate: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            severity: "FATAL",
            ..Self::error(sqlstate, message)
        }
    }

    pub fn warning(sqlstate: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            severity: "WARNING",
            ..Self::error(sqlstate, message)
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// What PostgreSQL says to anything but ROLLBACK in a failed block.
    pub fn failed_block() -> Self {
        Self::error(
            "25P02",
            "current transaction is aborted, commands ignored until end of transaction block",
        )
    }
}

impl From<planner::Error> for Report {
    fn from(error: planner::Error) -> Self {
        Self {
            severity: "ERROR",
            sqlstate: error.sqlstate().into(),
            message: error.message(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            context: None,
            position: error.position(),
            routine: "pgweave",
        }
    }
}

impl From<ddl::Error> for Report {
    fn from(error: ddl::Error) -> Self {
        let answer = error.answer();
        Self {
            severity: "ERROR",
            sqlstate: error.sqlstate().to_owned().into(),
            message: answer.message,
            detail: answer.detail,
            hint: answer.hint,
            context: error.context(),
            position: None,
            routine: "pgweave",
        }
    }
}

impl From<ddl::Error> for Failure {
    fn from(error: ddl::Error) -> Self {
        Report::from(error).into()
    }
}

impl From<ProtocolError> for Report {
    fn from(error: ProtocolError) -> Self {
        Self::error("08P01", error.to_string())
    }
}

/// Why a step of a session did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// To be sent to the client.
    Report(Box<Report>),
    /// The client has been sent the server's own error.
    Sent,
    /// The session cannot go on.
    End(End),
}

/// How a session ends.
#[derive(Debug)]
pub enum End {
    /// The client said Terminate or closed its connection.
    Closed,
    /// The client's connection broke.
    Client(std::io::Error),
    /// The session ends with this message to the client.
    Fatal(Box<Report>),
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Report(Box::new(report))
    }
}

impl From<planner::Error> for Failure {
    fn from(error: planner::Error) -> Self {
        Report::from(error).into()
    }
}

impl From<ProtocolError> for Failure {
    fn from(error: ProtocolError) -> Self {
        Report::from(error).into()
    }
}

impl From<End> for Failure {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Client(error) => Self::End(End::Client(error)),
            error => Report::error("08006", error.to_string())
                .hint("The statement may or may not have taken effect on that shard; check before repeating it.")
                .into(),
        }
    }
}

/// A SQLSTATE that came from a server, as one that can be passed on. Codes that are not well-formed become XX000.
pub fn known_sqlstate(code: &str) -> Cow<'static, str> {
    let well_formed = code.len() == 5
        && code
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if well_formed {
        code.to_owned().into()
    } else {
        "XX000".into()
    }
}
