//! Whether a token's claims allow a route: what `require` asks for, decided claim by claim.

use serde_json::Value;

use super::claims::Claims;
use crate::config::{self, Wanted};

/// A route's `require`, compiled: all of its rules must hold.
#[derive(Debug, Default)]
pub struct Require(Vec<Rule>);

/// What one claim must hold.
#[derive(Debug)]
struct Rule {
    claim: String,
    /// Whether all of `wanted` must be there, or any.
    all: bool,
    wanted: Vec<Want>,
}

/// One value that is asked for.
#[derive(Debug)]
enum Want {
    /// This one, of this type.
    Value(Value),
    /// What stands in the `{name}` of the route's path or host.
    Capture(String),
}

impl Require {
    /// Compiles what was typed; `known` are the names that the route's path and host capture.
    ///
    /// # Errors
    /// The claim, and what is wrong with what is asked of it.
    pub fn compile(typed: &config::Require, known: &[&str]) -> Result<Self, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let mut rules = Vec::new();
        for (claim, requirement) in &typed.0 {
            let mut wanted = Vec::new();
            for value in &requirement.values {
                match want(value, known) {
                    Ok(want) => wanted.push(want),
                    Err(why) => problems.push((claim.clone(), why)),
                }
            }
            if claim.is_empty() {
                problems.push((claim.clone(), "a claim without a name".to_owned()));
            }
            rules.push(Rule { claim: claim.clone(), all: requirement.wanted == Wanted::All, wanted });
        }
        if problems.is_empty() { Ok(Self(rules)) } else { Err(problems) }
    }

    /// Whether anything is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The claims that are looked at.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.claim.as_str())
    }

    /// Whether the claims hold all that is asked for; `captured` gives what stands in a `{name}`.
    ///
    /// # Errors
    /// Why not, for the log: names nothing that stands in the token.
    pub fn check<'a>(&self, claims: &Claims, captured: impl Fn(&str) -> Option<&'a str>) -> Result<(), &'static str> {
        self.each(claims, captured).find_map(|(_, holds)| holds.err()).map_or(Ok(()), Err)
    }

    /// Each claim that is looked at, and whether it holds what is asked of it; or why not.
    pub fn each<'a>(
        &self,
        claims: &Claims,
        captured: impl Fn(&str) -> Option<&'a str>,
    ) -> impl Iterator<Item = (&str, Result<(), &'static str>)> {
        self.0.iter().map(move |rule| (rule.claim.as_str(), rule.check(claims, &captured)))
    }
}

impl Rule {
    fn check<'a>(&self, claims: &Claims, captured: &impl Fn(&str) -> Option<&'a str>) -> Result<(), &'static str> {
        let Some(value) = claims.get(&self.claim) else {
            return Err("a claim that `require` names is not in the token");
        };
        let holds = |want: &Want| match want {
            Want::Value(wanted) => holds(&self.claim, value, &|one| one == wanted),
            Want::Capture(name) => {
                captured(name).is_some_and(|text| holds(&self.claim, value, &|one| is_text(one, text)))
            }
        };
        let allowed = if self.all { self.wanted.iter().all(holds) } else { self.wanted.iter().any(holds) };
        if allowed { Ok(()) } else { Err("a claim that `require` names does not hold what it asks for") }
    }
}

fn want(value: &Value, known: &[&str]) -> Result<Want, String> {
    let Some(text) = value.as_str() else { return Ok(Want::Value(value.clone())) };
    let Some(name) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(Want::Value(value.clone()));
    };
    if known.contains(&name) {
        return Ok(Want::Capture(name.to_owned()));
    }
    Err(format!("`{text}` stands neither in the route's path nor in its host"))
}

/// Whether a claim is, or has in it, one that is meant. A list has its elements; a scope has its words (RFC 6749 s3.3).
fn holds(claim: &str, value: &Value, meant: &dyn Fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(list) => list.iter().any(meant),
        Value::String(words) if is_scope(claim) => words.split(' ').any(|word| meant(&word.into())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => meant(value),
    }
}

