//! `wsgate token`: signs a token for trying out. It is printed alone, so that `$(wsgate token ..)` is the token.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as WordError, StrDeserializer};
use serde_json::{Map, Value};

use super::{Failure, print};
use crate::config::value::{Algorithm, Secret};
use crate::material::option;
use crate::now::{Clock, Now};
use crate::policy::token::mint;

/// What is signed, and with what.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The shared secret of HS256, HS384 or HS512: env:NAME or file:PATH
    #[arg(long, value_name = "SOURCE", required_unless_present = "key")]
    secret: Option<String>,
    /// The private key of the other algorithms: a PEM file
    #[arg(long, value_name = "FILE", conflicts_with = "secret")]
    key: Option<PathBuf>,
    /// HS256/384/512 with --secret; RS256/384/512, PS256/384/512, ES256/384 or EdDSA with --key
    #[arg(long, value_name = "NAME", default_value = "HS256", value_parser = algorithm)]
    algorithm: Algorithm,
    /// The subject: whose token it is
    #[arg(long, value_name = "SUBJECT")]
    sub: Option<String>,
    /// From now to `exp`: 30s, 15m, 1h30m
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = super::time)]
    lifetime: Duration,
    /// From now to `nbf`, before which the token does not hold
    #[arg(long, value_name = "TIME", value_parser = super::time)]
    not_before: Option<Duration>,
    /// `iss`
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// `aud`; may be given several times
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// The name of the key in the token's header, where a key set holds several
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,
    /// A further claim; its value is JSON if it reads as such, else text. May be given several times, and replaces what
    /// the other options set
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = claim)]
    claims: Vec<(String, Value)>,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let material = match (&options.secret, &options.key) {
        (Some(named), _) => option::secret("--secret", &source("--secret", named)?),
        (None, Some(path)) => option::file("--key", path),
        // clap lets exactly one through.
        (None, None) => Err("--secret or --key is needed".to_owned()),
    };
    let key = fitting(options).and_then(|()| mint::encoding_key(options.algorithm, &material?));
    let claims = claims(options, Clock::system().now());
    let token = key.and_then(|key| mint::mint(options.algorithm, &key, options.kid.as_deref(), &claims));
    print(&format!("{}\n", token.map_err(Failure::CouldNotRun)?))
}

/// Whether algorithm and kind of key go together: said in the words of the options, before anything of the key is.
fn fitting(options: &Options) -> Result<(), String> {
    let shared = matches!(options.algorithm, Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512);
    match (shared, options.key.is_some()) {
        (true, true) => Err(format!(
            "{:?} signs with a shared secret, and --key names a private key: give --algorithm (RS256, ES256, EdDSA, ..), \
             or --secret",
            options.algorithm
        )),
        (false, false) => {
            Err(format!("{:?} signs with a private key: give it as --key FILE, in PEM", options.algorithm))
        }
        (true, false) | (false, true) => Ok(()),
    }
}

/// A bad one is not repeated, since it may be the secret itself.
pub(super) fn source(option: &str, named: &str) -> Result<Secret, Failure> {
    named.parse().map_err(|_: String| {
        let message = "says where the secret stands, env:NAME or file:PATH: \
                       on a command line itself, everybody on the machine could read it";
        Failure::CommandLine(format!("{option} {message}"))
    })
}

fn claims(options: &Options, now: Now) -> Map<String, Value> {
    let seconds = |after: Duration| Value::from((now.wall / 1000).saturating_add(after.as_secs()));
    let mut claims = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    };
    set("sub", options.sub.clone().map(Value::from));
    set("iss", options.issuer.clone().map(Value::from));
    set(
        "aud",
        match options.audience.as_slice() {
            [] => None,
            [one] => Some(Value::from(one.clone())),
            several => Some(Value::from(several.to_vec())),
        },
    );
    set("iat", Some(seconds(Duration::ZERO)));
    set("nbf", options.not_before.map(seconds));
    set("exp", Some(seconds(options.lifetime)));
    claims.extend(options.claims.iter().cloned());
    claims
}

fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("as name=value")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))))
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let name: StrDeserializer<'_, WordError> = name.into_deserializer();
    Algorithm::deserialize(name).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Line::try_parse_from(std::iter::once("token").chain(line.split_whitespace())).unwrap().options
    }

    #[test]
    fn a_claim_is_json_where_it_reads_as_json_and_text_elsewhere() {
        assert_eq!(claim("admin=true"), Ok(("admin".into(), Value::from(true))));
        assert_eq!(claim("name=Ann=a"), Ok(("name".into(), Value::from("Ann=a"))));
        assert_eq!(claim(r#"roles=["a","b"]"#), Ok(("roles".into(), serde_json::json!(["a", "b"]))));
        assert!(claim("=1").is_err() && claim("name").is_err());
    }

    #[test]
    fn times_are_counted_from_now_and_one_audience_is_no_list() {
        let now = Now { mono: 0, wall: 1_000_999 };
        let line = "--secret env:S --sub ann --lifetime 1m --not-before 5s --audience chat --issuer me --claim iat=1";
        let expected = serde_json::json!(
            { "sub": "ann", "iss": "me", "aud": "chat", "iat": 1, "nbf": 1005, "exp": 1060 }
        );
        assert_eq!(Value::from(claims(&options(line), now)), expected);
        let two = claims(&options("--secret env:S --audience a --audience b"), now);
        assert_eq!(two["aud"], serde_json::json!(["a", "b"]));
    }

    #[test]
    fn the_algorithm_says_whether_a_secret_or_a_key_is_wanted() {
        assert!(fitting(&options("--key k.pem")).unwrap_err().contains("give --algorithm"));
        assert!(fitting(&options("--secret env:S --algorithm ES256")).unwrap_err().contains("--key FILE"));
        assert_eq!(fitting(&options("--key k.pem --algorithm ES256")), Ok(()));
        assert!(algorithm("none").unwrap_err().contains("`HS256`"));
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
        let Err(Failure::CommandLine(message)) = source("--secret", "hunter2") else { panic!("taken") };
        assert!(!message.contains("hunter2"), "{message}");
    }
}
