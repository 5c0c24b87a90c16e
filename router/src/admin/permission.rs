//! Who may change what concerns the whole cluster.

use super::Caller;
use crate::ddl::error::{Answer, Error};
use crate::store::Change;
use crate::store::connection::column;

/// Superusers, and members of the role that owns schema `pgweave`.
pub async fn of_operator(change: &Change, caller: &Caller) -> Result<(), Error> {
    let rows = change
        .query(
            "SELECT pg_has_role(r.oid, n.nspowner, 'USAGE') FROM pg_roles r, pg_namespace n WHERE r.rolname = $1 AND n.nspname = 'pgweave'",
            &[&caller.user],
        )
        .await?;
    let allowed = match rows.first() {
        Some(row) => column(row, 0)?,
        None => false,
    };
    if allowed {
        return Ok(());
    }
    Err(
        Answer::new(format!("role {} may not change the cluster", caller.user))
            .hint("It takes a superuser, or a member of the role that owns schema pgweave.")
            .not_allowed(),
    )
}
