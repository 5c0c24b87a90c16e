//! What a decision to commit must show: that its writer knows what only the transaction's coordinator can know.
//!
//! A decision row is inserted in the transaction of the coordinating shard, hence by the transaction's own user, hence every
//! role may insert one. A transaction's name is no secret either: `pg_prepared_xacts` shows it to everybody
//! while it is prepared. So a coordinator draws a [`Proof`], puts its hash, the [`Pledge`], into the name
//! ([`crate::Gid`]), and the proof into the row. The server compares the two by a CHECK constraint, before the row meets the
//! unique index. Nobody else can therefore
//!
//! - forge a `commit` for a transaction in flight, which recovery would believe;
//! - take its place in the index, so that the true row fails: neither now nor, names being unforeseeable, beforehand.
//!
//! An `abort` row needs no proof and cannot be inserted by others than the table's owner, since they may not write the column
//! `outcome`. Comparing roles instead would not do: within one transaction SET ROLE may give the row and a participant
//! different owners.
//!
//! The proof is a secret until the row is committed. Whoever runs a transaction may learn its own; with that it can
//! break up what is its own, which every user with a connection to a shard can do anyway.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The part of a gid that tells which proof belongs to it: the first half of the proof's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pledge(pub [u8; Pledge::BYTES]);

/// A number that nobody can guess.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Proof([u8; 32]);

/// What a router derives its proofs from: drawn anew at each start, never stored, never shown.
pub struct ProofKey(pub [u8; 32]);

impl Pledge {
    pub const BYTES: usize = 16;
}

impl Proof {
    pub fn new(random: [u8; 32]) -> Self {
        Proof(random)
    }

    pub fn pledge(&self) -> Pledge {
        let hash = Sha256::digest(self.0);
        let mut pledge = [0; Pledge::BYTES];
        pledge.copy_from_slice(&hash[..Pledge::BYTES]);
        Pledge(pledge)
    }

    /// As PostgreSQL reads a `bytea`.
    pub fn text(&self) -> String {
        let mut text = String::from("\\x");
        push_hex(&mut text, &self.0);
        text
    }
}

impl ProofKey {
    /// The proof of one transaction. It tells nothing of the key or of other proofs.
    pub fn proof(&self, sequence: u64) -> Proof {
        match Hmac::<Sha256>::new_from_slice(&self.0) {
            Ok(mut mac) => {
                mac.update(&sequence.to_be_bytes());
                Proof(mac.finalize().into_bytes().into())
            }
            Err(_) => unreachable!("HMAC takes keys of any length"),
        }
    }
}

impl fmt::Display for Pledge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(2 * Pledge::BYTES);
        push_hex(&mut text, &self.0);
        formatter.write_str(&text)
    }
}

impl fmt::Debug for Pledge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Proof(…)")
    }
}

impl fmt::Debug for ProofKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProofKey(…)")
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pledge_is_the_hash_of_its_proof() {
        // printf '%064d' 0 | xxd -r -p | sha256sum
        let proof = Proof::new([0; 32]);
        assert_eq!(
            proof.pledge().to_string(),
            "66687aadf862bd776c8fc18b8e9f8e20"
        );
        assert_eq!(proof.text(), format!("\\x{}", "00".repeat(32)));
    }

    #[test]
    fn proofs_differ_and_do_not_show_in_logs() {
        let (key, other) = (ProofKey([1; 32]), ProofKey([2; 32]));
        assert_eq!(key.proof(1), key.proof(1));
        assert_ne!(key.proof(1), key.proof(2));
        assert_ne!(key.proof(1), other.proof(1));
        assert_eq!(
            format!("{:?} {key:?}", key.proof(1)),
            "Proof(…) ProofKey(…)"
        );
    }
}
