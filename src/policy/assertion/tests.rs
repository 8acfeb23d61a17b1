use std::collections::HashSet;

use jsonwebtoken::{DecodingKey, TokenData, Validation};
use serde_json::json;

use super::*;

const NOW: Now = Now { mono: 0, wall: 1_700_000_000_900 };

fn key_file(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn compile(toml: &str, material: &SigningKey) -> Result<Assertion, Vec<Flaw>> {
    let config: config::Assertion = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
    let header = HeaderName::try_from(config.header.as_str()).unwrap();
    Assertion::compile(&config, header, material)
}

fn secret() -> SigningKey {
    SigningKey::Secret(vec![b's'; 64])
}

fn identity() -> Identity {
    let claims =
        json!({ "iss": "https://id.example.com/", "email": "ann@example.com", "tenant": { "id": 7 }, "roles": ["a"] });
    Identity { subject: Some("ann".into()), claims: claims.as_object().unwrap().clone().into(), ..Identity::default() }
}

fn minted(assertion: &Assertion, identity: &Identity) -> String {
    let copied = assertion.copied(&identity.claims);
    assertion.mint(identity, copied, NOW).unwrap().to_str().unwrap().to_owned()
}

/// As a backend would, by another's code: signature, issuer and audience; the time is looked at by the caller.
fn read(token: &str, algorithm: jsonwebtoken::Algorithm, key: &DecodingKey) -> TokenData<Map<String, Value>> {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.set_issuer(&["wsgate"]);
    validation.set_audience(&["chat"]);
    jsonwebtoken::decode(token, key, &validation).unwrap()
}

#[test]
fn it_says_who_asks_for_a_minute_and_verifies_with_the_public_key() {
    use jsonwebtoken::Algorithm as A;
    for (name, algorithm, file, key) in [
        ("ES256", A::ES256, "es256", DecodingKey::from_ec_pem(&key_file("es256.pub.pem"))),
        ("ES384", A::ES384, "es384", DecodingKey::from_ec_pem(&key_file("es384.pub.pem"))),
        ("RS256", A::RS256, "rsa", DecodingKey::from_rsa_pem(&key_file("rsa.pub.pem"))),
        ("PS512", A::PS512, "rsa", DecodingKey::from_rsa_pem(&key_file("rsa.pub.pem"))),
        ("EdDSA", A::EdDSA, "ed25519", DecodingKey::from_ed_pem(&key_file("ed25519.pub.pem"))),
    ] {
        let toml = format!(
            "algorithm = \"{name}\"\naudience = \"chat\"\nkid = \"k1\"\nclaims = [\"email\", \"tenant.id\", \"none\"]"
        );
        let assertion = compile(&toml, &SigningKey::Private(key_file(&format!("{file}.pem")))).unwrap();
        let TokenData { header, mut claims, .. } = read(&minted(&assertion, &identity()), algorithm, &key.unwrap());
        assert_eq!((header.kid.as_deref(), header.typ.as_deref()), (Some("k1"), Some("JWT")));
        assert!(claims.remove("jti").is_some());
        let expected = json!({
            "iss": "wsgate", "aud": "chat", "sub": "ann", "iat": 1_700_000_000, "exp": 1_700_000_060,
            "origin_iss": "https://id.example.com/", "email": "ann@example.com", "tenant.id": 7,
        });
        assert_eq!(Value::from(claims), expected, "{name}");
    }
}

#[test]
fn a_shared_secret_signs_too_and_nothing_is_made_up() {
    let toml = "algorithm = \"HS512\"\naudience = [\"chat\", \"x\"]\nlifetime = \"1h\"";
    let assertion = compile(toml, &secret()).unwrap();
    let token = minted(&assertion, &Identity::default());
    let claims = read(&token, jsonwebtoken::Algorithm::HS512, &DecodingKey::from_secret(&[b's'; 64])).claims;
    let names: HashSet<&str> = claims.keys().map(String::as_str).collect();
    assert_eq!(names, HashSet::from(["iss", "aud", "iat", "exp", "jti"]));
    assert_eq!((&claims["exp"], &claims["aud"]), (&json!(1_700_003_600), &json!(["chat", "x"])));
}

#[test]
fn no_two_have_one_jti() {
    let assertion = compile("algorithm = \"HS256\"\naudience = \"chat\"", &secret()).unwrap();
    let key = DecodingKey::from_secret(&[b's'; 64]);
    let jti =
        |_| read(&minted(&assertion, &identity()), jsonwebtoken::Algorithm::HS256, &key).claims["jti"].to_string();
    let all: HashSet<String> = (0..100).map(jti).collect();
    assert_eq!(all.len(), 100);
    // 16 bytes in base64url, and the quotes.
    assert!(all.iter().all(|jti| jti.len() == 24));
}

/// The flaws as the operator would read them.
#[track_caller]
fn flaws(toml: &str, material: &SigningKey) -> Vec<String> {
    compile(toml, material).unwrap_err().into_iter().map(|(key, message, _)| format!("{key}: {message}")).collect()
}

#[test]
fn algorithm_and_key_must_fit() {
    let pem = |name: &str| SigningKey::Private(key_file(name));
    for (algorithm, material, expected) in [
        ("HS256", pem("es256.pem"), "algorithm: `HS256` signs with a shared secret"),
        ("ES256", secret(), "algorithm: `ES256` signs with a private key"),
        ("HS256", SigningKey::Secret(vec![b's'; 31]), "secret: the secret has 31 bytes"),
        ("HS256", SigningKey::Secret(key_file("es256.pem")), "secret: the secret is a PEM file"),
        ("ES256", pem("es384.pem"), "private_key: the key is not for ES256"),
        ("ES384", pem("rsa.pem"), "private_key: the key is not for ES384"),
        ("EdDSA", pem("es256.pem"), "private_key: the key is not for EdDSA"),
        ("ES256", pem("es256.pub.pem"), "private_key: `PUBLIC KEY` is given"),
        ("ES256", pem("es256.encrypted.pem"), "private_key: the key has a passphrase"),
        ("ES256", pem("es256.sec1.pem"), "private_key: the key is in the older form"),
        ("ES256", SigningKey::Private(b"hunter2".to_vec()), "private_key: no PEM"),
    ] {
        let flaws = flaws(&format!("algorithm = \"{algorithm}\""), &material);
        assert!(flaws.len() == 1 && flaws[0].starts_with(expected), "{flaws:?} for {expected}");
        assert!(!flaws[0].contains("hunter2"));
    }
}

#[test]
fn every_flaw_of_a_section_is_told_at_once() {
    let toml = "algorithm = \"ES256\"\nlifetime = \"2h\"\nissuer = \"\"\naudience = [\"\"]\nclaims = [\"\", \"sub\", \"a\", \"a\"]";
    let flaws = flaws(toml, &secret());
    let keys: Vec<&str> = flaws.iter().map(|flaw| flaw.split(':').next().unwrap()).collect();
    assert_eq!(keys, ["lifetime", "issuer", "audience", "claims", "claims", "claims", "algorithm"], "{flaws:?}");
    for lifetime in ["999ms", "1500ms", "3601s"] {
        assert!(
            compile(&format!("algorithm = \"HS256\"\nlifetime = \"{lifetime}\""), &secret()).is_err(),
            "{lifetime}"
        );
    }
    for lifetime in ["1s", "1h"] {
        assert!(compile(&format!("algorithm = \"HS256\"\nlifetime = \"{lifetime}\""), &secret()).is_ok(), "{lifetime}");
    }
}

#[test]
fn debug_shows_no_key() {
    let assertion = compile("algorithm = \"HS256\"", &SigningKey::Secret(b"hunter2".repeat(8))).unwrap();
    let shown = format!("{assertion:?}");
    assert!(shown.contains("[secret]") && !shown.contains("hunter2") && !shown.contains("104"), "{shown}");
}
