//! A distinguished name as text (RFC 4514): one spelling for each name, so that it may be compared.

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Class, Tag, ToDer};
use x509_parser::x509::X509Name;

/// Types with a name of their own (RFC 4514 s3, RFC 4519, RFC 2985), as OpenSSL's `-nameopt RFC2253` writes them.
const NAMES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// The name, its most particular part first: `CN=alice,OU=chat,O=Example`.
///
/// # Errors
/// It has control characters, or a text that is not of the type that it claims.
pub(super) fn distinguished(name: &X509Name<'_>) -> Result<String, &'static str> {
    let mut parts = Vec::new();
    for relative in name.iter_rdn() {
        let mut attributes = Vec::new();
        for attribute in relative.iter() {
            let oid = attribute.attr_type().to_id_string();
            let short = NAMES.iter().find(|(known, _)| *known == oid).map(|(_, short)| *short);
            let text = text(attribute.attr_value())?;
            // RFC 4514 s2.4: a type without a name has its value in hex, since nobody knows what it means.
            let value = match text.filter(|_| short.is_some()) {
                Some(text) => escape(&text),
                None => hex(attribute.attr_value())?,
            };
            attributes.push(format!("{}={value}", short.unwrap_or(&oid)));
        }
        parts.push(attributes.join("+"));
    }
    // RFC 4514 s2.1: from the last to the first.
    parts.reverse();
    Ok(parts.join(","))
}

/// The only CN of a name.
///
/// # Errors
/// There is none, or it is no text. Or there are two: then programs differ in which of them they take, and an authority
/// that vouches for one may have copied the other.
pub(super) fn common_name(name: &X509Name<'_>) -> Result<String, &'static str> {
    let mut names = name.iter_common_name();
    let only = names.next().ok_or("the client's certificate has no CN")?;
    if names.next().is_some() {
        return Err("the client's certificate has several CNs");
    }
    text(only.attr_value())?.ok_or("the CN of the client's certificate is no text")
}

/// # Errors
/// The text has control characters: a NUL at which a program in C stops reading, a line end that forges a header.
pub(super) fn refuse_controls(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        return Err("a name in the client's certificate has control characters");
    }
    Ok(())
}

/// A value as text; none where it is no text, or one whose character set nobody knows (TeletexString).
fn text(value: &Any<'_>) -> Result<Option<String>, &'static str> {
    if value.header.class() != Class::Universal || value.header.is_constructed() {
        return Ok(None);
    }
    let bytes = value.as_bytes();
    let text = match value.tag() {
        Tag::Utf8String => String::from_utf8(bytes.to_vec()).ok(),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            bytes.is_ascii().then(|| String::from_utf8_lossy(bytes).into_owned())
        }
        Tag::BmpString => {
            let (units, rest) = bytes.as_chunks::<2>();
            let text = String::from_utf16(&units.iter().map(|unit| u16::from_be_bytes(*unit)).collect::<Vec<_>>());
            text.ok().filter(|_| rest.is_empty())
        }
        Tag::UniversalString => {
            let (units, rest) = bytes.as_chunks::<4>();
            let text = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit))).collect::<Option<String>>();
            text.filter(|_| rest.is_empty())
        }
        _ => return Ok(None),
    };
    let text = text.ok_or("a name in the client's certificate is malformed")?;
    refuse_controls(&text)?;
    Ok(Some(text))
}

/// RFC 4514 s2.4: what has a meaning in a name is escaped, everything else stands as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let at_an_end = (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ');
        if at_an_end || matches!(c, '"' | '+' | ',' | ';' | '<' | '>' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn hex(value: &Any<'_>) -> Result<String, &'static str> {
    let der = value.to_der_vec().map_err(|_| "a name in the client's certificate is malformed")?;
    let mut hex = String::from("#");
    for byte in der {
        // A String takes everything.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}
