//! What an operator is told of a `[jwt.NAME]` that can't work.

use super::*;
use Algorithm::*;

/// The flaws as the operator would read them.
#[track_caller]
fn flaws(result: Result<Verifier, Vec<Flaw>>) -> Vec<String> {
    result.unwrap_err().into_iter().map(|(key, message, _)| format!("{key}: {message}")).collect()
}

#[track_caller]
fn told(result: Result<Verifier, Vec<Flaw>>, expected: &str) {
    let flaws = flaws(result);
    assert_eq!(flaws.len(), 1, "{flaws:?}");
    assert!(flaws[0].contains(expected), "`{}` does not say `{expected}`", flaws[0]);
}

fn with_secret(algorithms: &[Algorithm], secret: &[u8]) -> Result<Verifier, Vec<Flaw>> {
    Verifier::compile("main", &jwt(algorithms), &KeyMaterial::Secret(secret.to_vec()))
}

#[test]
fn every_flaw_is_told_at_once() {
    let config = Jwt {
        leeway: std::time::Duration::from_secs(3601),
        status: 404,
        max_token_size: Size(0),
        issuer: one(""),
        audience: Some(OneOrMany(vec![])),
        ..jwt(&[HS512, RS256, ES256])
    };
    let flaws = flaws(Verifier::compile("main", &config, &KeyMaterial::Secret(b"short".to_vec())));
    let keys: Vec<&str> = flaws.iter().map(|flaw| flaw.split(':').next().unwrap()).collect();
    assert_eq!(
        keys,
        ["leeway", "status", "max_token_size", "issuer", "audience", "algorithms", "algorithms", "secret"],
        "{flaws:?}"
    );
}

#[test]
fn an_empty_list_of_algorithms_is_told_once() {
    told(with_secret(&[], SECRET), "algorithms: no algorithm");
    told(with_pem(&[], pem!("rsa.pub.pem")), "algorithms: no algorithm");
    told(with_jwks(&[], &[jwk(pem!("rsa.pem"), RS256, json!({}))]), "algorithms: no algorithm");
}

#[test]
fn the_bounds_themselves_are_allowed() {
    for status in [401, 403] {
        let config = Jwt { leeway: std::time::Duration::from_secs(3600), status, ..jwt(&[HS256]) };
        assert!(Verifier::compile("main", &config, &KeyMaterial::Secret(SECRET.to_vec())).is_ok());
    }
}

#[test]
fn a_secret_has_at_least_the_bytes_of_its_hash() {
    for (algorithm, least) in [(HS256, 32), (HS384, 48), (HS512, 64)] {
        assert!(with_secret(&[algorithm], &SECRET[..least]).is_ok());
        told(with_secret(&[algorithm], &SECRET[..least - 1]), &format!("has {} bytes, and {algorithm:?}", least - 1));
    }
    told(with_secret(&[HS256, HS512], &SECRET[..40]), "HS512 wants at least 64");
}

#[test]
fn no_flaw_repeats_a_secret() {
    let told = format!("{:?}", with_secret(&[HS512, RS256], b"hunter2").unwrap_err());
    assert!(!told.contains("hunter2"), "{told}");
    assert!(!format!("{:?}", hs256()).contains("0123456789"), "a verifier prints no key");
}

#[test]
fn a_public_key_is_no_secret() {
    told(with_secret(&[HS256], pem!("rsa.pub.pem")), "secret: the secret is a PEM file");
}

#[test]
fn algorithm_and_material_must_be_of_one_kind() {
    told(with_secret(&[HS256, RS256], SECRET), "`RS256` is checked with a public key");
    told(with_pem(&[RS256, HS256], pem!("rsa.pub.pem")), "`HS256` is checked with a shared secret, and a `public_key`");
    let member = jwk(pem!("rsa.pem"), RS256, json!({}));
    told(with_jwks(&[RS256, HS256], &[member]), "`HS256` is checked with a shared secret, and a `jwks`");
}

