//! Values with a form of their own in the file.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A password or the like: never shown by `Debug`, never in an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one who authenticates with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text))
            }
            // The ready-made errors would show the value.
            fn visit_i64<E: Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::custom("a password must be text in quotes"))
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom("a password must be text in quotes"))
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<Secret, E> {
                Err(E::custom("a password must be text in quotes"))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

/// For settings whose name ends in `_ms`.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
