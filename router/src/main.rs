//! The program `pgweave`. The road of a statement begins in [`router::accept`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    router::cli::main()
}
