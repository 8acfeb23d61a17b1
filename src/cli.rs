//! The command line: what was typed, one function a command, and the exit codes.

mod check;
mod connect;
mod demo;
mod explain;
mod health;
mod reach;
mod reasons;
mod run;
mod token;
mod top;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use http::{HeaderName, HeaderValue};

use crate::config::value::TimeText;
use crate::load::Loaded;
use crate::material::option;

/// A WebSocket security gateway: who may open a socket, what flows on it, and when it ends.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 all is well; 1 the config is wrong, or the answer is no; 2 the command line is wrong; 3 it could not run
(an address is taken, a file can't be written, nothing answers).";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway until SIGTERM or SIGINT, which drain it; a second one ends it at once
    Run(ConfigFile),
    /// Parse and compile a config, load its keys and certificates, and say what it would do
    Check(check::Options),
    /// Try it without anything else: an echo server, the gateway before it, and a page in the browser
    Demo(demo::Options),
    /// Sign a token for trying out, and print it
    Token(token::Options),
    /// Open a WebSocket: lines of standard input go out as text, what comes in is printed
    Connect(connect::Options),
    /// Ask a gateway's admin listener how it is: exit code 0 if all is well, for a container's healthcheck
    Health(health::Options),
    /// Watch a gateway in the terminal: rates, refusals, caps, and its connections, to sort, filter and close
    Top(top::Options),
    /// Print the table of reasons: labels, statuses, close codes
    Reasons {
        /// As Markdown, as it stands in docs/reasons.md
        #[arg(long)]
        markdown: bool,
    },
    /// Print the JSON Schema of the config, for editors
    Schema,
}

#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The config file
    #[arg(short, long, value_name = "FILE", default_value = "gateway.toml")]
    config: PathBuf,
}

/// How a command ended, where it did not end well.
pub enum Failure {
    /// The config is wrong, or the answer is no. Already said.
    No,
    /// What was typed does not go together.
    CommandLine(String),
    /// It could not run.
    CouldNotRun(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::CouldNotRun(error.to_string())
    }
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(file) => run::run(&file.config),
        Command::Check(options) => check::run(options),
        Command::Demo(options) => demo::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Connect(options) => connect::run(options),
        Command::Health(options) => health::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Reasons { markdown } => reasons::run(markdown),
        Command::Schema => print(&crate::config::schema()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::No) => ExitCode::from(1),
        Err(Failure::CommandLine(message)) => {
            eprintln!("wsgate: {message}");
            ExitCode::from(2)
        }
        Err(Failure::CouldNotRun(message)) => {
            eprintln!("wsgate: {message}");
            ExitCode::from(3)
        }
    }
}

/// Loads a config, and says on standard error what is wrong with it, or perhaps not meant.
fn load(config: &Path) -> Result<Loaded, Failure> {
    let loaded = crate::load::file(config).map_err(|report| {
        eprintln!("{report}");
        Failure::No
    })?;
    if !loaded.warnings.problems().is_empty() {
        eprintln!("{}", loaded.warnings);
    }
    Ok(loaded)
}

/// Writes to standard output; a reader that left, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A time as the config writes it, for options.
fn time(text: &str) -> Result<Duration, String> {
    text.parse().map(|TimeText(time)| time).map_err(|message: String| message.replace('\n', ": "))
}

/// `Name: value`, for options.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("as 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is no header's name"))?;
    let value = value.trim().parse().map_err(|_| "the value has characters that no header may have".to_owned())?;
    Ok((name, value))
}

/// The token of `--token` or `--token-file`, or else of the environment.
fn token(given: Option<String>, file: Option<&Path>) -> Result<Option<String>, String> {
    let Some(path) = file else {
        let variable = || std::env::var("WSGATE_TOKEN").ok().filter(|token| !token.is_empty());
        return Ok(given.or_else(variable));
    };
    let text = String::from_utf8(option::file("--token-file", path)?);
    text.map(|text| Some(text.trim().to_owned())).map_err(|_| "--token-file: what stands there is no text".to_owned())
}
