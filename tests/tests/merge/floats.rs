//! The text form of floats, for sums that a client wants in it.

use bytes::BytesMut;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use router::merge::Format;
use router::merge::combine::{Combine, State};

use crate::{SEED, Session, cell};

const RANDOM: usize = 6000;

/// The text of one partial sum.
fn text(combine: Combine, cell: &[u8]) -> String {
    let mut state = State::new(combine);
    state.add(Format::Binary, Some(cell)).unwrap();
    let mut out = BytesMut::new();
    state.finish(Format::Text, &mut out).unwrap();
    String::from_utf8(out[4..].to_vec()).unwrap()
}

fn compare(name: &str, combine: Combine, values: &[String]) {
    let mut session = Session::new();
    let literals: Vec<String> = values.iter().map(|value| format!("'{value}'")).collect();
    session.table("f", &format!("v {name}"), &literals);
    let (binary, texts) = (
        session.rows("SELECT v FROM f", Format::Binary),
        session.rows("SELECT v FROM f", Format::Text),
    );
    assert_eq!(binary.len(), values.len());
    for (binary, expected) in binary.iter().zip(texts) {
        let expected = String::from_utf8(cell(&expected, 0).unwrap()).unwrap();
        assert_eq!(text(combine, &cell(binary, 0).unwrap()), expected, "{name}");
    }
}

#[test]
fn float8_is_written_as_the_server_writes_it() {
    let mut rng = StdRng::seed_from_u64(SEED + 6);
    let mut values: Vec<f64> = vec![0.0, -0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324];
    // Every power of two and its neighbours.
    for exponent in 0..2047u64 {
        let power = exponent << 52;
        values.extend([power.wrapping_sub(1), power, power + 1].map(f64::from_bits));
    }
    for _ in 0..RANDOM {
        values.push(f64::from_bits(rng.random()));
        // Whole numbers beyond 2^53, where decimals can lie on the midpoints.
        values.push((rng.random::<u64>() >> rng.random_range(0..10)) as f64);
        values.push(rng.random_range(-1_000_000..1_000_000) as f64 / 1000.0);
        values.push(rng.random_range(1..100) as f64 * 10f64.powi(rng.random_range(-8..25)));
        values.push(
            (rng.random_range(1..1u64 << 53) * 5) as f64 * 2f64.powi(rng.random_range(0..12)),
        );
    }
    values.retain(|value| value.is_finite());
    let values: Vec<String> = values.iter().map(|value| format!("{value:e}")).collect();
    compare("float8", Combine::SumFloat8, &values);
}

#[test]
fn float4_is_written_as_the_server_writes_it() {
    let mut rng = StdRng::seed_from_u64(SEED + 7);
    let mut values: Vec<f32> = vec![0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45];
    for exponent in 0..255u32 {
        let power = exponent << 23;
        values.extend([power.wrapping_sub(1), power, power + 1].map(f32::from_bits));
    }
    for _ in 0..RANDOM {
        values.push(f32::from_bits(rng.random()));
        values.push((rng.random::<u32>() >> rng.random_range(0..10)) as f32);
        values.push(rng.random_range(-1_000_000..1_000_000) as f32 / 1000.0);
        values.push(rng.random_range(1..1u64 << 36) as f32);
    }
    values.retain(|value| value.is_finite());
    let values: Vec<String> = values.iter().map(|value| format!("{value:e}")).collect();
    compare("float4", Combine::SumFloat4, &values);
}
