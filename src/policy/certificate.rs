//! What a client's certificate says of its bearer. That it holds, TLS has checked: its chain, its time, its purpose, and that
//! the client has its key.
//!
//! An authority signs what it was asked to sign, so the names in a certificate are a stranger's words: they are bounded,
//! control characters make the whole certificate unfit, and what is ambiguous names nobody.

pub mod bound;
mod name;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_lc_rs::digest;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::Denial;
use crate::config::{CertificateSubject, ClientCertificate};
use crate::deny::Deny;
use crate::now::Now;

/// Bytes. A certificate of a person or a device has one or two thousand; TLS would let 64 KiB through.
const MAX_DER: usize = 16 * 1024;

/// Bytes of a name that becomes a subject, as of a token's `sub`.
const MAX_SUBJECT: usize = 256;

/// What a route makes of a client's certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rule {
    /// Whether there has to be one.
    pub demand: ClientCertificate,
    /// Which part of it is the subject, where no token says.
    pub subject: CertificateSubject,
}

impl Rule {
    /// The certificate that the route goes by, out of the one that was presented.
    ///
    /// # Errors
    /// `certificate_missing` or `certificate_expired`.
    pub fn judge<'a>(&self, presented: Option<&'a Certificate>, now: Now) -> Result<Option<&'a Certificate>, Denial> {
        match (self.demand, presented) {
            (ClientCertificate::Off, _) | (ClientCertificate::Optional, None) => Ok(None),
            (ClientCertificate::Required, None) => {
                Err(Denial::new(Deny::CertificateMissing, "no client certificate, and the route requires one"))
            }
            (ClientCertificate::Optional | ClientCertificate::Required, Some(certificate)) => {
                certificate.check_time(now)?;
                Ok(Some(certificate))
            }
        }
    }

    /// What the part is called that is the subject.
    #[must_use]
    pub fn part(&self) -> &'static str {
        match self.subject {
            CertificateSubject::Cn => "CN",
            CertificateSubject::Dn => "DN",
            CertificateSubject::Dns => "DNS name",
            CertificateSubject::Uri => "URI",
            CertificateSubject::Email => "email address",
        }
    }

    /// Whose certificate it is.
    ///
    /// # Errors
    /// `certificate_missing`: it names nobody in the part that counts.
    pub fn subject(&self, certificate: &Certificate) -> Result<Arc<str>, Denial> {
        certificate.subject(self.subject).map_err(|why| Denial::new(Deny::CertificateMissing, why))
    }
}

/// A name, or why the certificate has none to offer.
type Part = Result<Arc<str>, &'static str>;

/// A client's certificate, as far as it is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The SHA-256 of its DER: `x5t#S256` in base64url (RFC 8705 s3.1).
    pub sha256: [u8; 32],
    /// The wall clock's milliseconds of `notBefore`.
    pub begins: u64,
    /// The wall clock's milliseconds from which it no longer holds: the second of `notAfter`, which still counts, is over
    /// (RFC 5280 s4.1.2.5).
    pub ends: u64,
    cn: Part,
    dn: Part,
    dns: Part,
    uri: Part,
    email: Part,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// Why it can't be read, or must not be: it is malformed, too large, or has control characters in a name.
    pub fn parse(der: &[u8]) -> Result<Self, &'static str> {
        // Before anything is parsed: reading costs no more than this.
        if der.len() > MAX_DER {
            return Err("the client's certificate is larger than 16 KiB");
        }
        let Ok((rest, certificate)) = X509Certificate::from_der(der) else {
            return Err("the client's certificate can't be read");
        };
        if !rest.is_empty() {
            return Err("there is something behind the client's certificate");
        }
        // A time before 1970 is over.
        let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let (subject, validity) = (certificate.subject(), certificate.validity());
        let mut parsed = Self {
            sha256: sha256(der),
            begins: seconds(validity.not_before).saturating_mul(1000),
            ends: seconds(validity.not_after).saturating_add(1).saturating_mul(1000),
            dn: fit(name::distinguished(subject)?),
            cn: name::common_name(subject).and_then(fit),
            dns: Err(NO_DNS),
            uri: Err(NO_URI),
            email: Err(NO_EMAIL),
        };
        let names = certificate.subject_alternative_name();
        let names = names.map_err(|_| "the client's certificate has alternative names that can't be read")?;
        let names = names.map_or(&[][..], |names| &names.value.general_names);
        for name in names {
            parsed.add(name)?;
        }
        Ok(parsed)
    }

    /// The subject that this part of it makes.
    ///
    /// # Errors
    /// It has no such part, or one that can't be a subject.
    pub fn subject(&self, part: CertificateSubject) -> Result<Arc<str>, &'static str> {
        match part {
            CertificateSubject::Cn => self.cn.clone(),
            CertificateSubject::Dn => self.dn.clone(),
            CertificateSubject::Dns => self.dns.clone(),
            CertificateSubject::Uri => self.uri.clone(),
            CertificateSubject::Email => self.email.clone(),
        }
    }

    /// Whether its time is not over. TLS has asked that too, but not of a session that was resumed, hours later perhaps.
    ///
    /// # Errors
    /// `certificate_expired`.
    pub fn check_time(&self, now: Now) -> Result<(), Denial> {
        if now.wall >= self.ends {
            return Err(Denial::new(Deny::CertificateExpired, "its notAfter is over, since the TLS session began"));
        }
        Ok(())
    }

    /// Takes one alternative name in. The first of a kind counts, and if it is unfit no later one takes its place.
    fn add(&mut self, name: &GeneralName<'_>) -> Result<(), &'static str> {
        let (slot, none, text) = match name {
            // RFC 4343: case means nothing, and a cap by subject must not be doubled by spelling.
            GeneralName::DNSName(dns) => (&mut self.dns, NO_DNS, dns.to_ascii_lowercase()),
            GeneralName::URI(uri) => (&mut self.uri, NO_URI, (*uri).to_owned()),
            GeneralName::RFC822Name(email) => (&mut self.email, NO_EMAIL, (*email).to_owned()),
            GeneralName::Invalid(..) => return Err("the client's certificate has a malformed alternative name"),
            GeneralName::OtherName(..)
            | GeneralName::X400Address(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EDIPartyName(_)
            | GeneralName::IPAddress(_)
            | GeneralName::RegisteredID(_) => return Ok(()),
        };
        name::refuse_controls(&text)?;
        if *slot == Err(none) {
            *slot = fit(text);
        }
        Ok(())
    }
}

const NO_DNS: &str = "the client's certificate has no DNS name";
const NO_URI: &str = "the client's certificate has no URI";
const NO_EMAIL: &str = "the client's certificate has no email address";

/// What may be a subject: the same that a token's `sub` may be.
fn fit(text: String) -> Part {
    if text.len() > MAX_SUBJECT {
        return Err("the name in the client's certificate is longer than 256 bytes");
    }
    // RFC 9110 s5.5: the upstream takes blanks off a header's ends, and would see another subject.
    if text.is_empty() || text.trim().len() != text.len() {
        return Err("the name in the client's certificate is empty, or begins or ends with a blank");
    }
    Ok(text.into())
}

fn sha256(der: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
    sum
}
