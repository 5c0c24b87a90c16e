//! The operator's functions: `SELECT pgweave.shard_table('orders', 'customer_id')` and its kin.
//!
//! Entry point: [`call`]. Each function is one atomic change over the catalog and the shards; it runs on control connections
//! of its own, not in the client's transaction, and returns once this router works with the new catalog and the others
//! that are alive have seen it.

mod arguments;
mod atomic;
mod auto_shard;
mod other_tables;
mod permission;
mod refresh;
mod shard_map;
mod shard_table;
mod subject;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use planner::AdminArg;

pub use crate::ddl::error::{Answer, Error};
use crate::store::Store;
pub(crate) use arguments::Arguments;
pub use atomic::AtomicChange;
pub use subject::parse_name;

/// How long other routers are waited for. One that has not seen the change by then is reported.
const OTHER_ROUTERS: Duration = Duration::from_secs(5);

/// Who calls, and how names are to be read.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user: String,
    pub search_path: Arc<[String]>,
}

/// What a function returns: rows of text, with warnings for the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
    pub notices: Vec<String>,
}

impl Output {
    /// One line for people.
    fn line(text: String) -> Output {
        Output {
            columns: vec!["result".to_owned()],
            rows: vec![vec![Some(text)]],
            notices: Vec::new(),
        }
    }
}

/// The columns of a function's result; None if there is no such function.
pub fn columns(function: &str) -> Option<Vec<String>> {
    let columns: &[&str] = match function {
        "shard_table" | "reference_table" | "unsharded_table" | "auto_shard" => &["result"],
        "refresh" => &["finding"],
        "transaction_status" => &["status"],
        other => {
            return crate::session::outbox::columns(other)
                .or_else(|| crate::session::saga::columns(other));
        }
    };
    Some(columns.iter().map(|column| (*column).to_owned()).collect())
}

/// Runs a function. Parameters among the arguments must have been replaced by their values.
pub async fn call(
    store: &Arc<Store>,
    function: &str,
    given: &[(Option<String>, AdminArg)],
    caller: &Caller,
) -> Result<Output, Error> {
    let bind = |parameters| Arguments::bind(function, parameters, given);
    let mut output = match function {
        "shard_table" => {
            shard_table::shard_table(store, &bind(shard_table::PARAMETERS)?, caller).await?
        }
        "reference_table" => {
            other_tables::reference_table(store, &bind(&["table"])?, caller).await?
        }
        "unsharded_table" => {
            other_tables::unsharded_table(store, &bind(&["table", "shard"])?, caller).await?
        }
        "auto_shard" => {
            auto_shard::auto_shard(store, &bind(&["column", "enabled"])?, caller).await?
        }
        "refresh" => {
            bind(&[])?;
            refresh::refresh(store, caller).await?
        }
        "transaction_status" => {
            return transactions::status(store, &bind(&["gid"])?).await;
        }
        other => {
            return Err(Answer::new(format!("function pgweave.{other} does not exist"))
                .hint("There are shard_table, reference_table, unsharded_table, auto_shard, refresh and transaction_status.")
                .undefined_function());
        }
    };
    let epoch = store.snapshot().epoch();
    let behind = store
        .routers_behind(epoch, OTHER_ROUTERS)
        .await
        .unwrap_or_else(|error| {
            // The change is made; that nobody can be asked does not undo it.
            tracing::warn!(%error, "whether other routers have seen the change is unknown");
            Vec::new()
        });
    for address in behind {
        output.notices.push(format!(
            "router {address} has not seen epoch {epoch} yet, and works with the old catalog"
        ));
    }
    Ok(output)
}
