#![no_main]

#[path = "../walk.rs"]
#[allow(dead_code)]
mod walk;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| walk::client(bytes));
