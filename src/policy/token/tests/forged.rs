//! Tokens that somebody made up, cut, bent or signed with another key.

use super::*;
use proptest::prelude::*;

#[test]
fn every_algorithm_is_minted_and_verified_and_no_other_key_verifies_it() {
    use Algorithm::*;
    let rsa = (pem!("rsa.pem"), pem!("rsa.pub.pem"), Some(pem!("rsa2.pub.pem")));
    let mut checked = 0;
    for (algorithms, (private, public, other)) in [
        (&[RS256, RS384, RS512, PS256, PS384, PS512][..], rsa),
        (&[ES256], (pem!("es256.pem"), pem!("es256.pub.pem"), None)),
        (&[ES384], (pem!("es384.pem"), pem!("es384.pub.pem"), None)),
        (&[EdDSA], (pem!("ed25519.pem"), pem!("ed25519.pub.pem"), None)),
    ] {
        for algorithm in algorithms {
            let key = encoding_key(*algorithm, private).unwrap();
            let token = mint(*algorithm, &key, None, good().as_object().unwrap()).unwrap();
            let verified = with_pem(&[*algorithm], public).unwrap().verify(&token, NOW);
            assert_eq!(verified.unwrap().subject.as_deref(), Some("alice"), "{algorithm:?}");
            if let Some(other) = other {
                refused(with_pem(&[*algorithm], other).unwrap().verify(&token, NOW), "signature");
            }
            checked += 1;
        }
    }
    for algorithm in [HS256, HS384, HS512] {
        let key = encoding_key(algorithm, SECRET).unwrap();
        let token = mint(algorithm, &key, Some("k"), good().as_object().unwrap()).unwrap();
        assert!(with(&jwt(&[algorithm])).verify(&token, NOW).is_ok(), "{algorithm:?}");
        let other = KeyMaterial::Secret(SECRET.iter().rev().copied().collect());
        refused(Verifier::compile("main", &jwt(&[algorithm]), &other).unwrap().verify(&token, NOW), "signature");
        checked += 1;
    }
    assert_eq!(checked, 12);
}

