use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;
use std::sync::atomic::AtomicUsize;
use std::task::{Wake, Waker};

use super::*;
use crate::deny::Deny;
use crate::id::Ids;
use crate::policy::identity::Identity;

static IDS: LazyLock<Ids> = LazyLock::new(Ids::default);

fn live(route: &str, subject: Option<&str>) -> Live {
    let now = Now { mono: 5_000, wall: 1_709_251_199_007 };
    let holder = Holder::from(&Identity { subject: subject.map(Into::into), ..Identity::default() });
    Live::new(
        IDS.next(),
        route.into(),
        crate::pool::Lease::of_nobody().server().clone(),
        holder,
        Ipv4Addr::LOCALHOST.into(),
        now,
    )
}

fn all_of(limit: usize) -> Query {
    Query::first(limit)
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_session_is_listed_until_its_entry_drops_also_by_a_panic() {
    let registry = Registry::new(2);
    let first = registry.enter(0, live("a", None));
    let second = registry.enter(1, live("b", None));
    assert_eq!(registry.len(), 2);
    drop(first);
    assert_eq!(registry.all().iter().map(|live| live.id).collect::<Vec<_>>(), [second.id]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _held = second;
        panic!("a session fails");
    }));
    assert!(panicked.is_err());
    assert!(registry.is_empty());
}

