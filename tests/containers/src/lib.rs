//! Routers and servers in containers on private networks, which are cut, and a bank over them.
//!
//! Entry points: [`fleet::Fleet::start`] and [`bank::Bank::open`]. `./dev containers` sees to Docker and to the images before it runs the
//! tests of this crate; without it they fail, and say what is missing.

#![allow(
    clippy::unwrap_used,
    reason = "a step of a test that fails is the end of the test"
)]

pub mod bank;
pub mod docker;
pub mod fleet;
