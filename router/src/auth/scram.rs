//! SCRAM-SHA-256, with channel binding where the connection is encrypted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pgwire::api::auth::sasl::scram::{
    SCRAM_ITERATIONS, ScramSecret, ScramServerAuth, gen_salted_password,
};
use postgres_protocol::authentication::sasl::{SCRAM_SHA_256, SCRAM_SHA_256_PLUS};

use super::{AuthError, Authenticated, Secrets, StoredSecret, answer, ask};
use crate::backend::ScramKeys;
use crate::wire::startup::Request;
use crate::wire::{ProtocolError, Reader};

const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

/// What is stored of a password to check proofs against.
#[derive(Clone)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: usize,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

pub async fn authenticate(
    request: &mut Request,
    user: &str,
    secrets: &Secrets,
) -> Result<Authenticated, AuthError> {
    let (known, password) = match secrets.find(user).await? {
        Some(StoredSecret::Scram(text)) => (Verifier::parse(text.expose()), None),
        Some(StoredSecret::Plain { password, verifier }) => (Some(verifier), Some(password)),
        Some(StoredSecret::Md5(_)) | None => (None, None),
    };
    let is_known = known.is_some();
    let verifier = known.unwrap_or_else(|| Verifier::mock(secrets.salt(user)));
    let failed = |reason: String| AuthError::Failed {
        method: "password",
        user: user.to_owned(),
        reason: Some(reason),
    };
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
        .on_client_first_message_with_secret(first, verifier.to_secret())
        .map_err(|error| failed(error.to_string()))?;
    ask(&mut request.stream, SASL_CONTINUE, reply.as_bytes()).await?;

    let last = answer(&mut request.stream).await?;
    let proof = server
        .on_client_final_message(&last)
        .map_err(|error| failed(error.to_string()))?;
    if !is_known {
        return Err(failed(
            "there is no verifier to check the proof against".to_owned(),
        ));
    }
    ask(&mut request.stream, SASL_FINAL, proof.as_bytes()).await?;
    let keys = match password {
        None => ScramKeys::of_client(
            first,
            reply.as_bytes(),
            &last,
            &verifier.stored_key,
            &verifier.server_key,
        ),
        Some(_) => None,
    };
    Ok(Authenticated { password, keys })
}

impl Verifier {
    /// `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("SCRAM-SHA-256$")?;
        let (parameters, keys) = rest.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let decode = |text: &str| STANDARD.decode(text).ok();
        Some(Self {
            salt: decode(salt)?,
            iterations: iterations.parse().ok().filter(|count| *count > 0)?,
            stored_key: decode(stored_key)?.try_into().ok()?,
            server_key: decode(server_key)?.try_into().ok()?,
        })
    }

    /// Of a password in clear text. Slow by design: done once for each.
    pub fn of_password(password: &str, salt: Vec<u8>) -> Option<Self> {
        let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        match ScramSecret::verifier_from_salted_password(salt, salted, SCRAM_ITERATIONS) {
            ScramSecret::Verifier {
                salt,
                iterations,
                stored_key,
                server_key,
            } => Some(Self {
                salt,
                iterations,
                stored_key: stored_key.try_into().ok()?,
                server_key: server_key.try_into().ok()?,
            }),
            ScramSecret::SaltedPassword { .. } => None,
        }
    }

    /// For who has none that fits: one that no proof fits. The salt must be the same each time, so that asking twice
    /// does not show whether the user exists.
    fn mock(salt: Vec<u8>) -> Self {
        Self {
            salt,
            iterations: SCRAM_ITERATIONS,
            stored_key: rand::random(),
            server_key: rand::random(),
        }
    }

    fn to_secret(&self) -> ScramSecret {
        ScramSecret::Verifier {
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: self.stored_key.to_vec(),
            server_key: self.server_key.to_vec(),
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Verifier(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Verifier;

    #[test]
    fn verifiers_are_read_as_the_server_stores_them() {
        let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert!(Verifier::parse(&format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{key}")).is_some());
        for bad in [
            "",
            "md5abc",
            "SCRAM-SHA-256$0:c2FsdA==$x:y",
            "SCRAM-SHA-256$4096:c2FsdA==$AAAA:AAAA",
        ] {
            assert!(Verifier::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_passwords_verifier_is_the_one_that_postgresql_would_store() {
        let stored = postgres_protocol::password::scram_sha_256("påss".as_bytes());
        let stored = Verifier::parse(&stored).unwrap();
        let derived = Verifier::of_password("påss", stored.salt.clone()).unwrap();
        assert_eq!(derived.stored_key, stored.stored_key);
        assert_eq!(derived.server_key, stored.server_key);
        assert_eq!(format!("{derived:?}"), "Verifier(…)");
    }
}
