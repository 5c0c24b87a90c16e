//! Repeatable random key values, edges among them.

use catalog::{KeyType, KeyValue};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    pub fn pick<'a, Item>(&mut self, items: &'a [Item]) -> &'a Item {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A number whose size, too, is random, within the bounds; now and then a bound.
    fn integer(&mut self, lowest: i64, highest: i64) -> i64 {
        match self.below(64) {
            0 => lowest,
            1 => highest,
            2 => 0_i64.clamp(lowest, highest),
            _ => {
                let number = self.number().cast_signed() >> self.below(64);
                if (lowest..=highest).contains(&number) {
                    number
                } else {
                    let span = (i128::from(highest) - i128::from(lowest) + 1) as u128;
                    (i128::from(lowest) + (u128::from(self.number()) % span) as i128) as i64
                }
            }
        }
    }

    pub fn text(&mut self) -> String {
        const CHARACTERS: [&str; 16] = [
            "a", "b", "Z", "0", " ", " ", "'", "\\", "\"", "\t", "\n", "é", "ß", "漢", "🦀", "~",
        ];
        let longest = *self.pick(&[20, 20, 20, 20, 20, 20, 20, 120]);
        let length = self.below(longest);
        (0..length).map(|_| *self.pick(&CHARACTERS)).collect()
    }

    pub fn value(&mut self, key_type: KeyType) -> KeyValue {
        match key_type {
            KeyType::Int2 => KeyValue::Int(self.integer(i16::MIN.into(), i16::MAX.into())),
            KeyType::Int4 => KeyValue::Int(self.integer(i32::MIN.into(), i32::MAX.into())),
            KeyType::Int8 => KeyValue::Int(self.integer(i64::MIN, i64::MAX)),
            KeyType::Text | KeyType::Varchar => KeyValue::Text(self.text().into()),
            KeyType::Bpchar => KeyValue::Text(self.text().trim_end_matches(' ').into()),
            KeyType::Uuid => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&self.number().to_be_bytes());
                bytes[8..].copy_from_slice(&self.number().to_be_bytes());
                KeyValue::Uuid(bytes)
            }
            KeyType::Date => KeyValue::Date(match self.below(64) {
                0 => i32::MIN,
                1 => i32::MAX,
                _ => self.integer(-2_451_545, 2_145_031_948) as i32,
            }),
            KeyType::Timestamp | KeyType::Timestamptz => {
                KeyValue::Timestamp(match self.below(64) {
                    0 => i64::MIN,
                    1 => i64::MAX,
                    2 => self.integer(-400_000, 400_000) * 86_400_000_000 / 2,
                    _ => self.integer(-211_813_488_000_000_000, 9_223_371_331_199_999_999),
                })
            }
            KeyType::Bool => KeyValue::Bool(self.below(2) == 1),
            KeyType::Bytea => {
                let longest = *self.pick(&[30, 30, 30, 30, 30, 30, 30, 200]);
                let length = self.below(longest);
                KeyValue::Bytea((0..length).map(|_| self.number() as u8).collect())
            }
        }
    }
}
