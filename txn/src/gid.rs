//! The names under which transactions are prepared on the servers.
//!
//! Entry points: [`GidSequence::next`] makes a name, [`ParticipantGid::parse`] reads one found on a server.
//!
//! ```text
//! pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7     Gid
//! pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9   ParticipantGid
//!         cluster                          router           │  pledge                           │ └ participant
//!                                                           └ sequence                          └ coordinating shard
//! ```
//!
//! A [`Gid`] is the transaction, and the key of its decision row. A [`ParticipantGid`] is what is prepared on one shard.
//!
//! Invariants:
//! - Unique: a [`RouterId`] is drawn anew at each start of a router, and the sequence only grows. So a gid never
//!   names two transactions, which both the decision row and recovery rely on.
//! - Not to be foreseen, and not to be decided by others: the pledge ([`crate::proof`]).
//! - The participant is part of the name because PostgreSQL keeps gids per server, not per database: two shards on
//!   one server would collide.
//! - A name tells where its decision is, so any router can recover it knowing only the shards' addresses.
//! - Exactly one spelling: `parse` accepts only what `Display` writes. Whatever does not parse, or carries
//!   another cluster's id, belongs to somebody else and is never touched.
//! - At most 129 bytes; PostgreSQL's limit is 199 (`GIDSIZE` in `xact.h` counts the final NUL).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use catalog::{ClusterId, ShardId};

use crate::proof::{Pledge, Proof, ProofKey};

/// What every gid begins with.
pub const PREFIX: &str = "pgweave_";

/// One life of one router process: 64 random bits drawn by the router at start, never stored, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterId(pub u64);

/// A transaction over several shards; the key of its row in `pgweave.decision`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid {
    pub cluster: ClusterId,
    pub router: RouterId,
    pub sequence: u64,
    pub pledge: Pledge,
    /// The shard whose commit decides and which holds the decision row. It is never prepared itself.
    pub coordinating: ShardId,
}

/// A transaction of our own, which we can decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    pub gid: Gid,
    pub proof: Proof,
}

/// The part of a transaction that is prepared on one shard; the name given to PREPARE TRANSACTION.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantGid {
    pub gid: Gid,
    pub shard: ShardId,
}

/// The source of gids of one router process; shared by its sessions.
#[derive(Debug)]
pub struct GidSequence {
    cluster: ClusterId,
    router: RouterId,
    key: ProofKey,
    next: AtomicU64,
}

impl GidSequence {
    pub fn new(cluster: ClusterId, router: RouterId, key: ProofKey) -> Self {
        GidSequence {
            cluster,
            router,
            key,
            next: AtomicU64::new(1),
        }
    }

    /// A name that no transaction had before.
    pub fn next(&self, coordinating: ShardId) -> Named {
        // Only uniqueness matters, not the order seen by other threads.
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let proof = self.key.proof(sequence);
        let gid = Gid {
            cluster: self.cluster,
            router: self.router,
            sequence,
            pledge: proof.pledge(),
            coordinating,
        };
        Named { gid, proof }
    }
}

impl Gid {
    pub fn participant(self, shard: ShardId) -> ParticipantGid {
        ParticipantGid { gid: self, shard }
    }

    /// Reads a transaction's name, as a client gives it to ask for the outcome. None: not a name of ours.
    pub fn parse(text: &str) -> Option<Gid> {
        let mut fields = text.strip_prefix(PREFIX)?.split('_');
        let gid = parse_fields(&mut fields)?;
        fields.next().is_none().then_some(gid)
    }
}

impl ParticipantGid {
    /// Reads a name found in `pg_prepared_xacts`. None: not a name of ours. The caller still compares the
    /// cluster with its own.
    pub fn parse(text: &str) -> Option<ParticipantGid> {
        let mut fields = text.strip_prefix(PREFIX)?.split('_');
        let gid = parse_fields(&mut fields)?;
        let shard = ShardId(parse_decimal(fields.next()?)?);
        fields
            .next()
            .is_none()
            .then_some(ParticipantGid { gid, shard })
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gid {
            cluster,
            router,
            sequence,
            pledge,
            coordinating,
        } = self;
        write!(
            formatter,
            "{PREFIX}{cluster}_{router}_{sequence:x}_{pledge}_{}",
            coordinating.0
        )
    }
}

impl fmt::Display for ParticipantGid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}_{}", self.gid, self.shard.0)
    }
}

impl fmt::Debug for Gid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Debug for ParticipantGid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Cluster, router, sequence, pledge and coordinating shard.
fn parse_fields<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Gid> {
    let cluster = ClusterId(parse_bytes(fields.next()?)?);
    let router = fields.next()?;
    if router.len() != 16 {
        return None;
    }
    let router = RouterId(parse_hex(router)?);
    let sequence = fields.next()?;
    if sequence.len() > 1 && sequence.starts_with('0') {
        return None;
    }
    let sequence = parse_hex(sequence)?;
    let pledge = Pledge(parse_bytes(fields.next()?)?);
    let coordinating = ShardId(parse_decimal(fields.next()?)?);
    Some(Gid {
        cluster,
        router,
        sequence,
        pledge,
        coordinating,
    })
}

