//! The floor as a program: prints the address that it listens on, and relays until it is killed.

use std::net::SocketAddr;

use clap::Parser;
use wsgate_bench::{Result, floor, proc};

/// A TCP relay that looks at nothing
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where every connection goes
    #[arg(long)]
    upstream: SocketAddr,
}

fn main() -> Result<()> {
    let args = Args::parse();
    proc::raise_open_files()?;
    let listener = mio::net::TcpListener::bind(args.listen)?;
    println!("{}", listener.local_addr()?);
    floor::relay(listener, args.upstream)
}
