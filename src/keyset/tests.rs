//! What a handshake gets that asks, without any server.

use super::*;
use crate::load;

const CONFIG: &str = r#"
listen = [{ address = "127.0.0.1:0" }]
route = [{ upstream = "http://a", jwt = "main", origins = "any" }]
jwt.main = { algorithms = ["EdDSA"], jwks = "http://127.0.0.1/" }
"#;

/// The example of RFC 8037 s A.2.
const SET: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn of(config: &str) -> (Keysets, Vec<Arc<Published>>) {
    let loaded =
        load::text(config, "test.toml", std::path::Path::new("."), &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let published = loaded.policy.key_sets;
    (Keysets::new(&published, &loaded.keyset_tls, 4, None), published)
}

fn keysets() -> (Keysets, Arc<Published>) {
    let (keysets, published) = of(CONFIG);
    (keysets, published[0].clone())
}

#[test]
fn who_looked_at_an_older_set_than_there_is_does_not_wait_nor_cause_a_fetch() {
    let (keysets, published) = keysets();
    let clock = Clock::system();
    published.take(SET, clock.now()).unwrap();
    let set = &keysets.sets[0];
    assert_eq!(set.ask(0, &clock), None, "a set came in between");
    assert_eq!(set.ask(1, &clock), Some(Asked::Begin), "and that cost nobody the cooldown's fetch");
    assert_eq!(set.ask(1, &clock), Some(Asked::Join));
}

#[test]
fn a_set_is_missing_until_it_is_there_and_again_when_it_is_too_old() {
    let (keysets, published) = keysets();
    let clock = Clock::system();
    assert_eq!(keysets.missing(&clock), ["jwt.main: its key set was never fetched"]);
    published.take(SET, clock.now()).unwrap();
    assert_eq!(keysets.missing(&clock), Vec::<String>::new());
    clock.advance(Duration::from_secs(86_401));
    assert_eq!(keysets.missing(&clock), ["jwt.main: its key set is older than jwks_max_stale"]);
}

#[tokio::test]
async fn who_waits_for_one_issuers_keys_takes_no_place_of_anothers() {
    let other = "jwt.other = { algorithms = [\"EdDSA\"], jwks = \"http://127.0.0.1/other\" }";
    let (keysets, published) = of(&format!("{CONFIG}{other}"));
    let clock = Clock::system();
    let wait = |set: &Published| keysets.newer(Behind { set: set.id, serial: 0, unknown_kid: true }, &clock);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    // Four places make one for each set.
    let mut first = std::pin::pin!(wait(&published[0]));
    let mut second = std::pin::pin!(wait(&published[0]));
    let mut another = std::pin::pin!(wait(&published[1]));
    assert!(Future::poll(first.as_mut(), &mut context).is_pending());
    assert_eq!(Future::poll(second.as_mut(), &mut context), std::task::Poll::Ready(false));
    assert!(Future::poll(another.as_mut(), &mut context).is_pending());
}
