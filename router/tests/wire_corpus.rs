//! Everything that fuzzing found worth keeping goes through the decoders again, on every test run, as it is and
//! damaged a little.
#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/walk.rs"]
mod walk;

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How often each file is damaged.
const SEEDS: u64 = 100;

#[test]
fn client_corpus() {
    run("client", walk::client);
}

#[test]
fn server_corpus() {
    run("server", walk::server);
}

#[test]
fn startup_corpus() {
    run("startup", walk::startup);
}

fn run(target: &str, walk: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() > 10,
        "{} holds {}",
        folder.display(),
        files.len()
    );
    let others: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (file, bytes) in files.iter().zip(&others) {
        check(walk, bytes, || file.display().to_string());
        for seed in 0..SEEDS {
            let damaged = damage(bytes, &others, &mut StdRng::seed_from_u64(seed));
            check(walk, &damaged, || {
                format!("{} with seed {seed}: {damaged:?}", file.display())
            });
        }
    }
}

/// The input is what one needs to know if the decoders panic.
fn check(walk: fn(&[u8]), bytes: &[u8], name: impl Fn() -> String) {
    let outcome = std::panic::catch_unwind(|| walk(bytes));
    assert!(outcome.is_ok(), "{}", name());
}

fn damage(bytes: &[u8], others: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    const TELLING: &[u8] = &[
        0, 1, 4, 5, 0x7f, 0x80, 0xff, b'B', b'C', b'D', b'E', b'P', b'Q', b'W',
    ];
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len());
        let telling = TELLING[random.random_range(0..TELLING.len())];
        match random.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, telling),
            2 => bytes.extend_from_slice(&others[random.random_range(0..others.len())]),
            3 => drop(bytes.splice(
                at..,
                others[random.random_range(0..others.len())].iter().copied(),
            )),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = telling;
                }
            }
        }
    }
    bytes
}
