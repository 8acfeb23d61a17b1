//! Certificates made on the spot; some are damaged afterwards, since no signature is looked at here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use rcgen::string::{BmpString, Ia5String, PrintableString, TeletexString, UniversalString};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair, SanType, date_time_ymd};
use serde_json::{Value, json};

use super::*;

/// The DER of a certificate with this subject and these alternative names.
fn der(subject: &[(DnType, DnValue)], names: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params.subject_alt_names = names;
    signed(params)
}

fn signed(params: CertificateParams) -> Vec<u8> {
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

fn with_cn(cn: impl Into<DnValue>) -> Vec<u8> {
    der(&[(DnType::CommonName, cn.into())], Vec::new())
}

fn subject(der: &[u8], part: CertificateSubject) -> Result<String, &'static str> {
    Certificate::parse(der)?.subject(part).map(|text| text.to_string())
}

fn cn(der: &[u8]) -> Result<String, &'static str> {
    subject(der, CertificateSubject::Cn)
}

fn dn(der: &[u8]) -> Result<String, &'static str> {
    subject(der, CertificateSubject::Dn)
}

/// The same bytes with one place changed, which has to be there once.
fn patched(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..=der.len() - from.len()).filter(|at| der[*at..].starts_with(from)).collect();
    assert_eq!(places.len(), 1, "{places:?}");
    let mut patched = der.to_vec();
    patched[places[0]..places[0] + to.len()].copy_from_slice(to);
    patched
}

fn ia5(text: &str) -> Ia5String {
    text.try_into().unwrap()
}

#[test]
fn each_part_of_a_certificate_makes_a_subject() {
    let names = vec![
        SanType::URI(ia5("spiffe://example.org/chat")),
        SanType::DnsName(ia5("Device-7.Example.com")),
        SanType::DnsName(ia5("second.example.com")),
        SanType::Rfc822Name(ia5("alice@example.com")),
        SanType::IpAddress([192, 0, 2, 7].into()),
    ];
    let der = der(&[(DnType::OrganizationName, "Example".into()), (DnType::CommonName, "alice".into())], names);
    assert_eq!(cn(&der), Ok("alice".to_owned()));
    assert_eq!(dn(&der), Ok("CN=alice,O=Example".to_owned()));
    assert_eq!(subject(&der, CertificateSubject::Dns), Ok("device-7.example.com".to_owned()), "in lower case");
    assert_eq!(subject(&der, CertificateSubject::Uri), Ok("spiffe://example.org/chat".to_owned()));
    assert_eq!(subject(&der, CertificateSubject::Email), Ok("alice@example.com".to_owned()));
}

#[test]
fn a_part_that_is_not_there_is_named() {
    let der = der(&[], Vec::new());
    for (part, missing) in [
        (CertificateSubject::Cn, "no CN"),
        (CertificateSubject::Dn, "is empty"),
        (CertificateSubject::Dns, "no DNS name"),
        (CertificateSubject::Uri, "no URI"),
        (CertificateSubject::Email, "no email address"),
    ] {
        let why = subject(&der, part).unwrap_err();
        assert!(why.contains(missing), "{part:?}: {why}");
    }
}

#[test]
fn a_common_name_is_read_in_every_encoding_that_says_what_its_letters_are() {
    assert_eq!(cn(&with_cn("jörg 🔑")), Ok("jörg 🔑".to_owned()));
    assert_eq!(cn(&with_cn(DnValue::PrintableString(PrintableString::try_from("alice").unwrap()))), Ok("alice".into()));
    assert_eq!(cn(&with_cn(DnValue::Ia5String(ia5("a@b")))), Ok("a@b".into()));
    assert_eq!(cn(&with_cn(DnValue::BmpString(BmpString::try_from("jörg").unwrap()))), Ok("jörg".into()));
    assert_eq!(cn(&with_cn(DnValue::UniversalString(UniversalString::try_from("🔑").unwrap()))), Ok("🔑".into()));
    let teletex = with_cn(DnValue::TeletexString(TeletexString::try_from("alice").unwrap()));
    assert_eq!(cn(&teletex), Err("the CN of the client's certificate is no text"));
    assert_eq!(dn(&teletex), Ok("CN=#1405616c696365".to_owned()), "in the DN it stands in hex");
}

#[test]
fn a_name_with_control_characters_makes_the_whole_certificate_unfit() {
    let why = Err("a name in the client's certificate has control characters");
    for evil in ["admin\0.evil.example", "a\r\nX-Admin: 1", "a\u{85}b", "\u{7f}"] {
        assert_eq!(cn(&with_cn(evil)), why, "{evil:?}");
        // Also where it is not the part that is asked for.
        let elsewhere = der(&[(DnType::OrganizationName, evil.into()), (DnType::CommonName, "a".into())], Vec::new());
        assert_eq!(cn(&elsewhere), why, "{evil:?}");
    }
    let names = vec![SanType::DnsName(ia5("good.example")), SanType::DnsName(ia5("a\0b.example"))];
    assert_eq!(cn(&der(&[(DnType::CommonName, "a".into())], names)), why);
}

