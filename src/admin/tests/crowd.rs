//! Thousands of live sessions that end at once, beside one that stays.

use std::cell::Cell;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::rc::Rc;

use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::UnixStream;

use super::writes::{enter, revocation};
use super::*;
use crate::load;
use crate::policy::request::Opening;
use crate::policy::{Ask, Policy};
use crate::session::exit::Exit;
use crate::session::{Opened, Session, frame};
use crate::stream::Stream;

const CROWD: usize = 5000;

/// A route that lets everybody in.
fn policy() -> Policy {
    let text =
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"http://127.0.0.1:1\"\norigins = \"any\"\n";
    load::text(text, "test.toml", Path::new("."), &|_| None).unwrap_or_else(|report| panic!("{report}")).policy
}

/// A session of this subject between two sockets, as a worker runs it.
fn begin(
    state: &AdminState,
    policy: &Policy,
    subject: &str,
    client: StdUnixStream,
    upstream: StdUnixStream,
) -> Session {
    let stream = |socket: StdUnixStream| {
        socket.set_nonblocking(true).unwrap();
        (Stream::Unix(UnixStream::from_std(socket).unwrap()), &b""[..])
    };
    let headers = http::HeaderMap::new();
    let opening = Opening { host: "test".into(), path: "/".into() };
    let ask = Ask { opening: &opening, query: None, headers: &headers, client: HERE, certificate: None };
    let decision = policy.admit(&ask, state.books.clock.now());
    let (route, admission) = (decision.route.unwrap(), decision.verdict.unwrap());
    let active = state.books.metrics.traffic(0, 0).enter();
    let entry = enter(state, "chat", subject);
    let exit = Exit::new(
        state.books.clone(),
        "test".into(),
        route.clone(),
        entry,
        active,
        (admission.permits, crate::pool::Lease::of_nobody()),
    );
    let (client, upstream, meters) = (stream(client), stream(upstream), admission.meters);
    Session::new(Opened { client, upstream, deflate: false, route, meters }, exit)
}

/// As many as there are descriptors for, two for each.
fn crowd() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let room = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(300) / 2;
    let crowd = CROWD.min(room as usize);
    assert!(crowd >= 300, "{crowd} sessions are no crowd: raise the limit of descriptors");
    crowd
}

/// All on one thread, so that turns of its loop can be counted in place of time.
#[test]
fn revoking_thousands_at_once_does_not_hold_up_the_messages_of_others() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (state, policy, crowd) = (state(), policy(), crowd());
        for _ in 0..crowd {
            // A session between the two ends of one socket: the Close to either side is the one from the other.
            let (one, other) = StdUnixStream::pair().unwrap();
            tokio::task::spawn_local(begin(&state, &policy, "crowd", one, other));
        }
        let (client, near) = StdUnixStream::pair().unwrap();
        let (upstream, far) = StdUnixStream::pair().unwrap();
        tokio::task::spawn_local(begin(&state, &policy, "bystander", near, far));
        let ends = [client, upstream].map(|end| {
            end.set_nonblocking(true).unwrap();
            UnixStream::from_std(end).unwrap()
        });
        let [mut client, mut upstream] = ends;
        let (over, most) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
        let talking = {
            let (state, over, most) = (state.clone(), over.clone(), most.clone());
            async move {
                let message = [frame::control(frame::Control::Ping, b"there?", Some([1, 2, 3, 4]))].concat();
                let mut heard = vec![0; message.len()];
                while !over.get() {
                    let before = state.books.sessions.len();
                    client.write_all(&message).await.unwrap();
                    upstream.read_exact(&mut heard).await.unwrap();
                    most.set(most.get().max(before - state.books.sessions.len()));
                }
            }
        };
        let talking = tokio::task::spawn_local(talking);
        let (status, page) = body(answer(state.clone(), (HERE, 1).into(), revocation(r#"{"subject":"crowd"}"#)).await);
        assert_eq!(status, 201, "{page}");
        assert!(page.contains(&format!("\"sessions\":{crowd}")), "{page}");
        while state.books.sessions.len() > 1 {
            tokio::task::yield_now().await;
        }
        over.set(true);
        talking.await.unwrap();
        assert!(most.get() <= crowd / 4, "{} sessions ended while one message was under way", most.get());
        assert_eq!(state.books.sessions.all()[0].holder.subject.as_deref(), Some("bystander"));
    });
}
