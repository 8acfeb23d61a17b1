//! A public key: what kind it is, and what that kind may check.
//!
//! The JWT library takes any bytes for a key and fails at the first token; here a key that parsed can check signatures.

use std::fmt;

use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256K1_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, VerificationAlgorithm,
};
use jsonwebtoken::DecodingKey;

use crate::config::value::Algorithm;

/// Bits of an RSA modulus: the least of RFC 7518 s3.3, and the most that the library checks.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// id-RSASSA-PSS as DER (RFC 4055 s3.1): a key that its owner bound to PSS, which the library would use for RS256 as well.
const RSASSA_PSS: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];

/// A public key that can be used.
#[derive(Debug)]
pub(super) struct PublicKey {
    pub(super) kind: Kind,
    pub(super) key: DecodingKey,
}

/// What a public key is, as far as algorithms care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rsa { bits: usize },
    P256,
    P384,
    Ed25519,
}

impl Kind {
    /// Whether signatures of `algorithm` are made with keys of this kind (RFC 7518 s3.1, RFC 8037 s3.1).
    pub(super) fn fits(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => false,
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => matches!(self, Kind::Rsa { .. }),
            Algorithm::ES256 => self == Kind::P256,
            Algorithm::ES384 => self == Kind::P384,
            Algorithm::EdDSA => self == Kind::Ed25519,
        }
    }

    /// The names of those it fits, for a person.
    pub(super) fn algorithms(self) -> &'static str {
        match self {
            Kind::Rsa { .. } => "RS256, RS384, RS512, PS256, PS384, PS512",
            Kind::P256 => "ES256",
            Kind::P384 => "ES384",
            Kind::Ed25519 => "EdDSA",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Rsa { bits } => write!(f, "an RSA key of {bits} bits"),
            Kind::P256 => f.write_str("an EC key on P-256"),
            Kind::P384 => f.write_str("an EC key on P-384"),
            Kind::Ed25519 => f.write_str("an Ed25519 key"),
        }
    }
}

impl PublicKey {
    /// From a `SubjectPublicKeyInfo` or an `RSAPublicKey`, in DER. The library says what it is: it parses as one kind only.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, String> {
        // The algorithm stands at the front, behind two sequence headers of at most 4 bytes.
        if der.windows(RSASSA_PSS.len()).take(9).any(|at| at == RSASSA_PSS) {
            return Err("an RSA key that is bound to PSS (id-RSASSA-PSS), which is not supported".to_owned());
        }
        if let Ok(rsa) = rsa::PublicKey::from_der(der) {
            let (n, e) = (rsa.modulus(), rsa.exponent());
            return Self::rsa(n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
        }
        if parses(&ED25519, der) {
            return Ok(Self { kind: Kind::Ed25519, key: DecodingKey::from_ed_der(der) });
        }
        if let Ok(public) = Self::ec(der, Kind::P256).or_else(|_| Self::ec(der, Kind::P384)) {
            return Ok(public);
        }
        Err(if parses(&ECDSA_P521_SHA512_FIXED, der) {
            "an EC key on P-521, which is not supported".to_owned()
        } else if parses(&ECDSA_P256K1_SHA256_FIXED, der) {
            "an EC key on secp256k1, which is not supported".to_owned()
        } else {
            "no key that can be read, or of a kind that is not supported".to_owned()
        })
    }

    /// From modulus and exponent, big-endian.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, String> {
        // Some issuers write the sign byte of ASN.1, which the library refuses.
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(format!("an RSA key of {bits} bits, which must be {} to {}", RSA_BITS.start(), RSA_BITS.end()));
        }
        // An exponent of 1 makes every signature its own proof; an even one has no inverse.
        if e.len() > 8 || e == [1] || e.last().is_none_or(|last| last % 2 == 0) {
            return Err("an RSA key whose exponent is not odd and above 1".to_owned());
        }
        Ok(Self { kind: Kind::Rsa { bits }, key: DecodingKey::from_rsa_raw_components(n, e) })
    }

    /// From a point (or a `SubjectPublicKeyInfo`) that must lie on the curve of `kind`.
    pub(super) fn ec(bytes: &[u8], kind: Kind) -> Result<Self, String> {
        let curve = if kind == Kind::P384 { &ECDSA_P384_SHA384_FIXED } else { &ECDSA_P256_SHA256_FIXED };
        if !parses(curve, bytes) {
            return Err(format!("not {kind}: its point is not on the curve"));
        }
        Ok(Self { kind, key: DecodingKey::from_ec_der(bytes) })
    }

    /// From the 32 bytes of RFC 8032.
    pub(super) fn ed25519(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() != 32 || !parses(&ED25519, bytes) {
            return Err("not an Ed25519 key of 32 bytes".to_owned());
        }
        Ok(Self { kind: Kind::Ed25519, key: DecodingKey::from_ed_der(bytes) })
    }
}

/// Whether the library takes the bytes for a key of this kind: found out here, once, and not at every token.
fn parses(algorithm: &'static dyn VerificationAlgorithm, bytes: &[u8]) -> bool {
    ParsedPublicKey::new(algorithm, bytes).is_ok()
}

fn without_zeros(mut bytes: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}
