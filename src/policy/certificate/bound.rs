//! Tokens that are bound to a certificate (RFC 8705 s3): good in the hands of who has its key, and in no others'.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::Certificate;

/// Whether the claim `cnf` binds its token to a certificate, and then whether it is the one that was presented.
///
/// Of `cnf` only `x5t#S256` is read: RFC 7800 s3.1 wants other members ignored. Gives the certificate that it is bound to.
///
/// # Errors
/// It is bound to another certificate, or to one and there is none, or the claim is malformed.
pub fn check<'a>(
    cnf: Option<&Value>,
    certificate: Option<&'a Certificate>,
) -> Result<Option<&'a Certificate>, &'static str> {
    let Some(cnf) = cnf else { return Ok(None) };
    let cnf = cnf.as_object().ok_or("its cnf is no object")?;
    let Some(thumbprint) = cnf.get("x5t#S256") else { return Ok(None) };
    let thumbprint = thumbprint.as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let thumbprint = thumbprint.filter(|sum| sum.len() == 32).ok_or("the x5t#S256 of its cnf is no SHA-256")?;
    let certificate = certificate.ok_or("it is bound to a certificate, and the client presented none")?;
    // Both are known to the client, so the time that a comparison takes tells nobody anything.
    if thumbprint != certificate.sha256 {
        return Err("it is bound to another certificate");
    }
    Ok(Some(certificate))
}
