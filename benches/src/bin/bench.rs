//! The side-by-side as a program: tables on standard output, every figure as JSON in a file.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use wsgate_bench::Result;
use wsgate_bench::driver::{self, Kind, Options, Plan};

/// Measures wsgate beside a bare relay, nginx and HAProxy, over loopback
#[derive(Parser)]
struct Args {
    /// The gateway's binary; without it the gateway is left out
    #[arg(long)]
    wsgate: Option<PathBuf>,
    /// Under one minute, and coarser
    #[arg(long)]
    quick: bool,
    /// Only these proxies
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Turns of each proxy
    #[arg(long)]
    rounds: Option<usize>,
    /// Bytes of a message, several with commas
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<usize>,
    /// Milliseconds of each measurement
    #[arg(long)]
    length_ms: Option<u64>,
    /// Two numbers of idle connections, between which the memory's slope is taken
    #[arg(long, num_args = 2, value_names = ["FEW", "MANY"])]
    idle: Vec<usize>,
    /// Where every figure goes as JSON [default: bench/result.json in the build's target directory]
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let programs = std::env::current_exe()?.parent().ok_or("this program stands in no directory")?.to_owned();
    let output = programs.parent().unwrap_or(&programs).join("bench");
    let json = args.json.clone().unwrap_or_else(|| output.join("result.json"));
    if let Some(missing) = args.wsgate.as_ref().filter(|path| !path.is_file()) {
        return Err(format!("{}: no such file; build it with `cargo build --release`", missing.display()).into());
    }
    let options = Options {
        plan: plan(&args)?,
        only: args.only,
        wsgate: args.wsgate.map(fs::canonicalize).transpose()?,
        programs,
        downloads: output.join("debian"),
    };
    let report = driver::run(&options)?;
    if let Some(dir) = json.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&json, serde_json::to_string_pretty(&report)?)?;
    println!("{}", report.markdown());
    eprintln!("bench: every figure is in {}", json.display());
    Ok(())
}

fn plan(args: &Args) -> Result<Plan> {
    let mut plan = if args.quick { Plan::quick() } else { Plan::full() };
    plan.rounds = args.rounds.unwrap_or(plan.rounds);
    if !args.sizes.is_empty() {
        plan.sizes.clone_from(&args.sizes);
    }
    plan.length = args.length_ms.map_or(plan.length, Duration::from_millis);
    if let [few, many] = args.idle[..] {
        if few >= many {
            return Err(format!("--idle {few} {many}: the second number must be the larger one").into());
        }
        plan.idle = (few, many);
    }
    Ok(plan)
}
