//! The protocol: the same bytes to a plain PostgreSQL and to pgweave must be answered by the same messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

mod cancel;
mod copy;
mod extended;
mod portals;
mod settings;
mod simple;
mod sql_state;

use tests::agree::agree;
use tests::cluster::Options;
use tests::conversation::Conversation;
use tests::shared::Shared;

static SHARED: Shared = Shared::new(Options::default);

/// A script without tables.
fn same(script: impl Fn(&mut Conversation)) {
    agree(&SHARED, "", script);
}

/// A script with tables that are made anew before each run.
fn same_with(setup: &str, script: impl Fn(&mut Conversation)) {
    agree(&SHARED, setup, script);
}

#[test]
#[should_panic(expected = "the transcripts part")]
fn the_comparison_can_fail() {
    same(|c| {
        c.ask("SELECT current_database()");
    });
}