/// 32 lower-case digits.
fn parse_bytes(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 {
        return None;
    }
    let mut bytes = [0u8; 16];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

/// 1 to 16 lower-case digits. `u64::from_str_radix` would also take a sign and capitals.
fn parse_hex(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.bytes().try_fold(0u64, |value, byte| {
        Some(value << 4 | u64::from(hex_digit(byte)?))
    })
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A number without sign or leading zero.
fn parse_decimal(text: &str) -> Option<u32> {
    let canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLUSTER: ClusterId = ClusterId([
        0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
    ]);

    #[test]
    fn spelling() {
        let gid = Gid {
            cluster: CLUSTER,
            router: RouterId(0x0123_4567_89ab_cdef),
            sequence: 42,
            pledge: Proof::new([0; 32]).pledge(),
            coordinating: ShardId(7),
        };
        assert_eq!(
            gid.to_string(),
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7"
        );
        assert_eq!(
            gid.participant(ShardId(9)).to_string(),
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9"
        );
        assert_eq!(Gid::parse(&gid.to_string()), Some(gid));
    }

    #[test]
    fn the_longest_fits() {
        let gid = Gid {
            cluster: ClusterId([0xff; 16]),
            router: RouterId(u64::MAX),
            sequence: u64::MAX,
            pledge: Pledge([0xff; 16]),
            coordinating: ShardId(u32::MAX),
        };
        assert_eq!(gid.participant(ShardId(u32::MAX)).to_string().len(), 129);
    }

    #[test]
    fn sequence_never_repeats() {
        let sequence = GidSequence::new(CLUSTER, RouterId(1), ProofKey([0; 32]));
        let Named { gid: first, proof } = sequence.next(ShardId(1));
        assert_eq!(first.pledge, proof.pledge());
        let Named { gid: second, .. } = sequence.next(ShardId(1));
        assert_ne!(first, second);
        assert_ne!(first.pledge, second.pledge);
        assert_ne!(
            first.participant(ShardId(1)).to_string(),
            first.participant(ShardId(2)).to_string()
        );
    }

    #[test]
    fn foreign_names_do_not_parse() {
        let good = "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9";
        assert!(ParticipantGid::parse(good).is_some());
        for foreign in [
            "",
            "pgweave_",
            "pgweave",
            "my transaction",
            "citus_0_1_2_3",
            // a transaction's name is not a participant's, and the reverse
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9_1",
            "Pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9",
            "pgweave_00112233445566778899AABBCCDDEEFF_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9",
            "pgweave_0112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9",
            "pgweave_00112233445566778899aabbccddeeff_123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_02a_66687aadf862bd776c8fc18b8e9f8e20_7_9",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_+2a_66687aadf862bd776c8fc18b8e9f8e20_7_9",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_07_9",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_+9",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9 ",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_4294967296",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_11112222333344445_66687aadf862bd776c8fc18b8e9f8e20_7_9",
            // without a pledge, or with a shorter one
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_7_9",
            "pgweave_00112233445566778899aabbccddeeff_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e2_7_9",
            "pgweave_é0112233445566778899aabbccddeef_0123456789abcdef_2a_66687aadf862bd776c8fc18b8e9f8e20_7_9",
        ] {
            assert_eq!(ParticipantGid::parse(foreign), None, "{foreign:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(cluster: [u8; 16], router: u64, sequence: u64, pledge: [u8; 16], coordinating: u32, shard: u32) {
            let gid = Gid { cluster: ClusterId(cluster), router: RouterId(router), sequence, pledge: Pledge(pledge), coordinating: ShardId(coordinating) };
            prop_assert_eq!(Gid::parse(&gid.to_string()), Some(gid));
            let participant = gid.participant(ShardId(shard));
            prop_assert_eq!(ParticipantGid::parse(&participant.to_string()), Some(participant));
        }

        #[test]
        fn what_is_read_is_written_so(text in "pgweave_[0-9a-f]{32}_[0-9a-f]{16}_[0-9a-f]{1,17}_[0-9a-f]{31,32}_[0-9]{1,11}(_[0-9]{1,11})?") {
            if let Some(participant) = ParticipantGid::parse(&text) {
                prop_assert_eq!(participant.to_string(), text.clone());
            }
            if let Some(gid) = Gid::parse(&text) {
                prop_assert_eq!(gid.to_string(), text);
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = (Gid::parse(&text), ParticipantGid::parse(&text), ParticipantGid::parse(&format!("{PREFIX}{text}")));
        }
    }
}
