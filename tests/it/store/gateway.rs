//! A gateway that has a store.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use wsgate::load;
use wsgate::now::Clock;
use wsgate::store::{Redis, State};

use super::{at, tries_in_vain};
use crate::harness::redis::Server;
use crate::harness::{Backend, Gate, Setup, until};

fn gate(server: &Server, upstream: &str) -> Gate {
    let redis = format!("[redis]\nurl = \"{}\"\n", server.url());
    Setup::new().route("/ws", upstream, "origins = \"any\"").admin(&redis).start()
}

#[tokio::test]
async fn a_gateway_starts_without_its_store_and_finds_it_later() {
    let mut server = Server::start();
    server.kill();
    let backend = Backend::new().await;
    let mut gate = gate(&server, &backend.url());
    let redis = gate.shared().redis.clone().unwrap();
    let (client, upstream) = gate.session(&backend).await;
    assert_ne!(redis.state(), State::Closed);
    assert!(gate.count("wsgate_redis_breaker") > 0.0);
    server.restart();
    until("the store to be found", || {
        redis.wake();
        redis.state() == State::Closed
    })
    .await;
    assert_eq!(gate.count("wsgate_redis_breaker"), 0.0);
    let nodes = || server.ask::<i64>(&["ZCARD", "{wsgate}:nodes"]);
    assert_eq!(nodes(), 1);
    drop((client, upstream));
    gate.lines.next().await;
    gate.finish().await;
    assert_eq!(nodes(), 0, "a gateway that stopped in order is off the list");
}

#[test]
fn a_config_is_checked_without_a_connection_and_its_password_is_printed_nowhere() {
    let text = "listen = [{ address = \"127.0.0.1:0\" }]\nroute = [{ upstream = \"http://a\", origins = \"any\" }]\n\
                redis = { url = \"rediss://app@redis.invalid\", password = \"env:P\" }";
    let env = |name: &str| (name == "P").then(|| "hunter2".to_owned());
    let loaded =
        load::text(text, "test.toml", std::path::Path::new("."), &env).unwrap_or_else(|error| panic!("{error}"));
    let settings = loaded.redis.unwrap();
    assert!(settings.tls.is_some());
    assert_eq!((settings.password.as_deref(), settings.remote.username.as_deref()), (Some("hunter2"), Some("app")));
    let redis = Redis::new(settings.clone(), Clock::system());
    for printed in [format!("{settings:?}"), format!("{redis:?}"), settings.remote.to_string()] {
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_has_one_line_when_it_is_lost_and_one_when_it_is_back() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let mut server = Server::start();
    let mut settings = at(&server);
    settings.password = Some("hunter2".to_owned());
    server.ask::<()>(&["ACL", "SETUSER", "default", "resetpass", ">sesame"]);
    // The keeper on this thread, where the log is looked at.
    let redis = Redis::new(settings, Clock::system());
    let local = tokio::task::LocalSet::new();
    local.spawn_local(redis.clone().run(Box::new(|_| {})));
    let looking = async {
        until("a line", || !log.lines().is_empty()).await;
        tries_in_vain(&redis, 3).await;
        assert_eq!(log.lines().len(), 1, "{:?}", log.lines());
        assert!(log.lines()[0].contains("user or password is refused"), "{:?}", log.lines());
        // It has no password any more, and takes any.
        server.kill();
        server.restart();
        until("it to be back", || redis.state() == State::Closed).await;
        server.kill();
        until("it to be lost", || redis.state() != State::Closed).await;
        tries_in_vain(&redis, 3).await;
    };
    local.run_until(looking).await;
    let lines = log.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1].contains("Redis is back") && lines[2].contains("does not answer"), "{lines:?}");
    assert!(!lines.concat().contains("hunter2"), "{lines:?}");
}
