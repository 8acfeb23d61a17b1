//! The echo backend as a program: prints the address that it listens on, and serves until it is killed.

use std::net::SocketAddr;

use clap::Parser;
use wsgate_bench::{Result, echo, proc};

/// A WebSocket server that sends every message back
#[derive(Parser)]
struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> Result<()> {
    let args = Args::parse();
    proc::raise_open_files()?;
    let listener = mio::net::TcpListener::bind(args.listen)?;
    println!("{}", listener.local_addr()?);
    echo::serve(listener)
}
