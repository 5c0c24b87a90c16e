//! What a call of a function means for routing.
//!
//! Entry point: [`classify`] for PostgreSQL's own functions. Functions of the user are looked up in the catalog by the binder first.

mod names;

use names::{
    ADVISORY, ADVISORY_TRANSACTION, AGGREGATES, BY_SESSION, BY_TEXT, EACH_TIME, LARGE_OBJECT,
    ORDER_SENSITIVE, SERVER, UNSETTLED,
};

/// One kind of built-in function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// Its result depends on its arguments and settings only.
    Settled,
    /// Differs between servers or moments, changes nothing.
    Unsettled,
    /// As settled, but for the order of rows.
    OrderSensitive,
    /// nextval, currval, setval, lastval.
    Sequence,
    SetConfig,
    /// Takes a session's advisory lock: pins.
    AdvisoryLock,
    /// Acts on one server: the default shard.
    Server,
    /// Reads tables named in a text: cannot be seen through.
    ByText,
}

/// Classifies a function of `pg_catalog` (or one that nobody declared) by its name.
pub(crate) fn classify(name: &str) -> Builtin {
    match name {
        "nextval" | "currval" | "setval" | "lastval" => return Builtin::Sequence,
        "set_config" => return Builtin::SetConfig,
        "pg_notify" => return Builtin::Server,
        _ => {}
    }
    let among = |list: &[&str]| list.binary_search(&name).is_ok();
    if among(ADVISORY) {
        Builtin::AdvisoryLock
    } else if among(ADVISORY_TRANSACTION) || among(LARGE_OBJECT) || among(SERVER) {
        Builtin::Server
    } else if among(BY_TEXT) || name.starts_with("dblink") {
        Builtin::ByText
    } else if among(ORDER_SENSITIVE) {
        Builtin::OrderSensitive
    } else if among(UNSETTLED) || name.starts_with("pg_stat_get") {
        Builtin::Unsettled
    } else {
        Builtin::Settled
    }
}

/// What the result of an unsettled function depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsettled {
    /// It is another at each call.
    EachTime,
    /// The session's settings: the same on all servers that work for it.
    Session,
    /// The server, the transaction or the moment.
    Server,
}

/// Of a name that [`classify`] calls unsettled.
pub(crate) fn unsettled(name: &str) -> Unsettled {
    let among = |list: &[&str]| list.binary_search(&name).is_ok();
    if among(EACH_TIME) {
        Unsettled::EachTime
    } else if among(BY_SESSION) {
        Unsettled::Session
    } else {
        Unsettled::Server
    }
}

/// Whether this is the name of an aggregate of PostgreSQL's own.
pub(crate) fn is_aggregate(name: &str) -> bool {
    AGGREGATES.binary_search(&name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [
            ADVISORY,
            ADVISORY_TRANSACTION,
            AGGREGATES,
            BY_SESSION,
            BY_TEXT,
            EACH_TIME,
            LARGE_OBJECT,
            ORDER_SENSITIVE,
            SERVER,
            UNSETTLED,
        ] {
            assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn kinds() {
        assert_eq!(classify("lower"), Builtin::Settled);
        assert_eq!(classify("now"), Builtin::Unsettled);
        assert_eq!(classify("pg_advisory_lock"), Builtin::AdvisoryLock);
        assert_eq!(classify("pg_advisory_xact_lock"), Builtin::Server);
        assert_eq!(classify("lo_create"), Builtin::Server);
        assert_eq!(classify("query_to_xml"), Builtin::ByText);
        assert_eq!(classify("txid_current"), Builtin::Unsettled);
    }
}
