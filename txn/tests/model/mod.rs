//! A cluster in one thread: servers, a network and routers, moved by a seed.

pub mod driver;
mod faults;
mod invariants;
pub mod mutation;
mod network;
mod passes;
pub mod random;
pub mod server;
pub mod world;
