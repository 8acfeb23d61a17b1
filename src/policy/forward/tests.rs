use std::path::Path;

use super::*;
use crate::config;
use crate::material::Material;
use crate::policy::Policy;

/// What the upstream of a route with these keys gets to see of a client's headers.
fn seen(keys: &str, client: &[(&'static str, &'static str)]) -> HeaderMap {
    let text = format!("[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"http://127.0.0.1:1\"\n{keys}");
    let config = config::parse(&text, "test").unwrap();
    let (material, problems) = Material::load(&config, Path::new("."), &|_| None);
    assert!(problems.is_empty());
    let policy = Policy::compile(&config, &material).unwrap().policy;
    let headers = client.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let caller = Caller { peer: [192, 0, 2, 1].into(), trusted: false, secure: false, subject: None };
    request(&policy.routes[0], &headers.collect(), "/", &caller).0
}

#[test]
fn nobody_claims_a_subject_on_a_route_without_tokens() {
    let client = [("x-auth-subject", "admin"), ("x_auth_subject", "admin"), ("x-user", "me")];
    let headers = seen("", &client);
    assert!(!headers.contains_key("x-auth-subject") && !headers.contains_key("x_auth_subject"), "{headers:?}");
    assert_eq!(headers["x-user"], "me");
    let headers = seen("subject_header = \"X-User\"", &client);
    assert!(headers.contains_key("x-auth-subject") && !headers.contains_key("x-user"), "{headers:?}");
}
