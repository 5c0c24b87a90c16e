//! Identifiers of the catalog's objects: small, copyable, ordered.

use std::fmt;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

number_id!(
    /// A shard. Never reused: a consistent shard map places a shard by its id.
    ShardId(u32)
);
number_id!(
    /// A table that the catalog places.
    TableId(u32)
);
number_id!(
    /// A colocation group: tables that share one shard map.
    GroupId(u32)
);
number_id!(
    /// Version of the catalog; grows with each change.
    Epoch(u64)
);

/// Random identity of a cluster, part of every gid, so that two clusters on one server never touch each other's
/// prepared transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub [u8; 16]);

/// 32 lower-case hexadecimal digits.
impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}
