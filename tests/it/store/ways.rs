//! The ways to a server: who one is, TLS, a local socket, Sentinels.

use std::sync::Arc;

use tempfile::TempDir;
use wsgate::policy::target::Transport;
use wsgate::store::{RemoteBudget, RemoteHit, RemoteSlot, Settings, State, Taken};
use wsgate::tls;

use super::{Node, at, key, settings, tcp, tries_in_vain};
use crate::harness::redis::Server;
use crate::harness::secure::Authority;
use crate::harness::until;

/// The line of docs/redis.md.
const ACL: &str = "on >sesame ~{test}:* &{test}:* +hello +select +evalsha +script|load +time +get +set \
                   +zadd +zrem +zscore +zremrangebyscore +hget +hset +hdel +hgetall +pexpire +publish +subscribe";

/// Everything that a store does, once.
async fn everything(node: &Node) {
    let rate = "10r/s".parse().unwrap();
    let hit = RemoteHit { zone: "z", key: key("a"), rate, burst: 0, delay: 0, cost: 1000, dry_run: false };
    assert_eq!(node.redis.charge(&[hit]).await.unwrap().answer, Ok(0));
    let budget = RemoteBudget { zone: "b", key: key("a"), rate, burst: 5000 };
    assert_eq!(node.redis.lease(&budget, 2000, 0).await.unwrap().units, 2000);
    let cap: Arc<str> = "c".into();
    let slot = [RemoteSlot { cap: &cap, key: key("a"), limit: 1 }];
    let Ok(Taken::Held(held)) = node.redis.take(&slot).await else { panic!("no slot") };
    let Ok(Taken::Full { oldest: Some(oldest), .. }) = node.redis.take(&slot).await else { panic!("a slot") };
    assert!(node.redis.evict(&oldest, "c", key("a")).await.unwrap());
    node.hears("Evict").await;
    drop(held);
    assert_eq!(node.redis.publish("news", b"hello").await, Ok(1));
    node.hears("channel: \"news\"").await;
    for _ in 0..1000 {
        if let Ok(Taken::Held(_)) = node.redis.take(&slot).await {
            break;
        }
        tokio::task::yield_now().await;
    }
    node.redis.leave().await;
    assert_eq!(node.redis.state(), State::Closed);
}

/// It does not come to work, whatever the time.
async fn is_refused(settings: Settings) {
    let node = Node::begin(settings);
    tries_in_vain(&node.redis, 3).await;
    assert_ne!(node.redis.state(), State::Closed);
}

fn with_user(server: &Server) -> Settings {
    let mut settings = at(server);
    settings.remote.username = Some("wsgate".to_owned());
    settings.password = Some("sesame".to_owned());
    settings
}

fn server_with_user(rights: &str) -> Server {
    let server = Server::start();
    let words: Vec<&str> = ["ACL", "SETUSER", "wsgate", "reset"].into_iter().chain(rights.split_whitespace()).collect();
    server.ask::<()>(&words);
    server
}

#[tokio::test]
async fn the_acl_user_of_the_docs_may_do_all_that_is_needed() {
    let page = include_str!("../../../docs/redis.md").replace("wsgate}", "test}").replace("\\\n", " ");
    let line: Vec<&str> = ACL.split_whitespace().collect();
    let told: Vec<&str> = page.split_whitespace().collect();
    assert!(told.windows(line.len()).any(|words| words == line), "docs/redis.md does not name this user: {ACL}");
    let server = server_with_user(ACL);
    everything(&Node::start(with_user(&server)).await).await;
}

#[tokio::test]
async fn a_user_who_lacks_a_right_is_no_connection() {
    let server = server_with_user(&ACL.replace("+zadd", ""));
    is_refused(with_user(&server)).await;
}

#[tokio::test]
async fn a_wrong_password_is_no_connection_and_stands_in_no_log() {
    let server = server_with_user(ACL);
    let mut wrong = with_user(&server);
    wrong.password = Some("hunter2".to_owned());
    assert!(!format!("{wrong:?}").contains("hunter2"));
    is_refused(wrong).await;
}

#[tokio::test]
async fn the_default_user_has_a_password_too() {
    let server = Server::start();
    server.ask::<()>(&["ACL", "SETUSER", "default", "resetpass", ">sesame"]);
    is_refused(at(&server)).await;
    let mut with_password = at(&server);
    with_password.password = Some("sesame".to_owned());
    everything(&Node::start(with_password).await).await;
}

