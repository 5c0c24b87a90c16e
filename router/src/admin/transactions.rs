//! `pgweave.transaction_status`: what has become of a transaction over several shards.

use super::Output;
use super::arguments::Arguments;
use crate::ddl::error::{Answer, Error};
use crate::drive::doubt;
use crate::store::Store;

/// Needs no right: whoever knows a gid has been told it.
pub async fn status(store: &Store, arguments: &Arguments<'_>) -> Result<Output, Error> {
    let text = arguments.required("gid")?;
    let gid = doubt::read_gid(&text).ok_or_else(|| {
        Answer::new(format!("\"{text}\" is not the name of a transaction"))
            .hint("Errors with SQLSTATE 08007 name the transaction, as in pgweave_…_1.")
            .invalid_argument()
    })?;
    let status = doubt::status(store, gid).await?;
    Ok(Output {
        columns: vec!["status".to_owned()],
        rows: vec![vec![Some(status.as_str().to_owned())]],
        notices: Vec::new(),
    })
}