#[test]
fn what_can_not_be_a_subject_is_refused_and_nothing_takes_its_place() {
    assert_eq!(cn(&with_cn("x".repeat(256))), Ok("x".repeat(256)));
    assert!(cn(&with_cn("x".repeat(257))).unwrap_err().contains("longer than 256 bytes"));
    for unfit in ["", " a", "a ", "\u{a0}a"] {
        assert!(cn(&with_cn(unfit)).unwrap_err().contains("blank"), "{unfit:?}");
    }
    let names = vec![SanType::Rfc822Name(ia5(" ")), SanType::Rfc822Name(ia5("second@example.com"))];
    let der = der(&[], names);
    assert!(subject(&der, CertificateSubject::Email).unwrap_err().contains("blank"), "the first counts");
}

#[test]
fn of_two_common_names_neither_is_the_subject() {
    // The library writes one of each kind: a surname's OID is one bit from a common name's.
    let surname = DnType::CustomDnType(vec![2, 5, 4, 4]);
    let der = der(&[(DnType::CommonName, "Users".into()), (surname, "alice".into())], Vec::new());
    assert_eq!(dn(&der), Ok("SN=alice,CN=Users".to_owned()));
    // Twice in it: in the issuer, which is the subject, and in the subject. The second is the subject's.
    let oid = [0x55, 0x04, 0x04];
    let at = der.windows(3).rposition(|bytes| bytes == oid).unwrap();
    let mut twice = der.clone();
    twice[at + 2] = 0x03;
    assert_eq!(cn(&twice), Err("the client's certificate has several CNs"));
    assert_eq!(dn(&twice), Ok("CN=alice,CN=Users".to_owned()), "the whole name is still one");
}

#[test]
fn a_dn_is_written_as_rfc_4514_wants_it() {
    for (value, written) in [
        ("a,b", "a\\,b"),
        ("a+b\"c\\d", "a\\+b\\\"c\\\\d"),
        ("<a;b>", "\\<a\\;b\\>"),
        ("#a#", "\\#a#"),
        (" a b", "\\ a b"),
        ("a=b", "a=b"),
        ("jörg", "jörg"),
    ] {
        assert_eq!(dn(&with_cn(value)), Ok(format!("CN={written}")), "{value:?}");
    }
    assert!(dn(&with_cn("a ")).unwrap_err().contains("blank"), "it would end with one, though escaped");
    let unknown = DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 99999, 1]);
    let parts = [
        (DnType::CountryName, "DE".into()),
        (unknown, "hi".into()),
        (DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 1]), "u7".into()),
        (DnType::CommonName, "x,CN=admin".into()),
    ];
    let written = "CN=x\\,CN=admin,UID=u7,1.3.6.1.4.1.99999.1=#0c026869,C=DE";
    assert_eq!(dn(&der(&parts, Vec::new())), Ok(written.to_owned()));
}

#[test]
fn the_second_of_not_after_still_counts() {
    let mut params = CertificateParams::default();
    params.not_after = date_time_ymd(2030, 1, 1);
    assert_eq!(Certificate::parse(&signed(params)).unwrap().ends, 1_893_456_000_000 + 1000);
    let mut params = CertificateParams::default();
    params.not_after = date_time_ymd(1960, 1, 1);
    assert_eq!(Certificate::parse(&signed(params)).unwrap().ends, 1000, "long over");
}

#[test]
fn the_thumbprint_is_the_sum_of_the_der() {
    let der = with_cn("alice");
    let expected: [u8; 32] = digest::digest(&digest::SHA256, &der).as_ref().try_into().unwrap();
    assert_eq!(Certificate::parse(&der).unwrap().sha256, expected);
    // RFC 8705 appendix A: a certificate and its thumbprint.
    let der = pem_of_rfc_8705();
    let sum = Certificate::parse(&der).unwrap().sha256;
    assert_eq!(URL_SAFE_NO_PAD.encode(sum), "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0");
}

fn pem_of_rfc_8705() -> Vec<u8> {
    let text = "MIIBBjCBrAIBAjAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARtdGxzMB4XDTE4MTAxODEyMzcwOVoXDTIyMDUwMjEyMzcwOVow\
                DzENMAsGA1UEAwwEbXRsczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNcnyxwqV6hY8QnhxxzFQ03C7HKW9OylMbnQZjjJ/Au0\
                8/coZwxS7LfA4vOLS9WuneIXhbGGWvsDSb0tH6IxLm8wCgYIKoZIzj0EAwIDSQAwRgIhAP0RC1E+vwJD/D1AGHGzuri+hlV/PpQE\
                KTWUVeORWz83AiEA5x2eXZOVbUlJSGQgjwD5vaUaKlLR50Q2DmFfQj1L+SY=";
    base64::engine::general_purpose::STANDARD.decode(text.replace(' ', "")).unwrap()
}

