//! The server's 64-bit hash of bytes and integers.
//!
//! Bob Jenkins's lookup3 (public domain) as PostgreSQL seeds and reads it: `hash_bytes_extended` and
//! `hash_bytes_uint32_extended` in `src/common/hashfn.c`, `hashint8extended` in `src/backend/access/hash/hashfunc.c`.
//! Bytes are read as a little-endian server reads them; PostgreSQL's hash of strings differs on big-endian machines, and
//! such servers are not supported.

/// The hash of a byte string.
pub fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut state = State::new(bytes.len() as u32, seed);
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        state.add(word(&block[0..4]), word(&block[4..8]), word(&block[8..12]));
        state.mix();
    }
    let tail = blocks.remainder();
    // The lowest byte of the third word is not used: it stands for the length, which is in the start value.
    let third = tail.get(8..).map_or(0, |rest| word(rest) << 8);
    let second = tail
        .get(4..)
        .map_or(0, |rest| word(&rest[..rest.len().min(4)]));
    let first = word(&tail[..tail.len().min(4)]);
    state.add(first, second, third);
    state.finish()
}

/// The hash of a 32-bit integer.
pub fn hash_u32(number: u32, seed: u64) -> u64 {
    let mut state = State::new(4, seed);
    state.add(number, 0, 0);
    state.finish()
}

/// The hash of a 64-bit integer: equal to that of the same number in 32 or 16 bits.
pub fn hash_i64(number: i64, seed: u64) -> u64 {
    let high = (number >> 32) as u32;
    let folded = number as u32 ^ if number >= 0 { high } else { !high };
    hash_u32(folded, seed)
}

/// The hash of several columns so far, and of the next: `hash_combine64` in `src/include/common/hashfn.h`.
pub fn combine(so_far: u64, next: u64) -> u64 {
    so_far
        ^ next
            .wrapping_add(COMBINE_CONSTANT)
            .wrapping_add(so_far << 54)
            .wrapping_add(so_far >> 7)
}

pub const COMBINE_CONSTANT: u64 = 0x49a0_f4dd_15e5_a8e3;

/// Up to four bytes as a little-endian word.
fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | u32::from(*byte))
}

struct State {
    a: u32,
    b: u32,
    c: u32,
}

impl State {
    fn new(length: u32, seed: u64) -> State {
        let start = 0x9e37_79b9_u32.wrapping_add(length).wrapping_add(3_923_095);
        let mut state = State {
            a: start,
            b: start,
            c: start,
        };
        if seed != 0 {
            state.add((seed >> 32) as u32, seed as u32, 0);
            state.mix();
        }
        state
    }

    fn add(&mut self, a: u32, b: u32, c: u32) {
        self.a = self.a.wrapping_add(a);
        self.b = self.b.wrapping_add(b);
        self.c = self.c.wrapping_add(c);
    }

    fn mix(&mut self) {
        let State {
            mut a,
            mut b,
            mut c,
        } = *self;
        a = a.wrapping_sub(c) ^ c.rotate_left(4);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(6);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(8);
        b = b.wrapping_add(a);
        a = a.wrapping_sub(c) ^ c.rotate_left(16);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(19);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(4);
        b = b.wrapping_add(a);
        *self = State { a, b, c };
    }

    fn finish(self) -> u64 {
        let State {
            mut a,
            mut b,
            mut c,
        } = self;
        c = (c ^ b).wrapping_sub(b.rotate_left(14));
        a = (a ^ c).wrapping_sub(c.rotate_left(11));
        b = (b ^ a).wrapping_sub(a.rotate_left(25));
        c = (c ^ b).wrapping_sub(b.rotate_left(16));
        a = (a ^ c).wrapping_sub(c.rotate_left(4));
        b = (b ^ a).wrapping_sub(a.rotate_left(14));
        c = (c ^ b).wrapping_sub(b.rotate_left(24));
        u64::from(b) << 32 | u64::from(c)
    }
}
