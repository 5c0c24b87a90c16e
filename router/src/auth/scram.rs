//! SCRAM-SHA-256, with channel binding where the connection is encrypted.

use pgwire::api::auth::sasl::scram::{
    SCRAM_ITERATIONS, ScramSecret, ScramServerAuth, gen_salted_password,
};
use postgres_protocol::authentication::sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use rand::Rng;

use super::{AuthError, Authenticated, Secrets, StoredSecret, answer, ask};
use crate::backend::ScramKeys;
use crate::config::Secret;
use crate::wire::startup::Request;
use crate::wire::{ProtocolError, Reader};

const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

pub async fn authenticate(
    request: &mut Request,
    user: &str,
    secrets: &Secrets,
) -> Result<Authenticated, AuthError> {
    let stored = secrets.find(user).await?;
    let failed = |reason: String| AuthError::Failed {
        method: "password",
        user: user.to_owned(),
        reason: Some(reason),
    };
    let (secret, password) = verifier(user, stored, secrets);
    let known = known_keys(&secret);
    let mut server = ScramServerAuth::new();
    let binding = secrets
        .certificate_pem()
        .filter(|_| request.end_point.is_some());
    if let Some(pem) = binding {
        server
            .configure_certificate(pem)
            .map_err(|error| AuthError::Lookup(error.to_string()))?;
    }
    let mut mechanisms = Vec::new();
    if binding.is_some() {
        mechanisms.extend_from_slice(SCRAM_SHA_256_PLUS.as_bytes());
        mechanisms.push(0);
    }
    mechanisms.extend_from_slice(SCRAM_SHA_256.as_bytes());
    mechanisms.extend_from_slice(b"\0\0");
    ask(&mut request.stream, SASL, &mechanisms).await?;

    let body = answer(&mut request.stream).await?;
    let mut reader = Reader(&body);
    let mechanism = reader.string()?;
    let plus = mechanism == SCRAM_SHA_256_PLUS.as_bytes();
    if !(mechanism == SCRAM_SHA_256.as_bytes() || plus && binding.is_some()) {
        return Err(ProtocolError::Other(
            "client selected an invalid SASL authentication mechanism".to_owned(),
        )
        .into());
    }
    let first = reader
        .value()?
        .ok_or_else(|| ProtocolError::Other("SASL initial response is missing".to_owned()))?;
    reader.end()?;
    // The flag in the message must agree with the mechanism that was chosen.
    if plus != first.starts_with(b"p=") {
        return Err(ProtocolError::Other(
            "the SCRAM channel binding flag does not fit the mechanism".to_owned(),
        )
        .into());
    }
    let (reply, server) = server
        .on_client_first_message_with_secret(first, secret)
        .map_err(|error| failed(error.to_string()))?;
    ask(&mut request.stream, SASL_CONTINUE, reply.as_bytes()).await?;

    let last = answer(&mut request.stream).await?;
    let proof = server
        .on_client_final_message(&last)
        .map_err(|error| failed(error.to_string()))?;
    if password.is_none() && secrets.is_unknown(user) {
        return Err(failed("there is no such user".to_owned()));
    }
    ask(&mut request.stream, SASL_FINAL, proof.as_bytes()).await?;
    let keys = match (&password, known) {
        (None, Some((stored, server))) => {
            ScramKeys::of_client(first, reply.as_bytes(), &last, &stored, &server)
        }
        _ => None,
    };
    Ok(Authenticated { password, keys })
}

/// The stored key and the server key of a verifier.
fn known_keys(secret: &ScramSecret) -> Option<([u8; 32], [u8; 32])> {
    match secret {
        ScramSecret::Verifier {
            stored_key,
            server_key,
            ..
        } => Some((
            stored_key.as_slice().try_into().ok()?,
            server_key.as_slice().try_into().ok()?,
        )),
        ScramSecret::SaltedPassword { .. } => None,
    }
}

/// The verifier to check against, and the password if it is known. Who has none that fits gets one that nothing fits,
/// the same each time, so that asking twice does not show whether the user exists.
fn verifier(
    user: &str,
    stored: Option<StoredSecret>,
    secrets: &Secrets,
) -> (ScramSecret, Option<Secret>) {
    match stored {
        Some(StoredSecret::Scram(text)) => match parse_verifier(text.expose()) {
            Some(secret) => (secret, None),
            None => (mock(user, secrets), None),
        },
        Some(StoredSecret::Plain(password)) => {
            let salt: [u8; 16] = rand::rng().random();
            let prepared = stringprep_free(password.expose());
            let salted = gen_salted_password(prepared, &salt, SCRAM_ITERATIONS);
            let secret =
                ScramSecret::verifier_from_salted_password(salt.to_vec(), salted, SCRAM_ITERATIONS);
            (secret, Some(password))
        }
        Some(StoredSecret::Md5(_)) | None => (mock(user, secrets), None),
    }
}

/// The library applies SASLprep itself.
fn stringprep_free(password: &str) -> &str {
    password
}

fn mock(user: &str, secrets: &Secrets) -> ScramSecret {
    let salt = secrets.mock_salt(user);
    let unguessable: [u8; 32] = rand::rng().random();
    let other: [u8; 32] = rand::rng().random();
    ScramSecret::Verifier {
        salt,
        iterations: SCRAM_ITERATIONS,
        stored_key: unguessable.to_vec(),
        server_key: other.to_vec(),
    }
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`
fn parse_verifier(text: &str) -> Option<ScramSecret> {
    let rest = text.strip_prefix("SCRAM-SHA-256$")?;
    let (parameters, keys) = rest.split_once('$')?;
    let (iterations, salt) = parameters.split_once(':')?;
    let (stored_key, server_key) = keys.split_once(':')?;
    let decode = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.decode(text).ok()
    };
    let key = |text: &str| decode(text).filter(|key| key.len() == 32);
    Some(ScramSecret::Verifier {
        salt: decode(salt)?,
        iterations: iterations.parse().ok().filter(|count| *count > 0)?,
        stored_key: key(stored_key)?,
        server_key: key(server_key)?,
    })
}

#[cfg(test)]
mod tests {
    use super::parse_verifier;

    #[test]
    fn verifiers_are_read_as_the_server_stores_them() {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(parse_verifier(&format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{key}")).is_some());
        for bad in [
            "",
            "md5abc",
            "SCRAM-SHA-256$0:c2FsdA==$x:y",
            "SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA",
        ] {
            assert!(parse_verifier(bad).is_none(), "{bad}");
        }
    }
}
