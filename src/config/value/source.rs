//! Where a key or a secret stands, never what it is.

use std::path::PathBuf;
use std::str::FromStr;

use super::{Typed, Url, typed_value};

/// Where a text that is no secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `env:NAME`
    Env(String),
    /// `file:PATH`, or a path
    File(PathBuf),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with("http://") || text.starts_with("https://") {
            return Err(format!(
                "`{text}` is a URL\nthis is read from file:PATH or env:NAME only; a key set at a URL is named as `jwks`"
            ));
        }
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ if text.is_empty() || text == "env:" || text == "file:" => {
                Err(format!("`{text}` names nothing\nfile:PATH, env:NAME or a path"))
            }
            // A key pasted into the file looks like a path of many lines.
            _ if text.contains(['\n', '\r']) => {
                Err("a key does not stand in this file\nname where it does, as \"file:jwt.pub\"".into())
            }
            _ => Ok(Self::File(text.into())),
        }
    }
}

impl Typed for Source {
    const EXPECTED: &'static str = "a text as \"file:PATH\", \"env:NAME\" or a path";
}

typed_value!(Source, types: "string", pattern: "^(?!https?://)(?!(env|file):$).+$",
    description: "Where a text stands: file:PATH, env:NAME or a path, relative to this file's folder");

/// Where a JSON Web Key Set stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySet {
    /// On this machine, read once.
    Local(Source),
    /// Published by its issuer, fetched again and again.
    Remote(Url),
}

impl FromStr for KeySet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `HTTPS://` and the like are meant as URLs too, and told what is wrong with them as such.
        if text.contains("://") { text.parse().map(Self::Remote) } else { text.parse().map(Self::Local) }
    }
}

impl Typed for KeySet {
    const EXPECTED: &'static str = "a text as \"https://id.example.com/jwks.json\", \"file:PATH\" or a path";
}

typed_value!(KeySet, types: "string", pattern: "^(?!(env|file):$)(?!http://(?!localhost|127\\.|\\[::1\\])).+$",
    description: "Where a JSON Web Key Set stands: an https:// URL (http:// on loopback), file:PATH, env:NAME or a path");

/// Where a secret stands: `env:NAME` or `file:PATH`, never the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(pub Source);

impl FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The text may be the secret itself, typed by mistake: the message must not repeat it.
        match text.split_once(':') {
            Some(("env" | "file", name)) if !name.is_empty() && !name.contains(['\n', '\r']) => text.parse().map(Self),
            _ => Err("a secret does not stand in this file\nname where it does, \
                      as \"env:JWT_SECRET\" or \"file:/run/secrets/jwt\""
                .into()),
        }
    }
}

impl Typed for Secret {
    const EXPECTED: &'static str = "a text as \"env:JWT_SECRET\" or \"file:/run/secrets/jwt\"";

    // A number may be the secret too, and the usual message for a wrong type repeats it.
    fn from_integer(_: u64) -> Option<Result<Self, String>> {
        Some("".parse())
    }
}

typed_value!(Secret, types: "string", pattern: "^(env|file):.+$",
    description: "Where a secret stands: env:NAME or file:PATH, never the secret itself");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_variable_a_file_or_a_path() {
        assert_eq!("env:KEY".parse(), Ok(Source::Env("KEY".into())));
        assert_eq!("file:jwt.pub".parse(), Ok(Source::File("jwt.pub".into())));
        assert_eq!("keys/jwt:2026.pub".parse(), Ok(Source::File("keys/jwt:2026.pub".into())));
        for text in ["", "env:", "file:", "https://id.example.com/jwks.json", "-----BEGIN\nKEY"] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_set_is_a_url_or_a_source() {
        let url = "https://id.example.com/jwks.json";
        assert_eq!(url.parse(), Ok(KeySet::Remote(url.parse().unwrap())));
        assert_eq!("file:jwks.json".parse(), Ok(KeySet::Local(Source::File("jwks.json".into()))));
        assert_eq!("keys/jwks.json".parse(), Ok(KeySet::Local(Source::File("keys/jwks.json".into()))));
        for text in ["", "http://id.example.com/jwks.json", "HTTPS://id.example.com/", "ftp://localhost/"] {
            assert!(text.parse::<KeySet>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_typed_by_mistake_is_refused_and_not_repeated() {
        assert_eq!("env:S".parse(), Ok(Secret(Source::Env("S".into()))));
        for text in ["hunter2", "env:", "", "https:hunter2", "env:hunter2\n"] {
            let message = text.parse::<Secret>().unwrap_err();
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
