//! The list against a model that walks over everything it was ever told, and compares values instead of marks.

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Revoke(Value),
    /// Of those that were revoked so far, by place.
    Lift(usize),
    /// Milliseconds.
    Pass(u64),
    Ask(Value),
}

/// Few words, so that they meet; a value may look like another of its kind.
fn word() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("a")),
        Just(json!("b")),
        Just(json!(1)),
        Just(json!("1")),
        Just(json!(1.0)),
        Just(json!(true))
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let what = prop_oneof![
        "[ab]".prop_map(|jti| json!({ "jti": jti })),
        "[ab]".prop_map(|subject| json!({ "subject": subject })),
        ("[ab]", 0..4_u64).prop_map(|(subject, at)| json!({ "subject": subject, "issued_before": at })),
        ("sid|device|tenant\\.id", word()).prop_map(|(claim, value)| json!({ "claim": claim, "value": value })),
    ];
    (what, prop::option::of("main|other"), 1..5_u64).prop_map(|(mut what, jwt, seconds)| {
        what["expires_in"] = json!(seconds);
        if let Some(jwt) = jwt {
            what["jwt"] = json!(jwt);
        }
        what
    })
}

fn token() -> impl Strategy<Value = Value> {
    let claim = || prop::option::of(prop_oneof![word(), prop::collection::vec(word(), 0..3).prop_map(Value::Array)]);
    let text = || prop::option::of("[ab]");
    (text(), text(), prop::option::of(0..4_u64), claim(), claim(), claim()).prop_map(
        |(jti, sub, iat, sid, device, id)| {
            let mut token = json!({ "tenant": {} });
            let members = [
                ("jti", json!(jti)),
                ("sub", json!(sub)),
                ("iat", json!(iat)),
                ("sid", json!(sid)),
                ("device", json!(device)),
            ];
            for (name, value) in members.into_iter().filter(|(_, value)| !value.is_null()) {
                token[name] = value;
            }
            if let Some(id) = id {
                token["tenant"]["id"] = id;
            }
            token
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        body().prop_map(Act::Revoke),
        (0..6_usize).prop_map(Act::Lift),
        (0..2500_u64).prop_map(Act::Pass),
        token().prop_map(Act::Ask),
        token().prop_map(Act::Ask),
    ]
}

/// A request that was taken, with the dates it has now.
#[derive(Debug)]
struct Told {
    id: Id,
    /// Without its dates.
    words: Value,
    before: Option<u64>,
    expires: u64,
}

impl Told {
    fn equal(a: &Value, b: &Value) -> bool {
        a.is_number() == b.is_number() && if a.is_number() { a.as_f64() == b.as_f64() } else { a == b }
    }

    fn covers(&self, token: &Value) -> bool {
        let words = &self.words;
        if words.get("jwt").is_some_and(|jwt| jwt != "main") {
            return false;
        }
        if words.get("jti").is_some() {
            return words["jti"] == token["jti"];
        }
        if words.get("subject").is_some() {
            let old = self.before.is_none_or(|before| token["iat"].as_u64().is_none_or(|iat| iat < before));
            return words["subject"] == token["sub"] && old;
        }
        let found = match words["claim"].as_str().unwrap() {
            "tenant.id" => &token["tenant"]["id"],
            name => &token[name],
        };
        let wanted = &words["value"];
        found
            .as_array()
            .map_or_else(|| Self::equal(found, wanted), |all| all.iter().any(|one| Self::equal(one, wanted)))
    }
}

fn same(a: &Value, b: &Value) -> bool {
    let value = match (a.get("value"), b.get("value")) {
        (Some(a), Some(b)) => Told::equal(a, b),
        (a, b) => a == b,
    };
    value && ["jti", "subject", "claim", "jwt"].iter().all(|name| a.get(name) == b.get(name))
}

proptest! {
    #[test]
    fn a_revocation_matches_exactly_what_it_should(acts in prop::collection::vec(act(), 0..40)) {
        const ROOM: usize = 4;
        let list = list(ROOM);
        let mut known: Vec<Told> = Vec::new();
        let mut now = NOW;
        for act in acts {
            known.retain(|one| now < one.expires);
            match act {
                Act::Pass(millis) => now += millis,
                Act::Lift(at) => {
                    let Some(id) = known.get(at).map(|one| one.id) else { continue };
                    prop_assert!(list.lift(id, now));
                    known.remove(at);
                    prop_assert!(!list.lift(id, now));
                }
                Act::Revoke(body) => {
                    let (before, expires) = (body["issued_before"].as_u64(), now + body["expires_in"].as_u64().unwrap() * 1000);
                    let taken = list.revoke(list.read(body.to_string().as_bytes(), now).unwrap(), now);
                    let like = |one: &&mut Told| same(&one.words, &body) && one.before.is_some() == before.is_some();
                    if let Some(one) = known.iter_mut().find(like) {
                        one.before = one.before.max(before);
                        one.expires = one.expires.max(expires);
                        prop_assert_eq!(taken.unwrap().entry.id, one.id);
                    } else if known.len() == ROOM {
                        prop_assert_eq!(taken.unwrap_err(), Full);
                    } else {
                        known.push(Told { id: taken.unwrap().entry.id, words: body, before, expires });
                    }
                }
                Act::Ask(token) => {
                    let expected = known.iter().any(|one| one.covers(&token));
                    prop_assert_eq!(is_revoked_at(&list, token.clone(), now), expected, "{:?} {}", &known, &token);
                }
            }
            let listed: Vec<Id> = list.entries(usize::MAX, now).0.iter().map(|entry| entry.id).collect();
            known.retain(|one| now < one.expires);
            prop_assert_eq!(listed, known.iter().map(|one| one.id).collect::<Vec<_>>());
        }
    }
}
