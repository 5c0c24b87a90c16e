//! The client's side of SCRAM-SHA-256 for a user whose password the router never saw (RFC 5802).
//!
//! A client that authenticated to the router by SCRAM has shown its ClientKey, and the verifier holds the ServerKey. With
//! both, the router can log in to a server that holds the same verifier. With a password, postgres-protocol does it.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use postgres_protocol::authentication::sasl::ScramSha256;
use rand::RngCore;
use sha2::{Digest, Sha256};

/// What is left of a password once SCRAM has used it. Worth as much as the password to servers with the same verifier.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ScramKeys {
    pub client_key: [u8; 32],
    pub server_key: [u8; 32],
}

impl ScramKeys {
    /// The keys of a client that has authenticated here, from what was said (its first message, the answer, its last
    /// message) and what the verifier holds. `None` if the proof is not one of this verifier's password.
    pub fn of_client(
        first: &[u8],
        answer: &[u8],
        last: &[u8],
        stored_key: &[u8; 32],
        server_key: &[u8; 32],
    ) -> Option<Self> {
        let (first, answer, last) = (text(first).ok()?, text(answer).ok()?, text(last).ok()?);
        // Flag and authorization name are not signed; the last message stands for them.
        let bare = first.splitn(3, ',').nth(2)?;
        let (last, proof) = last.rsplit_once(",p=")?;
        let mut client_key: [u8; 32] = STANDARD.decode(proof).ok()?.try_into().ok()?;
        let signature = sign(stored_key, &format!("{bare},{answer},{last}"));
        for (byte, signed) in client_key.iter_mut().zip(signature) {
            *byte ^= signed;
        }
        let shown: [u8; 32] = Sha256::digest(client_key).into();
        (shown == *stored_key).then_some(Self {
            client_key,
            server_key: *server_key,
        })
    }
}

impl std::fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ScramKeys")
    }
}

/// What of the TLS connection goes into the proof.
pub enum Binding {
    /// The connection is not encrypted, or its certificate has no usable hash.
    Impossible,
    /// It would be possible, but the server did not offer it. The server refuses this if it did.
    NotOffered,
    EndPoint(Vec<u8>),
}

impl Binding {
    fn header(&self) -> &'static str {
        match self {
            Self::Impossible => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn data(&self) -> &[u8] {
        match self {
            Self::Impossible | Self::NotOffered => &[],
            Self::EndPoint(hash) => hash,
        }
    }
}

/// One exchange under way.
pub enum Exchange {
    Password(ScramSha256),
    Keys(KeyExchange),
}

impl Exchange {
    pub fn message(&self) -> &[u8] {
        match self {
            Self::Password(exchange) => exchange.message(),
            Self::Keys(exchange) => exchange.message.as_bytes(),
        }
    }

    /// The server's first message has come; [`Self::message`] answers it.
    pub fn update(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Password(exchange) => exchange.update(message),
            Self::Keys(exchange) => exchange.update(message),
        }
    }

    /// The server's last message has come; it proves that the server knows the verifier.
    pub fn finish(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Password(exchange) => exchange.finish(message),
            Self::Keys(exchange) => exchange.finish(message),
        }
    }
}

/// One exchange by [`ScramKeys`].
pub struct KeyExchange {
    keys: ScramKeys,
    binding: Binding,
    nonce: String,
    message: String,
    /// What both proofs sign, once it is complete.
    signed: Option<String>,
}

impl KeyExchange {
    pub fn new(keys: ScramKeys, binding: Binding) -> Self {
        let mut nonce = [0u8; 18];
        rand::rng().fill_bytes(&mut nonce);
        Self::with_nonce(keys, binding, STANDARD.encode(nonce))
    }

    fn with_nonce(keys: ScramKeys, binding: Binding, nonce: String) -> Self {
        Self {
            // The user's name is the one in the startup message.
            message: format!("{}n=,r={nonce}", binding.header()),
            keys,
            binding,
            nonce,
            signed: None,
        }
    }

