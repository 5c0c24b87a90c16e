//! Rows in the data of COPY, found and read as far as routing needs it, as PostgreSQL's `copyfromparse.c` finds and reads them.
//!
//! Entry points: [`Rows`], which cuts data into rows, and [`Fields`], which reads the fields that a shard key is in. Without IO.
//! What cannot be read is no error here: some server is sent the row and says what is wrong with it.

mod fields;
mod lines;
mod rows;

pub use fields::Fields;
pub use lines::{Lines, with_client_lines};
pub use rows::{Piece, Rows};
