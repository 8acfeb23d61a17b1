//! The program: see `wsgate --help`, and `wsgate::cli` for what each command does.

use std::process::ExitCode;

/// Memory that a reconnect storm needed goes back to the system; `.cargo/config.toml` says how fast.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    wsgate::cli::main()
}
