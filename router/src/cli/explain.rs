//! What an operator can do about errors that do not say so themselves.

use miette::{Report, miette};

use crate::serve::ServeError;
use crate::store;

/// Why a router does not start.
pub fn serve(error: ServeError) -> Report {
    match error {
        ServeError::Store(error) => store(error),
        ServeError::Listen { .. } => miette!(
            help = "stop what listens there, or choose another address or port in [listen]",
            "{error}"
        ),
        ServeError::Tls(_) | ServeError::File { .. } => {
            miette!(
                help = "look at the paths in [tls], [catalog] and [servers]",
                "{error}"
            )
        }
        ServeError::Worker(_) => miette!(
            help = "allow this user more threads, or lower listen.workers",
            "{error}"
        ),
    }
}

/// What is wrong with the catalog's home or with a server.
pub fn store(error: store::Error) -> Report {
    match &error {
        store::Error::Connect { .. } => miette!(
            help = "start that server, or correct its address in [catalog] or --shard, or its pg_hba.conf",
            "{error}"
        ),
        store::Error::Conflict { .. } => miette!(
            help = "`SELECT * FROM pgweave.shards` through a router shows what is registered",
            "{error}"
        ),
        _ => miette!("{error}"),
    }
}
