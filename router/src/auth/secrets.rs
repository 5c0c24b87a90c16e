//! What users' passwords are checked against: the configuration first, then a server.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::AuthError;
use super::scram::Verifier;
use crate::config::{AuthQuery, Secret, User, UserSecret};
use crate::store::connection::Connector;
use catalog::Server;

/// How long an answer of [auth_query] serves; a changed password takes effect after this time.
const FRESH: Duration = Duration::from_secs(10);

/// One user's secret.
#[derive(Clone, Debug)]
pub enum StoredSecret {
    Scram(Secret),
    Md5(Secret),
    /// With the verifier that a server would store of it.
    Plain {
        password: Secret,
        verifier: Verifier,
    },
}

/// Where secrets come from.
pub struct Secrets {
    configured: HashMap<String, Option<StoredSecret>>,
    lookup: Option<Lookup>,
    certificate_pem: Option<Vec<u8>>,
    salt_key: [u8; 32],
    found: Mutex<HashMap<String, (Instant, Option<StoredSecret>)>>,
}

/// A server to ask for users that the configuration does not name.
pub struct Lookup {
    pub query: AuthQuery,
    pub server: Server,
    pub connector: Connector,
}

impl Secrets {
    /// `certificate_pem`: the router's own certificate, for channel binding.
    pub fn new(users: &[User], lookup: Option<Lookup>, certificate_pem: Option<Vec<u8>>) -> Self {
        let salt_key = rand::random();
        let configured = users
            .iter()
            .map(|user| {
                let secret = match &user.secret {
                    UserSecret::None => None,
                    UserSecret::Scram(secret) => Some(StoredSecret::Scram(secret.clone())),
                    UserSecret::Md5(secret) => Some(StoredSecret::Md5(secret.clone())),
                    UserSecret::Plain(password) => {
                        Verifier::of_password(password.expose(), salt(&salt_key, &user.name)).map(
                            |verifier| StoredSecret::Plain {
                                password: password.clone(),
                                verifier,
                            },
                        )
                    }
                };
                (user.name.clone(), secret)
            })
            .collect();
        Self {
            configured,
            lookup,
            certificate_pem,
            salt_key,
            found: Mutex::default(),
        }
    }

    pub fn certificate_pem(&self) -> Option<&[u8]> {
        self.certificate_pem.as_deref()
    }

    /// The user's plain password, if the configuration has it.
    pub fn plain(&self, user: &str) -> Option<Secret> {
        match self.configured.get(user) {
            Some(Some(StoredSecret::Plain { password, .. })) => Some(password.clone()),
            _ => None,
        }
    }

    /// A salt for users without a verifier of their own, the same each time for one user.
    pub fn salt(&self, user: &str) -> Vec<u8> {
        salt(&self.salt_key, user)
    }

    /// The user's secret, from the configuration or by asking a server.
    pub async fn find(&self, user: &str) -> Result<Option<StoredSecret>, AuthError> {
        if let Some(secret) = self.configured.get(user) {
            return Ok(secret.clone());
        }
        let Some(lookup) = &self.lookup else {
            return Ok(None);
        };
        if let Some((at, secret)) = self.lock().get(user)
            && at.elapsed() < FRESH
        {
            return Ok(secret.clone());
        }
        let secret = lookup.ask(user).await?;
        let mut found = self.lock();
        found.retain(|_, (at, _)| at.elapsed() < FRESH);
        found.insert(user.to_owned(), (Instant::now(), secret.clone()));
        Ok(secret)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Instant, Option<StoredSecret>)>> {
        // A panic while the lock was held leaves the map whole: every change is one call.
        self.found
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Lookup {
    async fn ask(&self, user: &str) -> Result<Option<StoredSecret>, AuthError> {
        let failed = |error: crate::store::Error| AuthError::Lookup(error.to_string());
        let connection = self.connector.connect(&self.server).await.map_err(failed)?;
        let row = connection
            .query_opt(&self.query.query, &[&user])
            .await
            .map_err(failed)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let text: Option<String> = row
            .try_get(1)
            .map_err(|error| AuthError::Lookup(error.to_string()))?;
        Ok(text.and_then(|text| {
            if text.starts_with("SCRAM-SHA-256$") {
                Some(StoredSecret::Scram(Secret::new(text)))
            } else if text.starts_with("md5") {
                Some(StoredSecret::Md5(Secret::new(text)))
            } else {
                None
            }
        }))
    }
}

/// As long as those that PostgreSQL makes.
fn salt(key: &[u8; 32], user: &str) -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    match Hmac::<sha2::Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(user.as_bytes());
            mac.finalize().into_bytes()[..16].to_vec()
        }
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}