/// The claims that hold words with blanks between them: `scope` (RFC 8693 s4.2), and `scp` as some issuers call it.
fn is_scope(claim: &str) -> bool {
    matches!(claim.rsplit('.').next(), Some("scope" | "scp"))
}

/// Whether a claim's value is this part of a path or host: the same text, or the number that is written so.
fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::String(own) => own == text,
        Value::Number(number) => (number.is_u64() || number.is_i64()) && number.to_string() == text,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn require(toml: &str) -> Require {
        let typed = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
        Require::compile(&typed, &["room", "tenant"]).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    fn allows(toml: &str, claims: Value) -> bool {
        let Value::Object(claims) = claims else { panic!("no object") };
        let captured = |name: &str| (name == "room").then_some("42");
        require(toml).check(&claims.into(), captured).is_ok()
    }

    #[test]
    fn a_list_means_all_of_them_in_whatever_order() {
        let both = r#"scope = ["chat:read", "chat:write"]"#;
        for scope in [json!("chat:write openid chat:read"), json!(["chat:write", "chat:read"])] {
            assert!(allows(both, json!({ "scope": scope })));
        }
        for scope in [json!("chat:read"), json!(["chat:write"]), json!("chat:reads chat:write"), json!(""), json!(null)]
        {
            assert!(!allows(both, json!({ "scope": scope })), "{scope}");
        }
        assert!(!allows(both, json!({})));
    }

    #[test]
    fn any_means_one_of_them() {
        let any = r#"roles = { any = ["admin", "moderator"] }"#;
        assert!(allows(any, json!({ "roles": ["user", "moderator"] })));
        assert!(allows(any, json!({ "roles": "admin" })));
        assert!(!allows(any, json!({ "roles": ["user"] })) && !allows(any, json!({ "roles": [] })));
    }

    #[test]
    fn every_claim_that_is_named_must_hold() {
        let two = "\"tenant.id\" = \"acme\"\nroles = \"admin\"";
        assert!(allows(two, json!({ "tenant": { "id": "acme" }, "roles": ["admin"] })));
        assert!(!allows(two, json!({ "tenant": { "id": "acme" }, "roles": ["user"] })));
        assert!(!allows(two, json!({ "tenant": { "id": "other" }, "roles": ["admin"] })));
        assert!(!allows(two, json!({ "roles": ["admin"] })));
    }

    #[test]
    fn a_value_has_the_type_that_was_asked_for() {
        assert!(allows("admin = true\nlevel = 3", json!({ "admin": true, "level": 3 })));
        assert!(!allows("admin = true", json!({ "admin": "true" })));
        assert!(!allows("level = 3", json!({ "level": "3" })));
        assert!(!allows("admin = \"true\"", json!({ "admin": true })));
    }

    #[test]
    fn only_a_scope_is_cut_into_words() {
        assert!(allows("\"api.scp\" = \"read\"", json!({ "api": { "scp": "read write" } })));
        assert!(!allows("name = \"read\"", json!({ "name": "read write" })));
        assert!(!allows("scope = \"\"", json!({ "scope": "read" })));
    }

    #[test]
    fn a_room_of_the_path_must_be_the_tokens_room() {
        let room = r#"room = "{room}""#;
        for good in [json!("42"), json!(42), json!(["41", "42"])] {
            assert!(allows(room, json!({ "room": good })), "{good}");
        }
        for bad in [json!("4"), json!("{room}"), json!(42.0), json!(true), json!({ "42": 1 }), json!([])] {
            assert!(!allows(room, json!({ "room": bad })), "{bad}");
        }
        assert!(!allows(r#"tenant = "{tenant}""#, json!({ "tenant": "acme" })), "nothing was captured");
    }

    #[test]
    fn a_name_that_nothing_captures_is_refused() {
        let typed = toml::from_str(r#"room = "{rom}""#).unwrap();
        let problems = Require::compile(&typed, &["room"]).unwrap_err();
        assert_eq!(problems, [("room".into(), "`{rom}` stands neither in the route's path nor in its host".into())]);
    }
}
