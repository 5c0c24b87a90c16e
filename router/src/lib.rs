//! The router: everything of pgweave that touches the world.
//! The road of one statement, one function per arrow:
//! accept → session → parse → plan → execute → merge → reply.

pub mod accept;
pub mod admin;
pub mod auth;
pub mod backend;
pub mod cancel;
pub mod cli;
pub mod config;
pub mod ddl;
pub mod drive;
pub mod estimates;
pub mod execute;
pub mod health;
pub mod load;
pub mod local;
pub mod merge;
pub mod pool;
pub mod router;
pub mod serve;
pub mod session;
pub mod show;
pub mod store;
pub mod tls;
pub mod warm;
pub mod wire;
pub mod worker;
