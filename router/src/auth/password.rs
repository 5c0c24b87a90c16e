//! MD5 passwords, for clients that can do no better.

use rand::Rng;

use super::{AuthError, Authenticated, Secrets, StoredSecret, answer, ask};
use crate::wire::startup::Request;

pub async fn md5(
    request: &mut Request,
    user: &str,
    secrets: &Secrets,
) -> Result<Authenticated, AuthError> {
    let stored = secrets.find(user).await?;
    if let Some(StoredSecret::Scram(_)) = stored {
        // As PostgreSQL does: a user whose verifier is SCRAM's authenticates by SCRAM where the rule says md5.
        return super::scram::authenticate(request, user, secrets).await;
    }
    let salt: [u8; 4] = rand::rng().random();
    ask(&mut request.stream, 5, &salt).await?;
    let body = answer(&mut request.stream).await?;
    let failed = || AuthError::Failed {
        method: "password",
        user: user.to_owned(),
        reason: None,
    };
    let given = body.strip_suffix(b"\0").ok_or_else(failed)?;
    let (inner, password) = match &stored {
        Some(StoredSecret::Plain { password, .. }) => (
            hash(user.as_bytes(), password.expose().as_bytes()),
            Some(password.clone()),
        ),
        Some(StoredSecret::Md5(secret)) => (
            secret
                .expose()
                .strip_prefix("md5")
                .unwrap_or_default()
                .to_owned(),
            None,
        ),
        Some(StoredSecret::Scram(_)) | None => (String::new(), None),
    };
    // The salted hash is md5(inner || salt), written as md5_hash writes it for a "user" that is the salt.
    let expected = outer_hash(&inner, salt);
    let same = expected.len() == given.len()
        && expected
            .bytes()
            .zip(given)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0;
    if same && stored.is_some() && !inner.is_empty() {
        Ok(Authenticated::by(password))
    } else {
        Err(failed())
    }
}

/// The hexadecimal md5 of password and user, as it is stored.
fn hash(user: &[u8], password: &[u8]) -> String {
    hex_md5(&[password, user].concat())
}

fn outer_hash(inner: &str, salt: [u8; 4]) -> String {
    format!("md5{}", hex_md5(&[inner.as_bytes(), &salt].concat()))
}

fn hex_md5(bytes: &[u8]) -> String {
    use md5::{Digest, Md5};
    Md5::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postgres_protocol::authentication::md5_hash;

    #[test]
    fn the_hash_is_the_clients() {
        let salt = [1, 2, 3, 4];
        assert_eq!(
            outer_hash(&hash(b"ann", b"secret"), salt),
            md5_hash(b"ann", b"secret", salt)
        );
    }
}