#[test]
fn a_public_key_of_the_wrong_kind_is_named() {
    for (algorithm, pem, kind) in [
        (RS256, pem!("es256.pub.pem"), "an EC key on P-256"),
        (ES256, pem!("es384.pub.pem"), "an EC key on P-384"),
        (ES384, pem!("ed25519.pub.pem"), "an Ed25519 key"),
        (EdDSA, pem!("rsa.pub.pem"), "an RSA key of 2048 bits"),
        (RS256, pem!("rsa1024.pub.pem"), "an RSA key of 1024 bits"),
        (ES256, pem!("es512.pub.pem"), "P-521"),
        (ES256, pem!("es256k.pub.pem"), "secp256k1"),
        (EdDSA, pem!("x25519.pub.pem"), "not supported"),
        (PS256, pem!("rsapss.pub.pem"), "bound to PSS"),
    ] {
        told(with_pem(&[algorithm], pem), kind);
    }
    told(with_pem(&[RS256, ES256], pem!("rsa.pub.pem")), "`ES256` is not for the `public_key`");
}

#[test]
fn what_is_given_in_place_of_a_public_key_is_named() {
    for (pem, what) in [
        (pem!("rsa.pem"), "a private key"),
        (pem!("es256.sec1.pem"), "a private key (`EC PRIVATE KEY`)"),
        (pem!("es256.encrypted.pem"), "a private key"),
        (&[pem!("rsa.pub.pem"), pem!("rsa.pem")].concat(), "a private key"),
        (pem!("es256.crt.pem"), "a certificate"),
        (&[pem!("rsa.pub.pem"), pem!("rsa2.pub.pem")].concat(), "more than one"),
        (b"".as_slice(), "no PEM"),
        (b"\x30\x82\xff", "binary"),
        (b"-----BEGIN PUBLIC KEY-----\nMIIB", "cut off"),
        (b"-----BEGIN PUBLIC KEY-----\n???\n-----END PUBLIC KEY-----", "not base64"),
        (b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", "no key that can be read"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----", "no public key"),
    ] {
        told(with_pem(&[RS256], pem), what);
    }
}

#[test]
fn one_bad_key_does_not_lose_the_others() {
    let members = [
        json!("no key"),
        json!({ "kty": "RSA", "kid": "malformed", "n": 5, "e": "AQAB" }),
        json!({ "kty": "RSA", "n": "!!", "e": "AQAB" }),
        json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
        jwk(pem!("rsa.pem"), RS256, json!({ "kid": "good" })),
    ];
    let verifier = with_jwks(&[RS256], &members).unwrap();
    assert_eq!((verifier.key_count(), verifier.skipped().len()), (1, 6));
    assert!(verifier.skipped()[1].starts_with("key 1 (kid \"malformed\"): malformed"), "{:?}", verifier.skipped());
}

#[test]
fn a_key_is_skipped_for_whatever_it_was_not_published_for() {
    let rsa = |more| jwk(pem!("rsa.pem"), RS256, more);
    for (member, why) in [
        (rsa(json!({ "use": "enc" })), "`use`"),
        (rsa(json!({ "key_ops": ["encrypt"] })), "`key_ops`"),
        (rsa(json!({ "alg": "RS512" })), "for RS512, which fits none"),
        (rsa(json!({ "alg": "ES256" })), "for ES256, which fits none"),
        (rsa(json!({ "alg": "RSA-OAEP" })), "`alg` \"RSA-OAEP\""),
        (rsa(json!({ "d": "AA" })), "private key"),
        (json!({ "kty": "oct", "k": b64(SECRET) }), "shared secret"),
        (jwk(pem!("es256.pem"), ES256, json!({})), "an EC key on P-256, which fits none"),
        (jwk(pem!("es256.pem"), ES256, json!({ "crv": "P-384" })), "not of 48 bytes"),
        (jwk(pem!("es256.pem"), ES256, json!({ "x": b64(&[7; 32]) })), "not on the curve"),
        (rsa(json!({ "n": b64(&[0xff; 128]) })), "an RSA key of 1024 bits"),
        (rsa(json!({ "e": "AQ" })), "exponent"),
        (rsa(json!({ "e": "" })), "exponent"),
        (rsa(json!({ "n": "" })), "an RSA key of 0 bits"),
        (rsa(json!({ "kid": 5 })), "malformed"),
        (json!({ "kty": "EC", "x": "AA" }), "wants a `crv`"),
        (json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }), "32 bytes"),
    ] {
        told(with_jwks(&[RS256], &[member]), why);
    }
    for kept in
        [json!({ "use": "sig" }), json!({ "key_ops": ["verify"] }), json!({ "alg": "RS256" }), json!({ "x5c": ["AA"] })]
    {
        assert!(with_jwks(&[RS256], &[rsa(kept)]).is_ok());
    }
}