#[tokio::test]
async fn another_database_is_another_store() {
    let server = Server::start();
    let mut third = at(&server);
    third.remote.database = 3;
    everything(&Node::start(third).await).await;
    assert_eq!(server.ask::<i64>(&["DBSIZE"]), 0);
}

#[tokio::test]
async fn a_local_socket_is_a_way() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("redis.sock");
    let _server = Server::with(folder, &["--unixsocket", socket.to_str().unwrap()]);
    everything(&Node::start(settings(vec![Transport::Unix(socket)])).await).await;
}

#[tokio::test]
async fn tls_wants_a_certificate_of_the_named_authority() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.sign("127.0.0.1").write(folder.path(), "redis");
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // The harness asks on the plain port; a free one for TLS is the next best thing to telling Redis to choose.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port_text, certificate, private, ca) =
        (port.to_string(), path("redis.pem"), path("redis.key"), path("ca.pem"));
    let _server = Server::with(
        folder,
        &[
            "--tls-port",
            &port_text,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &private,
            "--tls-ca-cert-file",
            &ca,
            "--tls-auth-clients",
            "no",
        ],
    );
    let trusting = |authority: &Authority| {
        let mut settings = settings(vec![tcp(port, true)]);
        settings.tls = Some(tls::client_config(Some(&[authority.der()]), None).unwrap());
        settings
    };
    everything(&Node::start(trusting(&authority)).await).await;
    is_refused(trusting(&Authority::new())).await;
}

#[tokio::test]
async fn sentinels_name_the_master_and_after_a_failover_the_new_one() {
    let mut master = Server::start();
    let replica = Server::with(TempDir::new().unwrap(), &["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sentinel.conf");
    let port = master.port();
    std::fs::write(
        &file,
        format!(
            "sentinel monitor mymaster 127.0.0.1 {port} 1\nsentinel down-after-milliseconds mymaster 200\n\
             sentinel failover-timeout mymaster 2000\n"
        ),
    )
    .unwrap();
    let sentinel = Server::with(folder, &[file.to_str().unwrap(), "--sentinel"]);
    let mut asked = settings(vec![tcp(1, false), tcp(sentinel.port(), false)]);
    asked.remote.sentinel = Some("mymaster".to_owned());
    let node = Node::start(asked).await;
    let cap: Arc<str> = "c".into();
    let slot = [RemoteSlot { cap: &cap, key: key("a"), limit: 1 }];
    let Ok(Taken::Held(_held)) = node.redis.take(&slot).await else { panic!("no slot") };
    // The Sentinel has to know of the replica before the master goes.
    until("the replica to be known", || {
        let replicas: Vec<redis::Value> = sentinel.ask(&["SENTINEL", "REPLICAS", "mymaster"]);
        !replicas.is_empty() && replica.ask::<String>(&["INFO", "replication"]).contains("master_link_status:up")
    })
    .await;
    master.kill();
    until("the breaker to open", || node.redis.state() != State::Closed).await;
    until("the replica to be the master", || {
        let told = replica.try_to_ask::<String>(&["INFO", "replication"]);
        told.is_ok_and(|told| told.contains("role:master"))
    })
    .await;
    node.is(State::Closed).await;
    // The new master knows what is held.
    let Ok(Taken::Full { .. }) = node.redis.take(&slot).await else { panic!("a slot") };
    everything_but_the_cap(&node).await;
}

async fn everything_but_the_cap(node: &Node) {
    assert_eq!(node.redis.publish("news", b"hello").await, Ok(1));
    node.hears("channel: \"news\"").await;
}

/// As one on a machine that is gone: to have others is what Sentinels are for.
#[tokio::test]
async fn a_sentinel_that_says_nothing_leaves_time_for_the_next_one() {
    let master = Server::start();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("sentinel.conf");
    std::fs::write(&file, format!("sentinel monitor mymaster 127.0.0.1 {} 1\n", master.port())).unwrap();
    let sentinel = Server::with(folder, &[file.to_str().unwrap(), "--sentinel"]);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut asked = settings(vec![tcp(port, false), tcp(port, false), tcp(sentinel.port(), false)]);
    asked.remote.sentinel = Some("mymaster".to_owned());
    everything_but_the_cap(&Node::start(asked).await).await;
}
