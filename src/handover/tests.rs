use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::Duration;

use super::give::Patience;
use super::take::Taker;
use super::*;
use crate::now::Clock;

const LONG: Duration = Duration::from_secs(20);

fn listeners(count: usize) -> Vec<TcpListener> {
    (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect()
}

fn offer(sockets: Vec<TcpListener>, name: Option<&str>) -> Offer {
    Offer { address: ([127, 0, 0, 1], 0).into(), name: name.map(str::to_owned), sockets }
}

#[test]
fn all_sockets_arrive_in_their_order_with_those_who_wait_in_their_queues() {
    // More than one message holds.
    let many = listeners(wire::MOST_DESCRIPTORS + 5);
    let addresses: Vec<_> = many.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let mut waiting = TcpStream::connect(addresses[254]).unwrap();
    let (channel, theirs) = pair().unwrap();
    let child = thread::spawn(move || {
        let taker = Taker::over(theirs);
        let given = taker.loaded().unwrap();
        taker.ready();
        given
    });
    let clock = Clock::system();
    let patience = Patience::new(&clock, LONG);
    assert_eq!(channel.wait_until_loaded(&patience).unwrap(), env!("CARGO_PKG_VERSION"));
    let offers = [offer(many, Some("web")), offer(listeners(1), None)];
    channel.hand_over(&offers, "the list", &patience).unwrap();
    // The old process closes its own.
    drop(offers);
    channel.done();
    let given = child.join().unwrap();
    assert_eq!((given.offers.len(), given.revocations.as_str()), (2, "the list"));
    assert_eq!((given.offers[0].name.as_deref(), given.offers[1].name.as_deref()), (Some("web"), None));
    let arrived: Vec<_> = given.offers[0].sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
    assert_eq!(arrived, addresses);
    let (client, _) = given.offers[0].sockets[254].accept().unwrap();
    drop(client);
    assert_eq!(waiting.read(&mut [0]).unwrap(), 0, "accepted, and closed in good order");
}

#[test]
fn a_child_that_fails_or_ends_is_an_error_with_its_reason() {
    let clock = Clock::system();
    let told = |act: fn(Taker)| {
        let (channel, theirs) = pair().unwrap();
        let child = thread::spawn(move || act(Taker::over(theirs)));
        let error = channel.wait_until_loaded(&Patience::new(&clock, LONG)).unwrap_err();
        drop(channel);
        child.join().unwrap();
        error.to_string()
    };
    assert_eq!(told(|taker| taker.failed("the config is wrong")), "the config is wrong");
    assert_eq!(told(drop), "the other process is gone");
}

#[test]
fn a_child_that_says_nothing_in_time_is_given_up() {
    let clock = Clock::system();
    let (channel, _theirs) = pair().unwrap();
    let error = channel.wait_until_loaded(&Patience::new(&clock, Duration::from_millis(1))).unwrap_err();
    assert_eq!(error.to_string(), "the other process said nothing in time");
}

#[test]
fn an_old_process_that_ends_before_it_gave_anything_ends_the_new_one() {
    let (channel, theirs) = pair().unwrap();
    drop(channel);
    assert_eq!(Taker::over(theirs).loaded().unwrap_err().to_string(), "the other process is gone");
}

#[test]
fn a_socket_that_does_not_listen_is_refused() {
    let listens = listeners(1).remove(0);
    assert_eq!(check(&listens).unwrap(), listens.local_addr().unwrap());
    let socket = socket2::Socket::new(socket2::Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let error = check(&socket.into()).unwrap_err().to_string();
    assert!(error.contains("does not listen"), "{error}");
}
