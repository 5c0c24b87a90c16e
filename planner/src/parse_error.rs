//! The message and position of a syntax error, which the grammar library's safe interface hides.
//!
//! Entry point: [`syntax_error`]. The only file with `unsafe`: it asks the C parser a second time, on the error path only.

use std::ffi::{CStr, CString};
use std::ptr;

use pg_raw_parse::raw;

use crate::Error;

/// Why PostgreSQL's grammar rejects this text.
pub(crate) fn syntax_error(sql: &str) -> Error {
    let Ok(text) = CString::new(sql) else {
        return Error::invalid("22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
    };
    match raw_error(&text) {
        Some((message, position)) => classify(message, position),
        None => Error::internal("the parser rejected a text and then accepted it"),
    }
}

fn raw_error(text: &CStr) -> Option<(String, usize)> {
    // SAFETY: the same calls in the same order as `pg_raw_parse::parse` makes them: initialize this thread, create a context without a
    // parent, switch to it, parse, switch back. Nothing between the switches can panic. The C side catches its own
    // longjmp and returns the error as a malloc'd struct, read while valid and freed once. The tree, if any, is
    // never looked at and goes away with its context.
    unsafe {
        raw::pg_query_init();
        let context = raw::AllocSetContextCreateInternal(
            ptr::null_mut(),
            c"pgweave_syntax_error".as_ptr(),
            raw::ALLOCSET_DEFAULT_MINSIZE as raw::Size,
            raw::ALLOCSET_DEFAULT_INITSIZE as raw::Size,
            raw::ALLOCSET_DEFAULT_MAXSIZE as raw::Size,
        );
        let previous = raw::MemoryContextSwitchTo(context);
        let result = raw::pg_query_raw_parse(
            text.as_ptr(),
            raw::PgQueryParseMode::PG_QUERY_PARSE_DEFAULT as _,
        );
        raw::MemoryContextSwitchTo(previous);
        let error = result.error.as_ref().map(|error| {
            let message = if error.message.is_null() {
                String::from("syntax error")
            } else {
                CStr::from_ptr(error.message).to_string_lossy().into_owned()
            };
            (message, usize::try_from(error.cursorpos).unwrap_or(0))
        });
        if !result.error.is_null() {
            raw::pg_query_free_error(result.error);
        }
        raw::MemoryContextDelete(context);
        error
    }
}

/// The library reports no SQLSTATE; the messages of the scanner and the grammar tell them apart.
fn classify(message: String, position: usize) -> Error {
    if message.starts_with("memory exhausted") {
        return Error::TooComplex {
            message: "the statement is nested too deeply".into(),
        };
    }
    let sqlstate = if message.starts_with("invalid byte sequence") {
        "22021"
    } else if message.contains("Unicode") {
        if message.starts_with("unsafe use") {
            "0A000"
        } else {
            "22025"
        }
    } else if message.contains("not yet implemented")
        || message.contains("not supported")
        || message.contains("is not implemented")
    {
        "0A000"
    } else if message.contains("out of range") {
        "22003"
    } else {
        "42601"
    };
    Error::Syntax {
        sqlstate,
        message,
        detail: None,
        hint: None,
        position: (position > 0).then_some(position),
    }
}
