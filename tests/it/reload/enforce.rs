//! `on_reload`: sessions that a new config would not let in.

use serde_json::json;

use crate::harness::{Ask, Backend, Frame, Gate, Peer, Setup};

const ENFORCED: &str =
    "jwt = \"main\"\non_reload = \"enforce\"\norigins = [\"https://a.example.com\", \"https://b.example.com\"]";

fn ask(gate: &Gate, origin: &str, role: &str) -> Ask {
    let claims = json!({ "sub": "alice", "role": role, "exp": gate.clock.now().wall / 1000 + 600 });
    Ask::to("/ws").with("Origin", origin).bearer(&gate.sign(&claims))
}

/// It is closed for the new config, and both sides agree.
async fn goes(gate: &mut Gate, (mut client, mut upstream): (Peer, Peer)) {
    assert_eq!(client.frame().await.as_close(), (1008, "policy_changed"));
    assert_eq!(upstream.frame().await.as_close(), (1008, "policy_changed"));
    client.say(&Frame::close(1008, "")).await;
    upstream.say(&Frame::close(1008, "")).await;
    gate.ended("gateway", "policy_changed").await;
}

async fn stays((client, upstream): &mut (Peer, Peer)) {
    client.say(&Frame::text("here")).await;
    assert_eq!(upstream.frame().await, Frame::text("here"));
}

#[tokio::test]
async fn those_that_the_new_config_refuses_go_and_the_others_stay() {
    let backend = Backend::new().await;
    let mut gate = Setup::new().route("/ws", &backend.url(), ENFORCED).start();
    let (a, b) = ("https://a.example.com", "https://b.example.com");
    let mut of_a = gate.session_of(&backend, &ask(&gate, a, "user")).await;
    let of_b = gate.session_of(&backend, &ask(&gate, b, "user")).await;
    // One that knows them all, and one that closes a page out.
    gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/ws\"\nidle_timeout = \"59s\"")).await;
    gate.reloaded(|text| text.replace(", \"https://b.example.com\"", "")).await;
    goes(&mut gate, of_b).await;
    stays(&mut of_a).await;
    let mut admin = gate.session_of(&backend, &ask(&gate, a, "admin")).await;
    gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/ws\"\nrequire = { role = \"admin\" }")).await;
    goes(&mut gate, of_a).await;
    stays(&mut admin).await;
    // A route of another name at the same place is a route.
    gate.reloaded(|text| text.replace("name = \"ws\"", "name = \"renamed\"")).await;
    stays(&mut admin).await;
    gate.reloaded(|text| text.replace("path = \"/ws\"", "path = \"/elsewhere\"")).await;
    goes(&mut gate, admin).await;
    assert_eq!(gate.count("wsgate_sessions_ended_total{route=\"ws\",side=\"gateway\",reason=\"policy_changed\"}"), 3.0);
    gate.finish().await;
}

#[tokio::test]
async fn a_secret_that_changes_ends_the_sessions_of_the_old_one() {
    let backend = Backend::new().await;
    let terms = "jwt = \"other\"\non_reload = \"enforce\"";
    let jwt = "[jwt.other]\nalgorithms = [\"HS256\"]\nsecret = \"file:secret\"\n";
    let setup = Setup::new().jwt(jwt).route("/ws", &backend.url(), terms);
    let secret = setup.folder.path().join("secret");
    let (old, new) = ("the first secret, of more than 32 bytes", "the second secret, of more than 32 bytes");
    std::fs::write(&secret, old).unwrap();
    let mut gate = setup.start();
    let sign = |gate: &Gate, secret: &str, sub: &str, seconds: u64| {
        let exp = gate.clock.now().wall / 1000 + seconds;
        crate::harness::gate::sign_with(secret, &json!({ "sub": sub, "exp": exp }))
    };
    let bob = gate.session_of(&backend, &Ask::to("/ws").bearer(&sign(&gate, old, "bob", 600))).await;
    std::fs::write(&secret, new).unwrap();
    gate.reloaded(|text| text).await;
    goes(&mut gate, bob).await;
    let mut carol = gate.session_of(&backend, &Ask::to("/ws").bearer(&sign(&gate, new, "carol", 600))).await;
    gate.reloaded(|text| text).await;
    stays(&mut carol).await;
    drop(carol);
    gate.leave().await;
}

#[tokio::test]
async fn without_the_word_they_go_on_and_remember_nothing() {
    let backend = Backend::new().await;
    let terms = ENFORCED.replace("enforce", "keep");
    let gate = Setup::new().route("/ws", &backend.url(), &terms).start();
    let mut session = gate.session_of(&backend, &ask(&gate, "https://b.example.com", "user")).await;
    assert!(gate.shared().books.sessions.all().iter().all(|live| live.holder.asked.is_none()));
    gate.reloaded(|text| text.replace(", \"https://b.example.com\"", "")).await;
    stays(&mut session).await;
    drop(session);
    gate.leave().await;
}
