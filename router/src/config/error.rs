//! What is wrong with the settings: where, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// An error in the settings. It is for the operator; no client sees it, so it has no SQLSTATE.
#[derive(Debug)]
pub enum Error {
    /// The file itself.
    Unreadable { path: PathBuf, source: io::Error },
    /// A setting.
    Invalid(Box<Invalid>),
}

/// One wrong setting.
#[derive(Debug)]
pub struct Invalid {
    pub message: String,
    pub help: String,
    pub place: Place,
}

/// Where a setting is written. Secrets are blotted out in `source`.
#[derive(Debug)]
pub struct Place {
    /// The file, `environment variable …` or `option --set`.
    pub name: String,
    /// Both count from 1; columns are characters.
    pub line: usize,
    pub column: usize,
    pub(super) source: NamedSource<String>,
    pub(super) span: std::ops::Range<usize>,
}

impl Error {
    pub(super) fn unreadable(path: &Path, source: io::Error) -> Error {
        Error::Unreadable {
            path: path.to_owned(),
            source,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreadable { path, .. } => {
                write!(f, "cannot read the configuration file {}", path.display())
            }
            Error::Invalid(invalid) => {
                let Place {
                    name, line, column, ..
                } = &invalid.place;
                write!(f, "{name}:{line}:{column}: {}", invalid.message)
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreadable { source, .. } => Some(source),
            Error::Invalid(_) => None,
        }
    }
}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(match self {
            Error::Unreadable { .. } => Box::new(
                "name an existing file with --config; docker/pgweave.toml in the source is a complete example",
            ),
            Error::Invalid(invalid) => Box::new(&invalid.help),
        })
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match self {
            Error::Unreadable { .. } => None,
            Error::Invalid(invalid) => Some(&invalid.place.source),
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match self {
            Error::Unreadable { .. } => None,
            Error::Invalid(invalid) => Some(Box::new(std::iter::once(LabeledSpan::underline(
                invalid.place.span.clone(),
            )))),
        }
    }
}
