//! To be filled.
pub mod connection;
mod error;
mod handle;
pub mod quote;
mod tls;
pub use error::{Error, ServerError};
pub use handle::CatalogHandle;
pub use connection::{Connection, Connector, Rows};
pub use tls::Tls;
pub use catalog::ShardId;
pub const HOME: ShardId = ShardId(0);
