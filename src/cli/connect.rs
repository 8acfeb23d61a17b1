//! `wsgate connect`: a tiny WebSocket client, for a look at what a gateway says.
//!
//! Messages go to standard output and all else to standard error, so that a script reads messages alone.

mod dial;
mod talk;

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use tokio_tungstenite::tungstenite::Error;

use super::Failure;
use talk::End;

const AFTER_HELP: &str = "\
Messages are printed on standard output, binary ones as their size. At the end standard error says `closed: CODE REASON`, or
`refused: STATUS BODY` where the handshake was not accepted.

After the end of the input nothing is cut short: the connection stays while messages come, is closed with 1000 once
none came for the time of --linger, and `echo hi | wsgate connect URL` prints its echo. Ctrl-C closes with 1000 at once.

Exit codes: 0 after a Close with 1000 or 1001, or without a code; 1 after any other, a lost connection or a refusal; 3 where no
connection could be made.";

/// Where to, and as whom.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Options {
    /// ws://HOST[:PORT]/PATH or wss://..
    #[arg(value_parser = url)]
    url: Uri,
    /// The token, sent as `Authorization: Bearer`. Default: the variable WSGATE_TOKEN, if it is set
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file that holds the token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<PathBuf>,
    /// The Origin header, as a browser would send it
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// A subprotocol to offer; may be given several times
    #[arg(long, value_name = "NAME")]
    subprotocol: Vec<String>,
    /// The authorities that may sign the gateway's certificate: a PEM file. Default: the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate and the chain behind it: a PEM file
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The private key of --cert: a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A further header; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = super::header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// After the end of the input: how long nothing may come before the connection is closed
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = super::time)]
    linger: Duration,
}

pub(super) fn run(mut options: Options) -> Result<(), Failure> {
    options.token = super::token(options.token.take(), options.token_file.as_deref()).map_err(Failure::CouldNotRun)?;
    let tls = dial::tls(&options).map_err(Failure::CouldNotRun)?;
    let request = dial::request(&options).map_err(Failure::CommandLine)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(async {
        let socket = match dial::open(&options.url, tls, request).await {
            Ok(socket) => socket,
            Err(dial::Failed::Refused(said)) => {
                eprintln!("refused: {said}");
                return Err(Failure::No);
            }
            Err(dial::Failed::Unreached(why)) => {
                return Err(Failure::CouldNotRun(format!("{}: {why}", options.url)));
            }
        };
        Ok(talk::run(socket, options.linger).await)
    })?;
    eprintln!("closed: {}", describe(&end));
    if is_good(&end) { Ok(()) } else { Err(Failure::No) }
}

fn describe(end: &End) -> String {
    match end {
        End::Closed(Some((code, reason))) => format!("{code} {}", printable(reason)).trim_end().to_owned(),
        // RFC 6455 s7.1.5: the codes that stand for a Close without one, and for none at all.
        End::Closed(None) => "1005 without a code".to_owned(),
        End::Lost(Some(error)) => format!("1006 without a Close: {}", printable(error)),
        End::Lost(None) => "1006 without a Close".to_owned(),
        End::Unanswered => "1006 the Close was not answered".to_owned(),
    }
}

fn is_good(end: &End) -> bool {
    match end {
        End::Closed(close) => close.as_ref().is_none_or(|(code, _)| matches!(code, 1000 | 1001)),
        End::Lost(_) | End::Unanswered => false,
    }
}

/// What the other side sent, without what a terminal would obey.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() && c != '\t' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// An error of the library, with what it leaves out.
fn said(error: &Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::ConnectionClosed | Error::AlreadyClosed => "the connection is closed".to_owned(),
        other => other.to_string(),
    }
}

fn url(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("no URL: {error}"))?;
    let known = matches!(url.scheme_str(), Some("ws" | "wss"));
    if known && url.authority().is_some() { Ok(url) } else { Err("ws://HOST/PATH or wss://HOST/PATH".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::header;

    #[test]
    fn only_a_close_that_says_all_is_well_is_a_good_end() {
        let closed = |code: u16| End::Closed(Some((code, String::new())));
        assert!(is_good(&closed(1000)) && is_good(&closed(1001)) && is_good(&End::Closed(None)));
        assert!(!is_good(&closed(4001)) && !is_good(&End::Lost(None)) && !is_good(&End::Unanswered));
    }

    #[test]
    fn an_end_is_said_with_its_code_and_reason_and_nothing_that_a_terminal_obeys() {
        assert_eq!(describe(&End::Closed(Some((4001, "token_expired".into())))), "4001 token_expired");
        assert_eq!(describe(&End::Closed(Some((1000, String::new())))), "1000");
        assert_eq!(describe(&End::Closed(Some((1008, "\u{1b}[2J".into())))), "1008 \\u{1b}[2J");
    }

    #[test]
    fn urls_and_headers_are_refused_before_anything_is_dialled() {
        assert!(url("wss://[::1]:8443/ws?a=b").is_ok());
        assert!(url("http://a/").is_err() && url("/ws").is_err() && url("").is_err());
        let (name, value) = header("X-One:  1:2 ").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-one", &b"1:2"[..]));
        assert!(header("none").is_err() && header("a b: c").is_err() && header("a: b\u{7}").is_err());
    }
}
