//! Privileges: from an object's access list to GRANT statements.

use crate::store::Error;
use crate::store::connection::{Rows, text, truth};
use crate::store::quote::identifier;

/// One privilege of one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub privilege: String,
    /// None: PUBLIC.
    pub grantee: Option<String>,
    pub grantable: bool,
}

/// The columns that [`read`] reads, from what [`exploded`] gives.
pub const COLUMNS: &str = "x.privilege_type, CASE WHEN x.grantee <> 0 THEN pg_get_userbyid(x.grantee) END AS grantee, x.is_grantable";

/// The items of an access list, as `x`, to be ordered by `x.place`.
pub fn exploded(access_list: &str) -> String {
    format!(
        "aclexplode({access_list}) WITH ORDINALITY AS x (grantor, grantee, privilege_type, is_grantable, place)"
    )
}

/// Reads grants out of rows whose first columns are [`COLUMNS`].
pub fn read(rows: &Rows) -> Result<Vec<Grant>, Error> {
    rows.iter()
        .map(|row| {
            Ok(Grant {
                privilege: text(row, 0, "an access list")?.to_owned(),
                grantee: row.get(1).cloned().flatten(),
                grantable: truth(row, 2),
            })
        })
        .collect()
}

/// Statements that leave exactly these privileges on an object that its owner has just made.
/// `columns` is empty or a column in parentheses with a space before.
pub fn statements(grants: &[Grant], object: &str, columns: &str, owner: &str) -> Vec<String> {
    let mut statements = Vec::new();
    if columns.is_empty() {
        statements.push(format!(
            "REVOKE ALL ON {object} FROM PUBLIC, {}",
            identifier(owner)
        ));
    }
    for grant in grants {
        let grantee = grant
            .grantee
            .as_deref()
            .map_or_else(|| "PUBLIC".to_owned(), identifier);
        let option = if grant.grantable {
            " WITH GRANT OPTION"
        } else {
            ""
        };
        statements.push(format!(
            "GRANT {}{columns} ON {object} TO {grantee}{option}",
            grant.privilege
        ));
    }
    statements
}