    fn update(&mut self, message: &[u8]) -> io::Result<()> {
        let message = text(message)?;
        // Salt and iterations would turn the password into the keys, which are there already.
        let nonce = message
            .strip_prefix("r=")
            .and_then(|rest| rest.split_once(','))
            .map(|(nonce, _)| nonce)
            .ok_or_else(|| invalid("a SCRAM message without a nonce"))?;
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err(invalid("a SCRAM nonce that does not continue ours"));
        }
        let mut bound = self.binding.header().as_bytes().to_vec();
        bound.extend_from_slice(self.binding.data());
        let last = format!("c={},r={nonce}", STANDARD.encode(bound));
        let signed = format!("n=,r={},{message},{last}", self.nonce);
        let stored_key: [u8; 32] = Sha256::digest(self.keys.client_key).into();
        let mut proof = sign(&stored_key, &signed);
        for (byte, key) in proof.iter_mut().zip(self.keys.client_key) {
            *byte ^= key;
        }
        self.message = format!("{last},p={}", STANDARD.encode(proof));
        self.signed = Some(signed);
        Ok(())
    }

    fn finish(&mut self, message: &[u8]) -> io::Result<()> {
        let message = text(message)?;
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(io::Error::other(format!("SCRAM error: {reason}")));
        }
        let signature = message
            .strip_prefix("v=")
            .map(|rest| {
                rest.split_once(',')
                    .map_or(rest, |(signature, _)| signature)
            })
            .and_then(|signature| STANDARD.decode(signature).ok())
            .ok_or_else(|| invalid("a SCRAM message without a signature"))?;
        let signed = self
            .signed
            .take()
            .ok_or_else(|| invalid("SCRAM messages out of order"))?;
        if signature == sign(&self.keys.server_key, &signed) {
            Ok(())
        } else {
            Err(invalid("the server's SCRAM signature is wrong"))
        }
    }
}

fn sign(key: &[u8; 32], text: &str) -> [u8; 32] {
    // A key of the hash's own size is always taken.
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().into()
        }
        Err(error) => unreachable!("a key of 32 bytes: {error}"),
    }
}

fn text(message: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(message).map_err(|_| invalid("a SCRAM message that is not text"))
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> [u8; 32] {
        STANDARD.decode(text).unwrap().try_into().unwrap()
    }

    /// The exchange in RFC 7677, whose password is "pencil", with PostgreSQL's empty user name: the signed text differs, so
    /// the expected proofs are computed from the keys by the formulas of RFC 5802.
    #[test]
    fn an_exchange_ends_with_a_proof_and_checks_the_servers() {
        let keys = ScramKeys {
            client_key: key("pg/JI9Z+hkSpLRa5btpe9GVrDHJcSEN0viVTVXaZbos="),
            server_key: key("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="),
        };
        let mut exchange = KeyExchange::with_nonce(
            keys.clone(),
            Binding::Impossible,
            "rOprNGfwEbeRWgbNEkqO".into(),
        );
        assert_eq!(exchange.message, "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let first = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        exchange.update(first.as_bytes()).unwrap();
        let signed = format!("n=,r=rOprNGfwEbeRWgbNEkqO,{first},c=biws,r={nonce}");
        let (last, proof) = exchange.message.split_once(",p=").unwrap();
        assert_eq!(last, format!("c=biws,r={nonce}"));
        // Undone by who knows the stored key, as the server does it.
        let stored: [u8; 32] = Sha256::digest(keys.client_key).into();
        let shown: Vec<u8> = key(proof)
            .iter()
            .zip(sign(&stored, &signed))
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(shown, keys.client_key);
        let signature = STANDARD.encode(sign(&keys.server_key, &signed));
        exchange
            .finish(format!("v={signature}").as_bytes())
            .unwrap();
        assert!(
            exchange
                .finish(format!("v={signature}").as_bytes())
                .is_err()
        );
    }

    #[test]
    fn who_checks_a_proof_has_the_keys() {
        let keys = ScramKeys {
            client_key: [7; 32],
            server_key: [8; 32],
        };
        for binding in [Binding::Impossible, Binding::EndPoint(vec![1, 2, 3])] {
            let mut client = KeyExchange::with_nonce(keys.clone(), binding, "abc".into());
            let first = client.message.clone();
            let answer = "r=abcdef,s=c2FsdA==,i=4096";
            client.update(answer.as_bytes()).unwrap();
            let found = |last: &str, stored_key: [u8; 32]| {
                ScramKeys::of_client(
                    first.as_bytes(),
                    answer.as_bytes(),
                    last.as_bytes(),
                    &stored_key,
                    &keys.server_key,
                )
            };
            let stored_key: [u8; 32] = Sha256::digest(keys.client_key).into();
            assert!(found(&client.message, stored_key) == Some(keys.clone()));
            assert!(found(&client.message, [9; 32]).is_none());
            assert!(found("c=biws,r=abcdef", stored_key).is_none());
            assert!(found("c=biws,r=abcdef,p=AAAA", stored_key).is_none());
        }
    }

    #[test]
    fn a_server_that_proves_nothing_is_refused() {
        let keys = ScramKeys {
            client_key: [1; 32],
            server_key: [2; 32],
        };
        let exchange = || KeyExchange::with_nonce(keys.clone(), Binding::NotOffered, "abc".into());
        for bad in ["", "r=abc,s=,i=1", "r=xyzabc,s=,i=1", "x", "r=abcd"] {
            assert!(exchange().update(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "v=", "v=AAAA", "e=other-error"] {
            let mut exchange = exchange();
            exchange.update(b"r=abcdef,s=,i=1").unwrap();
            assert!(exchange.finish(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
