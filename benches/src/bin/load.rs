//! The load generator as a program: one mode, one result as a line of JSON.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use wsgate_bench::load::{self, Span, Target, measure::Measured};
use wsgate_bench::wire::Handshake;
use wsgate_bench::{Result, proc};

/// WebSocket clients that compare every byte that comes back
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// One message a connection, its echo, the next
    Echo {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        span: SpanArgs,
        /// How many connections
        #[arg(long, default_value_t = 50)]
        connections: usize,
        /// Bytes of a message
        #[arg(long, default_value_t = 64)]
        size: usize,
    },
    /// Open, have one message echoed on each, hold until standard input ends, have one more echoed
    Idle {
        #[command(flatten)]
        target: TargetArgs,
        /// How many connections
        #[arg(long, default_value_t = 1000)]
        connections: usize,
        /// Bytes of a message
        #[arg(long, default_value_t = 64)]
        size: usize,
    },
    /// Open and close
    Handshake {
        #[command(flatten)]
        target: TargetArgs,
        #[command(flatten)]
        span: SpanArgs,
        /// How many at once
        #[arg(long, default_value_t = 1)]
        concurrency: usize,
    },
}

#[derive(Args)]
struct TargetArgs {
    /// Where to connect
    #[arg(long)]
    address: SocketAddr,
    /// PEM file of the authority to trust; over TLS if given
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    /// The request's target
    #[arg(long, default_value = "/")]
    path: String,
    /// The request's Origin
    #[arg(long)]
    origin: Option<String>,
    /// The token of `Authorization: Bearer`
    #[arg(long)]
    token: Option<String>,
}

#[derive(Args)]
struct SpanArgs {
    /// Milliseconds before the measurement
    #[arg(long, default_value_t = 200)]
    warmup_ms: u64,
    /// Milliseconds of the measurement
    #[arg(long, default_value_t = 1000)]
    length_ms: u64,
    /// The process whose CPU time is read at both ends of the measurement
    #[arg(long, value_name = "PID")]
    watch: Option<u32>,
}

fn main() -> Result<()> {
    proc::raise_open_files()?;
    match Cli::parse().mode {
        Mode::Echo { target, span, connections, size } => {
            print(&load::echo(&target.target()?, connections, size, span.span())?)
        }
        Mode::Idle { target, connections, size } => {
            load::idle(&target.target()?, connections, size, io::stdin().lock(), io::stdout())
        }
        Mode::Handshake { target, span, concurrency } => {
            print(&load::handshake(&target.target()?, concurrency, span.span())?)
        }
    }
}

fn print(measured: &Measured) -> Result<()> {
    println!("{}", serde_json::to_string(measured)?);
    Ok(())
}

impl TargetArgs {
    fn target(self) -> Result<Target> {
        Ok(Target {
            address: self.address,
            tls: self.tls_ca.as_deref().map(load::tls).transpose()?,
            handshake: Handshake { path: self.path, origin: self.origin, token: self.token },
        })
    }
}

impl SpanArgs {
    fn span(&self) -> Span {
        Span {
            warmup: Duration::from_millis(self.warmup_ms),
            length: Duration::from_millis(self.length_ms),
            watch: self.watch,
        }
    }
}
