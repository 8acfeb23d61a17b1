//! PEM (RFC 7468): the one key in a file, or what the operator gave instead.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Trouble;
use super::public::PublicKey;

/// The public key of a file that holds exactly one.
pub(super) fn public_key(pem: &[u8]) -> Result<PublicKey, Trouble> {
    if let Some(private) = labels(pem).find(|label| label.ends_with("PRIVATE KEY")) {
        let help = "the gateway only checks: give it the public half, as `openssl pkey -in KEY -pubout` prints it";
        return Err((
            format!("a private key (`{private}`) is given where the public one belongs"),
            Some(help.to_owned()),
        ));
    }
    let (label, body) = only_block(pem)?;
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => {
            let help = "`openssl x509 -in CERTIFICATE -pubkey -noout` prints its key";
            return Err(("a certificate is given where a public key belongs".to_owned(), Some(help.to_owned())));
        }
        other => return Err((format!("`{other}` is no public key"), Some("a `PUBLIC KEY` in PEM".to_owned()))),
    }
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).map_err(|_| ("the PEM's content is not base64".to_owned(), None))?;
    PublicKey::from_der(&der).map_err(|kind| {
        let help = "RSA of 2048 to 8192 bits, EC on P-256 or P-384, or Ed25519";
        (format!("the PEM holds {kind}"), Some(help.to_owned()))
    })
}

/// Label and content of the only block, whatever text stands around it.
pub(super) fn only_block(pem: &[u8]) -> Result<(&str, &str), Trouble> {
    let help = || Some("one key in PEM, from `-----BEGIN` to `-----END`".to_owned());
    let text = std::str::from_utf8(pem).map_err(|_| ("not PEM but binary, DER perhaps".to_owned(), help()))?;
    let mut labels = labels(pem);
    let label = labels.next().ok_or_else(|| ("no PEM: nothing begins with `-----BEGIN`".to_owned(), help()))?;
    if labels.next().is_some() {
        let help = "one key; a JSON Web Key Set (`jwks`) holds several";
        return Err(("the PEM holds more than one thing".to_owned(), Some(help.to_owned())));
    }
    let body = text
        .split_once(&format!("-----BEGIN {label}-----"))
        .and_then(|(_, rest)| rest.split_once(&format!("-----END {label}-----")))
        .ok_or_else(|| (format!("the PEM is cut off: no `-----END {label}-----`"), help()))?;
    Ok((label, body.0))
}

/// The labels of all blocks, in order. Empty for what is no PEM.
pub(super) fn labels(pem: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(pem).unwrap_or_default();
    text.split("-----BEGIN ").skip(1).filter_map(|rest| Some(rest.split_once("-----")?.0))
}