#[test]
fn a_key_in_a_jwks_verifies_as_the_same_key_in_pem() {
    use Algorithm::*;
    for (algorithm, private) in [
        (RS256, pem!("rsa.pem")),
        (PS512, pem!("rsa.pem")),
        (ES256, pem!("es256.pem")),
        (ES384, pem!("es384.pem")),
        (EdDSA, pem!("ed25519.pem")),
    ] {
        let verifier = with_jwks(&[algorithm], &[jwk(private, algorithm, json!({ "use": "sig" }))]).unwrap();
        let key = encoding_key(algorithm, private).unwrap();
        let token = signed(algorithm, &key, &format!(r#"{{"alg":"{algorithm:?}"}}"#), good().to_string().as_bytes());
        assert!(verifier.verify(&token, NOW).is_ok(), "{algorithm:?}");
    }
}

#[test]
fn a_public_key_used_as_a_secret_signs_nothing() {
    for public in [pem!("rsa.pub.pem"), pem!("rsa.pkcs1.pub.pem")] {
        let verifier = with_pem(&[Algorithm::RS256], public).unwrap();
        for secret in [public, public.trim_ascii_end()] {
            let key = EncodingKey::from_secret(secret);
            let token = signed(Algorithm::HS256, &key, r#"{"alg":"HS256"}"#, good().to_string().as_bytes());
            refused(verifier.verify(&token, NOW), "alg is not accepted");
        }
    }
}

#[test]
fn none_is_no_algorithm_however_it_is_written() {
    for bits in 0..16_u8 {
        let cased = |(at, c): (usize, char)| if bits >> at & 1 == 1 { c.to_ascii_uppercase() } else { c };
        let none: String = "none".chars().enumerate().map(cased).collect();
        let message =
            format!("{}.{}", b64(format!(r#"{{"alg":"{none}"}}"#).as_bytes()), b64(good().to_string().as_bytes()));
        refused(hs256().verify(&format!("{message}."), NOW), "not signed");
        refused(hs256().verify(&format!("{message}.AAAA"), NOW), "not known");
        refused(
            hs256().verify(&hs256_signed(&format!(r#"{{"alg":"{none}"}}"#), &good().to_string()), NOW),
            "not known",
        );
    }
}

#[test]
fn a_header_without_a_proper_alg_is_refused() {
    let verify = |header: &str| hs256().verify(&hs256_signed(header, &good().to_string()), NOW);
    assert!(verify(r#"{"typ":"JWT","alg":"HS256"}"#).is_ok());
    for header in [
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":5}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":5}"#,
        r#"{"alg":"HS256","kid":null}"#,
        r#"["HS256","kid",false]"#,
        "null",
        "",
    ] {
        refused(verify(header), "JOSE header");
    }
    for unknown in ["hs256", "HS256 ", "", "ES512", "RSA-OAEP", "HS1"] {
        refused(verify(&json!({ "alg": unknown }).to_string()), "not known");
    }
}

#[test]
fn an_algorithm_that_is_not_configured_is_refused_though_the_key_could() {
    let rsa = encoding_key(Algorithm::RS512, pem!("rsa.pem")).unwrap();
    let verifier = with_pem(&[Algorithm::RS256], pem!("rsa.pub.pem")).unwrap();
    for algorithm in [Algorithm::RS512, Algorithm::PS256] {
        let header = format!(r#"{{"alg":"{algorithm:?}"}}"#);
        let token = signed(algorithm, &rsa, &header, good().to_string().as_bytes());
        refused(verifier.verify(&token, NOW), "alg is not accepted");
        // And the header's claim to be RS256 does not make it so.
        let token = signed(algorithm, &rsa, r#"{"alg":"RS256"}"#, good().to_string().as_bytes());
        refused(verifier.verify(&token, NOW), "signature");
    }
}

#[test]
fn a_jwk_for_rs256_takes_no_rs512_nor_ps256_though_both_are_configured() {
    use Algorithm::*;
    let member = jwk(pem!("rsa.pem"), RS256, json!({ "alg": "RS256", "kid": "a" }));
    let verifier = with_jwks(&[RS256, RS512, PS256], &[member]).unwrap();
    let key = encoding_key(RS256, pem!("rsa.pem")).unwrap();
    let verify = |algorithm: Algorithm| {
        let header = format!(r#"{{"alg":"{algorithm:?}","kid":"a"}}"#);
        verifier.verify(&signed(algorithm, &key, &header, good().to_string().as_bytes()), NOW)
    };
    assert!(verify(RS256).is_ok());
    refused(verify(RS512), "alg is not accepted");
    refused(verify(PS256), "alg is not accepted");
}

#[test]
fn kid_picks_the_key_and_no_other_is_tried() {
    use Algorithm::*;
    let members =
        [jwk(pem!("rsa.pem"), RS256, json!({ "kid": "a" })), jwk(pem!("rsa2.pem"), RS256, json!({ "kid": "b" }))];
    let verifier = with_jwks(&[RS256], &members).unwrap();
    let key = encoding_key(RS256, pem!("rsa.pem")).unwrap();
    let verify =
        |header: Value| verifier.verify(&signed(RS256, &key, &header.to_string(), good().to_string().as_bytes()), NOW);
    assert!(verify(json!({ "alg": "RS256", "kid": "a" })).is_ok());
    assert!(verify(json!({ "alg": "RS256" })).is_ok());
    refused(verify(json!({ "alg": "RS256", "kid": "b" })), "signature");
    for unknown in ["", "c", "A", "../../etc/passwd", "a' OR 1=1", &"a".repeat(4000)] {
        refused(verify(json!({ "alg": "RS256", "kid": unknown })), "no key has its kid");
    }
}

#[test]
fn a_set_of_several_families_takes_each_by_its_own_algorithm() {
    use Algorithm::*;
    let members = [
        jwk(pem!("rsa.pem"), RS256, json!({ "kid": "r" })),
        jwk(pem!("es256.pem"), ES256, json!({ "kid": "e" })),
        jwk(pem!("ed25519.pem"), EdDSA, json!({ "kid": "d" })),
    ];
    let verifier = with_jwks(&[RS256, ES256, EdDSA], &members).unwrap();
    let verify = |algorithm, pem: &[u8], kid: &str| {
        let header = format!(r#"{{"alg":"{algorithm:?}","kid":"{kid}"}}"#);
        verifier.verify(
            &signed(algorithm, &encoding_key(algorithm, pem).unwrap(), &header, good().to_string().as_bytes()),
            NOW,
        )
    };
    assert!(verify(RS256, pem!("rsa.pem"), "r").is_ok());
    assert!(verify(ES256, pem!("es256.pem"), "e").is_ok());
    assert!(verify(EdDSA, pem!("ed25519.pem"), "d").is_ok());
    refused(verify(ES256, pem!("es256.pem"), "r"), "alg is not accepted");
}

#[test]
fn a_token_without_kid_costs_at_most_four_signatures() {
    use Algorithm::*;
    let mut members: Vec<Value> =
        (0..4).map(|kid| jwk(pem!("rsa2.pem"), RS256, json!({ "kid": kid.to_string() }))).collect();
    members.push(jwk(pem!("rsa.pem"), RS256, json!({ "kid": "last" })));
    let key = encoding_key(RS256, pem!("rsa.pem")).unwrap();
    let token = signed(RS256, &key, r#"{"alg":"RS256"}"#, good().to_string().as_bytes());
    refused(with_jwks(&[RS256], &members).unwrap().verify(&token, NOW), "signature");
    assert!(with_jwks(&[RS256], &members[1..]).unwrap().verify(&token, NOW).is_ok());
}

#[test]
fn a_lone_key_takes_any_kid() {
    assert!(hs256().verify(&hs256_signed(r#"{"alg":"HS256","kid":"whatever"}"#, &good().to_string()), NOW).is_ok());
}

#[test]
fn a_token_with_crit_is_refused_whatever_stands_in_it() {
    for crit in [r#"["b64"]"#, "[]", "null", "5", r#"["exp"]"#] {
        let header = format!(r#"{{"alg":"HS256","b64":false,"crit":{crit}}}"#);
        refused(hs256().verify(&hs256_signed(&header, &good().to_string()), NOW), "crit");
    }
}

#[test]
fn a_key_that_the_token_brings_is_not_used() {
    use Algorithm::*;
    let own = jwk(pem!("rsa2.pem"), RS256, json!({}));
    let header = json!({ "alg": "RS256", "jwk": own, "jku": "https://evil.example/", "x5u": "https://evil.example/", "x5c": [5] });
    let verifier = with_pem(&[RS256], pem!("rsa.pub.pem")).unwrap();
    let verify = |pem: &[u8]| {
        let key = encoding_key(RS256, pem).unwrap();
        verifier.verify(&signed(RS256, &key, &header.to_string(), good().to_string().as_bytes()), NOW)
    };
    refused(verify(pem!("rsa2.pem")), "signature");
    assert!(verify(pem!("rsa.pem")).is_ok());
}

#[test]
fn an_ecdsa_signature_of_zeros_or_in_der_is_refused() {
    let verifier = with_pem(&[Algorithm::ES256], pem!("es256.pub.pem")).unwrap();
    let message = format!("{}.{}", b64(br#"{"alg":"ES256"}"#), b64(good().to_string().as_bytes()));
    for signature in [vec![0; 64], vec![0xff; 64], vec![0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00], vec![0]] {
        refused(verifier.verify(&format!("{message}.{}", b64(&signature)), NOW), "signature");
    }
}

#[test]
fn a_token_longer_than_the_bound_is_refused_before_it_is_parsed() {
    let token = token(&good());
    let bound = |size| with(&Jwt { max_token_size: Size(size), ..jwt(&[Algorithm::HS256]) });
    assert!(bound(token.len() as u64).verify(&token, NOW).is_ok());
    refused(bound(token.len() as u64 - 1).verify(&token, NOW), "max_token_size");
    refused(hs256().verify(&"x".repeat(8 * 1024 + 1), NOW), "max_token_size");
    refused(hs256().verify(&"x".repeat(8 * 1024), NOW), "three parts");
}

#[test]
fn a_token_of_another_shape_is_refused() {
    let token = token(&good());
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    for bent in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
        format!(".{claims}.{signature}"),
        format!("{token}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header}. {claims}.{signature}"),
        format!("{token}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}==.{signature}"),
        token.replace('.', ","),
        format!("{header}.{claims}.ä"),
        format!("Bearer {token}"),
    ] {
        refused(hs256().verify(&bent, NOW), "");
    }
}

#[test]
fn a_token_cut_at_any_byte_is_refused() {
    let token = token(&good());
    assert!(hs256().verify(&token, NOW).is_ok());
    for end in 0..token.len() {
        refused(hs256().verify(&token[..end], NOW), "");
        refused(hs256().verify(&token[end + 1..], NOW), "");
    }
}

#[test]
fn no_bit_of_a_token_may_change_not_even_those_that_base64_ignores() {
    let ed25519 = encoding_key(Algorithm::EdDSA, pem!("ed25519.pem")).unwrap();
    for (verifier, token) in [
        (hs256(), token(&good())),
        (
            with_pem(&[Algorithm::EdDSA], pem!("ed25519.pub.pem")).unwrap(),
            signed(Algorithm::EdDSA, &ed25519, r#"{"alg":"EdDSA"}"#, good().to_string().as_bytes()),
        ),
    ] {
        assert!(verifier.verify(&token, NOW).is_ok());
        let mut tried = 0;
        for at in 0..token.len() {
            for bit in 0..7 {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                refused(verifier.verify(std::str::from_utf8(&bytes).unwrap(), NOW), "");
                tried += 1;
            }
        }
        assert_eq!(tried, token.len() * 7);
    }
}

proptest! {
    #[test]
    fn any_text_at_all_gives_an_answer(text in "(?s).{0,300}") {
        prop_assert!(hs256().verify(&text, NOW).is_err());
    }

    #[test]
    fn any_three_parts_give_an_answer(header in "\\PC{0,60}", claims in "\\PC{0,60}", signature in any::<Vec<u8>>()) {
        let token = format!("{}.{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()), b64(&signature));
        prop_assert!(hs256().verify(&token, NOW).is_err());
    }

    #[test]
    fn any_header_that_is_rightly_signed_gives_an_answer(header in "\\{(\"(alg|kid|crit|jwk)\":(\"HS256\"|null|\\[\\]|1),?){0,4}\\}") {
        let _ = hs256().verify(&hs256_signed(&header, &good().to_string()), NOW);
    }
}
