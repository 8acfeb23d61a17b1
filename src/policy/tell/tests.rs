use super::*;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

/// How many of so many that ask at once are told.
fn told(telling: &Telling, client: impl Fn(u16) -> IpAddr, asking: u16, now: u64) -> usize {
    (0..asking).filter(|&at| telling.admit(client(at), now)).count()
}

#[test]
fn one_address_is_told_eleven_times_at_once_and_then_five_times_a_second() {
    let telling = Telling::default();
    assert_eq!(told(&telling, |_| ip(1), 100, 1000), 11, "one by the rate, ten by the burst");
    assert_eq!(told(&telling, |_| ip(1), 100, 2000), 5);
    assert_eq!(told(&telling, |_| ip(2), 100, 2000), 11, "another address is another matter");
}

#[test]
fn all_addresses_together_are_told_201_times_at_once_and_then_a_hundred_times_a_second() {
    let telling = Telling::default();
    let client = |at: u16| IpAddr::from([10, 0, (at >> 8) as u8, at as u8]);
    assert_eq!(told(&telling, client, 1000, 1000), 201);
    assert_eq!(told(&telling, |at| client(at + 5000), 1000, 2000), 100);
}

/// An address that the whole gateway's rate keeps from being told has spent nothing of its own.
#[test]
fn who_is_not_told_is_not_charged() {
    let telling = Telling::default();
    let client = |at: u16| IpAddr::from([10, 0, (at >> 8) as u8, at as u8]);
    assert_eq!(told(&telling, client, 201, 1000), 201);
    assert_eq!(told(&telling, |_| ip(1), 50, 1000), 0);
    assert_eq!(told(&telling, |_| ip(1), 50, 2000), 11);
}

/// The bound on what is remembered is never what refuses: so says the arithmetic beside it.
#[test]
fn as_many_addresses_as_the_whole_rate_lets_in_are_remembered() {
    let telling = Telling::default();
    let client = |at: u32| IpAddr::from([10, (at >> 16) as u8, (at >> 8) as u8, at as u8]);
    let mut next = 0;
    for now in (1000..11_000).step_by(10) {
        for _ in 0..3 {
            let _ = telling.admit(client(next), now);
            next += 1;
        }
    }
    assert_eq!((telling.by_address.full_count(), telling.over_all.full_count()), (0, 0));
}