#[test]
fn the_first_order_stands_and_wakes_the_session() {
    let registry = Registry::new(1);
    let entry = registry.enter(0, live("a", None));
    let woken = Arc::new(Woken::default());
    entry.register(&Waker::from(woken.clone()));
    assert_eq!(entry.ordered(), None);
    entry.order(Deny::Draining);
    entry.order(Deny::Kicked);
    assert_eq!(entry.ordered(), Some(&Order::from(Deny::Draining)));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn every_reason_can_be_ordered() {
    for deny in Deny::ALL {
        let live = live("a", None);
        live.order(*deny);
        assert_eq!(live.ordered().map(|order| order.reason), Some(*deny));
    }
}

#[test]
fn wake_all_reaches_every_worker_and_every_time() {
    let registry = Registry::new(3);
    let woken = Arc::new(Woken::default());
    let entries: Vec<_> = (0..6).map(|n| registry.enter(n % 3, live("a", None))).collect();
    for entry in &entries {
        entry.register(&Waker::from(woken.clone()));
    }
    for times in 1..=3 {
        registry.wake_all();
        assert_eq!(woken.0.load(Ordering::Relaxed), times * entries.len());
    }
}

#[test]
fn a_snapshot_shows_the_oldest_and_counts_all_that_match() {
    let registry = Registry::new(2);
    let entries: Vec<_> =
        (0..10).map(|n| registry.enter(n, live(["a", "b"][n % 2], [None, Some("ann"), Some("bob")][n % 3]))).collect();
    let now = Now { mono: 5_000, wall: 0 };
    let ids = |query: &Query| registry.snapshot(query, now).connections().map(|view| view.id).collect::<Vec<_>>();

    assert_eq!(ids(&all_of(3)), entries[..3].iter().map(|entry| entry.id).collect::<Vec<_>>());
    let of_ann_on_b = Query { route: Some("b".into()), subject: Some("ann".into()), ..all_of(1) };
    assert_eq!(ids(&of_ann_on_b), [entries[1].id]);
    assert_eq!(registry.snapshot(&of_ann_on_b, now).total(), 2);
    assert_eq!(ids(&Query { subject: Some(String::new()), ..all_of(9) }), []);
}

#[test]
fn a_query_chooses_by_network_and_text_sorts_by_any_column_and_cuts_out_a_page() {
    let registry = Registry::new(2);
    let entries: Vec<_> = [("chat", "Ann", 9), ("feed", "bob", 8), ("chat", "Joanna", 7), ("feed", "carl", 6)]
        .into_iter()
        .enumerate()
        .map(|(n, (route, subject, last))| {
            let mut live = live(route, Some(subject));
            live.client = Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().into();
            let entry = registry.enter(n, live);
            entry.bytes[Direction::ToClient.index()].add([5, 700, 5, 20][n]);
            entry
        })
        .collect();
    let found = |query: Query| {
        let snapshot = registry.snapshot(&query, Now { mono: 5_000, wall: 0 });
        let at = |id| entries.iter().position(|entry| entry.id == id).unwrap();
        (snapshot.connections().map(|view| at(view.id)).collect::<Vec<_>>(), snapshot.total())
    };
    let all = Query::first(9);
    assert_eq!(found(Query { search: Some("ann".into()), ..all.clone() }), (vec![0, 2], 2));
    assert_eq!(found(Query { search: Some("192.0.2.8".into()), ..all.clone() }), (vec![1], 1));
    assert_eq!(found(Query { search: Some("feed".into()), ..all.clone() }), (vec![1, 3], 2));
    assert_eq!(found(Query { search: Some(entries[2].id.to_string()), ..all.clone() }), (vec![2], 1));
    assert_eq!(found(Query { client: "192.0.2.8/31".parse().ok(), ..all.clone() }), (vec![0, 1], 2));
    for (name, up) in [
        ("since", [0, 1, 2, 3]),
        ("subject", [0, 2, 1, 3]),
        ("client", [3, 2, 1, 0]),
        ("route", [0, 2, 1, 3]),
        ("bytes_to_client", [0, 2, 3, 1]),
        ("messages_to_upstream", [0, 1, 2, 3]),
    ] {
        let (_, sort) = query::Sort::ALL.into_iter().find(|(known, _)| *known == name).unwrap();
        assert_eq!(found(Query { sort, ..all.clone() }), (up.to_vec(), 4), "{name}");
        let down: Vec<_> = up.into_iter().rev().collect();
        assert_eq!(found(Query { sort, descending: true, ..all.clone() }), (down, 4), "{name}");
    }
    assert_eq!(found(Query { offset: 1, limit: 2, ..all.clone() }), (vec![1, 2], 4));
    assert_eq!(found(Query { offset: 99, ..all }), (vec![], 4));
}

#[test]
fn a_snapshot_is_json() {
    let registry = Registry::new(1);
    let mut mapped = live("chat", Some("ann\n"));
    mapped.client = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201).into();
    mapped.id = Id(0xabc);
    let entry = registry.enter(0, mapped);
    entry.messages[Direction::ToUpstream.index()].add(2);
    entry.bytes[Direction::ToClient.index()].add(9);
    let now = Now { mono: 65_999, wall: 0 };
    let expected = concat!(
        r#"{"connections":[{"id":"0000000000000abc","route":"chat","subject":"ann\n","client":"192.0.2.1","#,
        r#""upstream":"10.0.0.1:80","since":"2024-02-29T23:59:59.007Z","duration_seconds":60,"messages_to_upstream":2,"bytes_to_upstream":0,"#,
        r#""messages_to_client":0,"bytes_to_client":9}],"total":1,"truncated":false}"#
    );
    assert_eq!(serde_json::to_string(&registry.snapshot(&all_of(10), now)).unwrap(), expected);
    assert_eq!(
        serde_json::to_string(&registry.snapshot(&all_of(0), now)).unwrap(),
        r#"{"connections":[],"total":1,"truncated":true}"#
    );
}

#[test]
fn an_idle_session_costs_under_360_bytes_here() {
    // Without its token's marks, of 16 bytes each. The Arc's two counts, the entry, and in the map a key, a pointer and
    // a control byte at a load of at least 7/16.
    let map = (size_of::<(Id, Arc<Live>)>() + 1) * 16 / 7;
    let all = size_of::<Live>() + 16 + size_of::<Entry>() + map;
    assert!(all < 360, "{all}");
}

#[test]
fn a_renewal_that_moves_no_end_wakes_nobody() {
    let mut live = live("a", None);
    live.holder = live.holder.until(Some(10_000));
    let woken = Arc::new(Woken::default());
    live.register(&Waker::from(woken.clone()));
    assert!(live.renew(Token::default(), Some(20_000)));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(live.renew(Token::default(), Some(20_000)), "sent twice, it counts twice");
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}
