//! Everything that fuzzing found worth keeping goes through the decoders again, on every test run.
#![allow(clippy::unwrap_used)]

#[path = "../../fuzz/walk.rs"]
#[allow(dead_code)]
mod walk;

use std::fs;
use std::path::Path;

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
    let files: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(
        files.len() > 10,
        "{} holds only {} files",
        folder.display(),
        files.len()
    );
    for file in files {
        let bytes = fs::read(&file).unwrap();
        // The name of the file is what one needs to know if this panics.
        let outcome = std::panic::catch_unwind(|| walk(&bytes));
        assert!(outcome.is_ok(), "{}", file.display());
    }
}