#[test]
fn what_is_malformed_or_huge_is_refused_before_it_costs_anything() {
    assert!(Certificate::parse(b"").is_err() && Certificate::parse(b"0\x80").is_err());
    let good = with_cn("alice");
    assert!(Certificate::parse(&[&good[..], b"\0"].concat()).unwrap_err().contains("behind"));
    let huge = with_cn("x".repeat(MAX_DER));
    assert_eq!(Certificate::parse(&huge), Err("the client's certificate is larger than 16 KiB"));
    // A text that is not what its type says.
    let not_utf8 = patched_cn(&with_cn("abcd"), b"abcd", b"ab\xff\xfe");
    assert_eq!(Certificate::parse(&not_utf8), Err("a name in the client's certificate is malformed"));
}

/// The subject's copy of a name that a self-signed certificate has as its issuer too.
fn patched_cn(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = der.windows(from.len()).rposition(|bytes| bytes == from).unwrap();
    let mut patched = der.to_vec();
    patched[at..at + to.len()].copy_from_slice(to);
    patched
}

#[test]
fn alternative_names_that_are_malformed_or_stand_twice_are_refused() {
    let names = vec![SanType::DnsName(ia5("chat.example"))];
    let good = der(&[], names.clone());
    let not_ascii = patched(&good, b"chat.example", b"ch\xfft.example");
    assert!(Certificate::parse(&not_ascii).unwrap_err().contains("malformed alternative name"));
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let again = vec![0x30, 0x03, 0x82, 0x01, b'b'];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], again)];
    assert!(Certificate::parse(&signed(params)).is_err(), "RFC 5280 s4.2: an extension stands once");
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic_and_no_subject_is_unfit(at in any::<prop::sample::Index>(), bytes in any::<[u8; 3]>()) {
        let names = vec![SanType::DnsName(ia5("a.example")), SanType::Rfc822Name(ia5("a@b")), SanType::URI(ia5("x:y"))];
        let mut der = der(&[(DnType::OrganizationName, "O".into()), (DnType::CommonName, "alice".into())], names);
        let at = at.index(der.len() - 3);
        der[at..at + 3].copy_from_slice(&bytes);
        for part in [CertificateSubject::Cn, CertificateSubject::Dn, CertificateSubject::Dns, CertificateSubject::Uri] {
            if let Ok(subject) = subject(&der, part) {
                prop_assert!(!subject.is_empty() && subject.len() <= MAX_SUBJECT);
                prop_assert!(!subject.chars().any(char::is_control) && subject.trim() == subject);
            }
        }
    }
}

#[test]
fn a_bound_token_wants_the_certificate_that_it_names_and_no_other() {
    let (mine, others) = (with_cn("a"), with_cn("a"));
    let (mine, others) = (Certificate::parse(&mine).unwrap(), Certificate::parse(&others).unwrap());
    let cnf = json!({ "x5t#S256": URL_SAFE_NO_PAD.encode(mine.sha256), "jkt": "ignored" });
    assert_eq!(bound::check(Some(&cnf), Some(&mine)), Ok(Some(&mine)));
    assert_eq!(bound::check(Some(&cnf), Some(&others)), Err("it is bound to another certificate"));
    assert!(bound::check(Some(&cnf), None).unwrap_err().contains("presented none"));
    assert_eq!(bound::check(None, Some(&mine)), Ok(None));
    assert_eq!(bound::check(Some(&json!({ "jkt": "x" })), Some(&mine)), Ok(None), "RFC 7800: others are ignored");
}

#[test]
fn a_malformed_cnf_binds_to_nothing_and_is_refused() {
    let mine = Certificate::parse(&with_cn("a")).unwrap();
    let good = URL_SAFE_NO_PAD.encode(mine.sha256);
    for cnf in [json!(null), json!("x"), json!([{ "x5t#S256": good }]), json!(1)] {
        assert_eq!(bound::check(Some(&cnf), Some(&mine)), Err("its cnf is no object"), "{cnf}");
    }
    for sum in [
        Value::Null,
        json!(""),
        json!([good]),
        json!(format!("{good}=")),
        json!(&good[1..]),
        json!(format!("{good}AA")),
        json!(base64::engine::general_purpose::STANDARD.encode(mine.sha256)),
        json!("ä"),
    ] {
        let cnf = json!({ "x5t#S256": sum });
        assert_eq!(bound::check(Some(&cnf), Some(&mine)), Err("the x5t#S256 of its cnf is no SHA-256"), "{cnf}");
    }
}
