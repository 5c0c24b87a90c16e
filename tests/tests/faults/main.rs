//! Transactions over shards while routers, servers and connections die: what was acknowledged is there, what was refused
//! is not, and nothing stays in between.
//!
//! Every test has servers of its own, because they are killed. [`points`] stops a router at each named point of a commit;
//! [`storm`] kills at random; [`connections`], [`refused`], [`full`] and [`clients`] bring about one fault each and say what it is answered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails here fails the test"
)]

mod clients;
mod connections;
mod definitions;
mod full;
mod points;
mod refused;
mod storm;