#[test]
fn a_modulus_with_the_sign_byte_of_asn1_is_the_same_key() {
    let member = jwk(pem!("rsa.pem"), RS256, json!({}));
    let n = URL_SAFE_NO_PAD.decode(member["n"].as_str().unwrap()).unwrap();
    let padded = jwk(pem!("rsa.pem"), RS256, json!({ "n": b64(&[&[0], n.as_slice()].concat()) }));
    let key = encoding_key(RS256, pem!("rsa.pem")).unwrap();
    let token = signed(RS256, &key, r#"{"alg":"RS256"}"#, good().to_string().as_bytes());
    assert!(with_jwks(&[RS256], &[padded]).unwrap().verify(&token, NOW).is_ok());
}

#[test]
fn a_kid_stands_for_one_key() {
    let member = |pem| jwk(pem, RS256, json!({ "kid": "a" }));
    told(with_jwks(&[RS256], &[member(pem!("rsa.pem")), member(pem!("rsa2.pem"))]), "two keys have the kid \"a\"");
    let nameless = |pem| jwk(pem, RS256, json!({}));
    assert!(with_jwks(&[RS256], &[nameless(pem!("rsa.pem")), nameless(pem!("rsa2.pem"))]).is_ok());
}

#[test]
fn a_file_that_is_no_key_set_is_told_so() {
    let compile = |text: &str| Verifier::compile("main", &jwt(&[RS256]), &KeyMaterial::Jwks(text.to_owned()));
    told(compile("{"), "not JSON");
    told(compile("[]"), "no list of `keys`");
    told(compile(r#"{"keys":{}}"#), "no list of `keys`");
    told(compile(r#"{"keys":[]}"#), "it is empty");
}

#[test]
fn a_key_that_can_not_sign_is_named() {
    for (algorithm, material, what) in [
        (HS256, &SECRET[..31], "31 bytes"),
        (RS256, pem!("rsa.pub.pem"), "`PUBLIC KEY` is given"),
        (RS256, pem!("es256.pem"), "not for RS256"),
        (ES256, pem!("es384.pem"), "not for ES256"),
        (ES256, pem!("es256.sec1.pem"), "older form"),
        (ES256, pem!("es256.encrypted.pem"), "passphrase"),
        (EdDSA, pem!("rsa.pem"), "not for EdDSA"),
        (EdDSA, SECRET, "no PEM"),
    ] {
        let error = encoding_key(algorithm, material).unwrap_err();
        assert!(error.contains(what), "`{error}` does not say `{what}`");
    }
    let public_in_disguise = String::from_utf8_lossy(pem!("rsa.pkcs1.pub.pem")).replace("PUBLIC", "PRIVATE");
    assert!(encoding_key(RS256, public_in_disguise.as_bytes()).unwrap_err().contains("not for RS256"));
    let rsa = encoding_key(RS256, pem!("rsa.pem")).unwrap();
    assert!(mint(HS256, &rsa, None, good().as_object().unwrap()).is_err());
}
