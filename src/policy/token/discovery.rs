//! OpenID Connect Discovery 1.0: from an issuer's URL to the URL of its keys.

use serde::Deserialize;

use crate::config::value::Url;

/// Where an issuer's discovery document is, below its path (s4).
pub const DOCUMENT: &str = "/.well-known/openid-configuration";

/// Characters of a stranger's text in a message.
const SHOWN: usize = 200;

/// The two members that matter (s3); the others are for those who log in.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
}

/// Where the issuer's discovery document is (s4.1): below its path, from which one slash at the end is taken.
#[must_use]
pub fn document_url(issuer: &Url) -> Option<Url> {
    let base = issuer.as_str().strip_suffix('/').unwrap_or(issuer.as_str());
    format!("{base}{DOCUMENT}").parse().ok()
}

/// The URL of the keys that the issuer's document names.
///
/// # Errors
/// What is wrong with the document. s4.3: its `issuer` must be the issuer's URL to the letter, or anybody who may write
/// somewhere on that host could hand out keys for everybody's tokens.
pub fn jwks_url(issuer: &Url, document: &str) -> Result<Url, String> {
    let document: Document = serde_json::from_str(document)
        .map_err(|error| format!("no discovery document: {}", shown(&error.to_string())))?;
    if document.issuer != issuer.as_str() {
        return Err(format!(
            "its `issuer` is {:?}, not {:?} to the letter (a slash at the end counts)",
            shown(&document.issuer),
            issuer.as_str()
        ));
    }
    // The parser's advice is for who types a URL.
    let what = |error: String| error.lines().next().unwrap_or_default().to_owned();
    let url: Url = document.jwks_uri.parse().map_err(|error| format!("its `jwks_uri`: {}", shown(&what(error))))?;
    // An issuer elsewhere has no say over what this machine serves to itself.
    if !url.tls && !issuer.is_loopback() {
        return Err("its `jwks_uri` is http://, and the issuer is not on this machine".to_owned());
    }
    Ok(url)
}

/// The beginning of a text that a stranger chose.
#[must_use]
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn document(issuer: &str, jwks_uri: &str) -> String {
        json!({ "issuer": issuer, "jwks_uri": jwks_uri, "claims_supported": ["sub"] }).to_string()
    }

    #[test]
    fn the_document_stands_below_the_issuers_path() {
        let of = |issuer| document_url(&url(issuer)).unwrap().as_str().to_owned();
        let path = "/.well-known/openid-configuration";
        assert_eq!(of("https://id.example.com"), format!("https://id.example.com{path}"));
        assert_eq!(of("https://id.example.com/"), format!("https://id.example.com{path}"));
        assert_eq!(of("https://id.example.com/realms/a"), format!("https://id.example.com/realms/a{path}"));
        assert_eq!(of("https://id.example.com/realms/a/"), format!("https://id.example.com/realms/a{path}"));
    }

    #[test]
    fn the_document_names_the_keys_wherever_they_are() {
        let issuer = url("https://accounts.example.com");
        let found = jwks_url(&issuer, &document("https://accounts.example.com", "https://www.example.net/certs?v=3"));
        assert_eq!(found.unwrap().as_str(), "https://www.example.net/certs?v=3");
    }

    #[test]
    fn another_issuer_in_the_document_is_refused_a_slash_is_enough() {
        let keys = "https://id.example.com/keys";
        for (issuer, said) in [
            ("https://id.example.com", "https://id.example.com/"),
            ("https://id.example.com/", "https://id.example.com"),
            ("https://id.example.com", "https://ID.example.com"),
            ("https://id.example.com", "https://id.example.com/tenants/mine"),
            ("https://id.example.com", ""),
        ] {
            let wrong = jwks_url(&url(issuer), &document(said, keys)).unwrap_err();
            assert!(wrong.contains("to the letter"), "{wrong}");
        }
    }

    #[test]
    fn keys_without_tls_are_refused_unless_all_is_on_this_machine() {
        let remote = url("https://id.example.com");
        for keys in ["http://id.example.com/keys", "http://127.0.0.1/keys", "file:///etc/passwd", "/keys", ""] {
            assert!(jwks_url(&remote, &document("https://id.example.com", keys)).is_err(), "{keys}");
        }
        let local = "http://127.0.0.1:8000";
        assert!(jwks_url(&url(local), &document(local, "http://127.0.0.1:8000/keys")).is_ok());
        assert!(jwks_url(&url(local), &document(local, "http://id.example.com/keys")).is_err());
    }

    #[test]
    fn what_is_no_document_is_told_in_few_words() {
        let issuer = url("https://id.example.com");
        let long = "x".repeat(100_000);
        for text in ["<!doctype html>", "[]", "{}", r#"{"issuer":"https://id.example.com"}"#, &document(&long, &long)] {
            let wrong = jwks_url(&issuer, text).unwrap_err();
            assert!(wrong.len() < 400 && !wrong.contains('\n'), "{wrong}");
        }
        assert_eq!(shown("äö").as_str(), "äö");
        assert_eq!(shown(&"ä".repeat(201)), format!("{}..", "ä".repeat(200)));
    }
}
