//! A new config, and what is known of the servers.

use serde_json::{Value, json};

use super::{end, gate, quoted};
use crate::harness::{Backend, Frame, Gate, until};

async fn servers(gate: &Gate) -> Vec<(String, String, u64)> {
    let page: Value = serde_json::from_str(&gate.page("/upstreams").await.body).unwrap();
    let servers = page["upstreams"][0]["servers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    servers.map(|one| (text(&one["server"]), text(&one["state"]), one["sessions"].as_u64().unwrap())).collect()
}

fn expected(all: &[(&Backend, &str, u64)]) -> Vec<(String, String, u64)> {
    all.iter()
        .map(|(backend, state, sessions)| (backend.address().to_string(), (*state).to_owned(), *sessions))
        .collect()
}

#[tokio::test]
async fn what_is_known_of_the_servers_outlives_a_new_config_and_their_sessions_notice_nothing() {
    let (one, other, third) = (Backend::new().await, Backend::new().await, Backend::new().await);
    let mut gate = gate(&quoted(&[&one, &other]), "", "");
    let (mut client, mut upstream) = gate.session(&one).await;
    let path = format!("/upstreams/chat/{}/drain", other.address());
    assert_eq!(gate.operate("POST", &path, "").await.status(), 200);
    gate.reloaded(|text| text.replace(&quoted(&[&one, &other]), &quoted(&[&one, &other, &third]))).await;
    assert_eq!(servers(&gate).await, expected(&[(&one, "up", 1), (&other, "drained", 0), (&third, "up", 0)]));
    let more = gate.session(&third).await;
    gate.reloaded(|text| text.replace(&quoted(&[&one, &other, &third]), &quoted(&[&other, &third]))).await;
    assert_eq!(servers(&gate).await, expected(&[(&one, "gone", 1), (&other, "drained", 0), (&third, "up", 1)]));
    client.say(&Frame::text("still here")).await;
    assert_eq!(upstream.frame().await.payload, b"still here");
    for _ in 0..2 {
        let (client, upstream) = gate.session(&third).await;
        end(&mut gate, client, upstream).await;
    }
    assert_eq!(end(&mut gate, client, upstream).await["upstream"], json!(one.address().to_string()));
    end(&mut gate, more.0, more.1).await;
    until("nothing is left of the first", || gate.shared().pools.all()[0].fill().servers.len() == 2).await;
    gate.finish().await;
}

#[tokio::test]
async fn a_route_may_go_over_from_a_url_to_a_pool_and_a_broken_pool_changes_nothing() {
    let (one, other) = (Backend::new().await, Backend::new().await);
    let mut gate = crate::harness::Setup::new().route("/ws", &one.url(), "").start();
    let first = gate.session(&one).await;
    let to = |text: String, servers: &str| {
        let text = text.replace(&format!("upstream = \"{}\"", one.url()), "upstream = \"chat\"");
        format!("{text}\n[upstream.chat]\nservers = [{servers}]\n")
    };
    let answer = gate.reload(|text| to(text, "")).await;
    assert_eq!(answer.status(), 422, "{}", answer.body);
    assert!(answer.body.contains("there is no server"), "{}", answer.body);
    let second = gate.session(&one).await;
    gate.reloaded(|text| text.replace("servers = []", &format!("servers = [{}]", quoted(&[&other])))).await;
    let third = gate.session(&other).await;
    for (client, upstream) in [first, second, third] {
        end(&mut gate, client, upstream).await;
    }
    gate.finish().await;
}

#[tokio::test]
async fn an_upstream_that_is_named_no_more_shows_its_sessions_and_can_be_drained_until_they_end() {
    let (old, new) = (Backend::new().await, Backend::new().await);
    let mut gate = gate(&quoted(&[&old]), "", "");
    let first = gate.session(&old).await;
    let away = |text: String| {
        let text =
            text.replace("upstream = \"chat\"", "upstream = \"other\"").replace("[upstream.chat]", "[upstream.other]");
        text.replace(&quoted(&[&old]), &quoted(&[&new]))
    };
    let kept = String::from_utf8(std::fs::read(gate.folder.path().join("test.toml")).unwrap()).unwrap();
    gate.reloaded(away).await;
    assert_eq!(servers(&gate).await, expected(&[(&old, "gone", 1)]));
    let second = gate.session(&new).await;
    gate.reloaded(|_| kept).await;
    assert_eq!(servers(&gate).await, expected(&[(&old, "up", 1)]), "it is the one that it was");
    let third = gate.session(&old).await;
    gate.reloaded(away).await;
    let path = format!("/upstreams/chat/{}/drain?window=0s", old.address());
    assert_eq!(gate.operate("POST", &path, "").await.status(), 200);
    for (mut client, mut upstream) in [first, third] {
        for side in [&mut client, &mut upstream] {
            let close = side.frame().await;
            assert_eq!(close.as_close(), (1012, "upstream_drained"));
            side.say(&close).await;
        }
        gate.ended("gateway", "upstream_drained").await;
    }
    until("nothing is left of it", || gate.shared().pools.all().len() == 1).await;
    assert_eq!(servers(&gate).await, expected(&[(&new, "up", 1)]));
    end(&mut gate, second.0, second.1).await;
    gate.finish().await;
}
