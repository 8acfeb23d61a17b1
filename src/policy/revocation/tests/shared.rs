//! Several gateways and a store that forgets: whatever happens in whatever order, all come to the same list.

use super::super::ledger::{Change, Ledger};
use super::super::shared::{MAX_RECORD, Record, words};
use super::*;

const SUBJECTS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Copy, Debug)]
enum Event {
    /// At which gateway, whom, for how many hours.
    Revoke(usize, usize, u64),
    Lift(usize, usize),
    /// From now on this gateway hears nothing and reaches nobody; or it does again.
    Cut(usize),
    Join(usize),
    /// Messages to this gateway are lost, and nobody notices.
    Lose(usize),
    Forget,
}

fn event() -> impl Strategy<Value = Event> {
    let gateway = 0..3_usize;
    let whom = 0..SUBJECTS.len();
    prop_oneof![
        4 => (gateway.clone(), whom.clone(), 1..50_u64).prop_map(|(g, s, hours)| Event::Revoke(g, s, hours)),
        3 => (gateway.clone(), whom).prop_map(|(g, s)| Event::Lift(g, s)),
        1 => gateway.clone().prop_map(Event::Cut),
        1 => gateway.clone().prop_map(Event::Join),
        1 => gateway.prop_map(Event::Lose),
        1 => Just(Event::Forget),
    ]
}

struct Gateway {
    list: Revocations,
    ledger: Ledger,
    is_cut: bool,
    loses: bool,
}

type Store = HashMap<Key, Record>;

impl Gateway {
    fn new() -> Self {
        Self { list: list(100), ledger: Ledger::new(100, Vec::new()), is_cut: false, loses: false }
    }

    fn hear(&mut self, key: Key, theirs: Record, wall: u64) {
        // As it comes from the wire.
        let (key, theirs) = Record::read(key.to_hex().as_bytes(), theirs.to_json().as_bytes()).unwrap();
        match self.ledger.hear(key, theirs, wall) {
            Change::None => {}
            Change::Revoked(entry) => self.list.adopt(entry),
            Change::Lifted(entry) => self.list.forget(&entry),
            Change::NoRoom => panic!("there is room"),
        }
    }

    /// What the store has afterwards, if that is something else.
    fn push(&mut self, key: Key, store: &mut Store, wall: u64) -> Option<Record> {
        if let Some(theirs) = store.get(&key) {
            self.hear(key, theirs.clone(), wall);
        }
        let mine = self.ledger.get(key)?.clone();
        self.ledger.published(key, &mine);
        (store.insert(key, mine.clone()).as_ref() != Some(&mine)).then_some(mine)
    }

    fn load(&mut self, store: &mut Store, wall: u64) {
        for (key, theirs) in store.clone() {
            self.hear(key, theirs, wall);
        }
        for key in self.ledger.keys() {
            self.push(key, store, wall);
        }
    }

    fn entry_of(&self, subject: &str, wall: u64) -> Option<Entry> {
        self.list.entries(100, wall).0.into_iter().find(|entry| entry.what == What::Subject(subject.to_owned()))
    }

    fn entries(&self, wall: u64) -> Vec<Entry> {
        let mut entries = self.list.entries(100, wall).0;
        entries.sort_by_key(words);
        entries
    }
}

fn tell(gateways: &mut [Gateway], key: Key, record: &Record, wall: u64) {
    for gateway in gateways.iter_mut().filter(|gateway| !gateway.is_cut && !gateway.loses) {
        gateway.hear(key, record.clone(), wall);
    }
}

/// What is to be in the end: counts, does not count, or either, since nobody can say which of the two was said last.
type Expected = [Option<bool>; SUBJECTS.len()];

fn act(event: Event, gateways: &mut [Gateway], store: &mut Store, expected: &mut Expected, wall: u64) {
    match event {
        Event::Revoke(at, whom, hours) => {
            let gateway = &mut gateways[at];
            let body = json!({ "subject": SUBJECTS[whom], "expires_in": hours * 3600 }).to_string();
            let revoked = gateway.list.revoke(gateway.list.read(body.as_bytes(), wall).unwrap(), wall).unwrap();
            let key = gateway.ledger.said(revoked.entry, wall);
            if !gateway.is_cut
                && let Some(record) = gateway.push(key, store, wall)
            {
                tell(gateways, key, &record, wall);
            }
            expected[whom] = Some(true);
        }
        Event::Lift(at, whom) => {
            let gateway = &mut gateways[at];
            let Some(entry) = gateway.entry_of(SUBJECTS[whom], wall).filter(|_| !gateway.is_cut) else { return };
            let key = words(&entry);
            if let Some(theirs) = store.get(&key) {
                gateway.hear(key, theirs.clone(), wall);
            }
            let Some(known) = gateway.ledger.get(key).filter(|known| known.entry().is_some()).cloned() else { return };
            let lifted = known.lifted(wall);
            store.insert(key, lifted.clone());
            let change = gateway.ledger.lift(key, &known, lifted.clone(), wall);
            assert!(matches!(&change, Change::Lifted(_)), "{change:?}");
            let Change::Lifted(entry) = change else { return };
            gateway.list.forget(&entry);
            tell(gateways, key, &lifted, wall);
            let elsewhere = gateways.iter().any(|gateway| gateway.ledger.unpublished().contains(&key));
            expected[whom] = (!elsewhere).then_some(false);
        }
        Event::Cut(at) => gateways[at].is_cut = true,
        Event::Lose(at) => gateways[at].loses = true,
        Event::Join(at) => {
            let gateway = &mut gateways[at];
            gateway.load(store, wall);
            (gateway.is_cut, gateway.loses) = (false, false);
        }
        Event::Forget => store.clear(),
    }
}

proptest! {
    #[test]
    fn gateways_that_were_cut_off_and_a_store_that_forgot_end_in_the_same_list(
        events in prop::collection::vec(event(), 1..40), skewed: bool
    ) {
        let mut gateways = [Gateway::new(), Gateway::new(), Gateway::new()];
        let (mut store, mut expected, mut wall) = (Store::new(), [Some(false); 3], NOW);
        for event in events {
            wall += 1000;
            // What knows of another comes after it whatever the clocks say, as long as the store remembers.
            let here = match event {
                Event::Forget if skewed => continue,
                Event::Revoke(at, ..) | Event::Lift(at, _) if skewed => wall + [0, 5000, 60_000][at],
                _ => wall,
            };
            act(event, &mut gateways, &mut store, &mut expected, here);
        }
        for _ in 0..2 {
            gateways.iter_mut().for_each(|gateway| gateway.load(&mut store, wall));
        }
        let all = gateways[0].entries(wall);
        for gateway in &gateways {
            prop_assert_eq!(&gateway.entries(wall), &all);
            prop_assert!(gateway.ledger.unpublished().is_empty());
        }
        for (subject, expected) in SUBJECTS.iter().zip(expected) {
            let counts = gateways[0].entry_of(subject, wall).is_some();
            prop_assert!(expected.is_none_or(|expected| expected == counts), "{} {:?} {}", subject, expected, counts);
        }
    }

    #[test]
    fn no_bytes_are_taken_for_a_record_that_is_none(field: Vec<u8>, json: Vec<u8>) {
        prop_assert_eq!(Record::read(&field, &json), None);
    }
}

fn entry_of(body: Value) -> Entry {
    revoke(&list(10), body).entry
}

#[test]
fn the_order_of_what_is_known_makes_no_difference() {
    let said = |hours: u64, at: u64| Record::live(entry_of(json!({ "subject": "a", "expires_in": hours * 3600 })), at);
    let (first, second) = (said(10, NOW), said(1, NOW + 2));
    let lifted = first.lifted(NOW + 1);
    let both = first.clone().join(second.clone());
    assert_eq!(both, second.clone().join(first.clone()));
    assert_eq!(both.until(), NOW + 10 * HOUR);
    assert_eq!(both.clone().join(first.clone()), both);
    // What was lifted before it was revoked again is gone with its dates.
    for order in [[&first, &lifted, &second], [&second, &first, &lifted], [&lifted, &second, &first]] {
        let known = order[0].clone().join(order[1].clone()).join(order[2].clone());
        assert_eq!(
            known.entry().map(|entry| entry.id),
            second.entry().map(|entry| entry.id).min(known.entry().map(|e| e.id))
        );
        assert!(known.entry().is_some());
    }
    assert_eq!(first.clone().join(lifted.clone()).entry(), None);
    assert_eq!(lifted.clone().join(first).until(), NOW + 10 * HOUR, "so long it is remembered");
}

#[test]
fn entries_of_other_words_have_other_names_and_of_the_same_words_the_same() {
    let bodies = [
        json!({ "subject": "a" }),
        json!({ "subject": "a", "issued_before": 1 }),
        json!({ "subject": "a", "jwt": "main" }),
        json!({ "jti": "a" }),
        json!({ "claim": "sid", "value": "a" }),
        json!({ "claim": "device", "value": "a" }),
        json!({ "claim": "device", "value": "1" }),
        json!({ "claim": "device", "value": 1 }),
        json!({ "claim": "device", "value": true }),
    ];
    let names: std::collections::HashSet<Key> = bodies.iter().map(|body| words(&entry_of(body.clone()))).collect();
    assert_eq!(names.len(), bodies.len());
    for (one, other) in [
        (json!({ "claim": "device", "value": 1 }), json!({ "claim": "device", "value": 1.0, "note": "n" })),
        (json!({ "subject": "a", "issued_before": 1 }), json!({ "subject": "a", "issued_before": 2, "expires_in": 9 })),
    ] {
        assert_eq!(words(&entry_of(one)), words(&entry_of(other)));
    }
}

#[test]
fn a_record_is_read_as_it_was_written_and_the_longest_fits() {
    let quotes = "\"".repeat(1024);
    let long = json!({ "claim": "device", "value": quotes, "note": "\"".repeat(256), "jwt": "main" });
    for body in [json!({ "jti": "a" }), json!({ "subject": "a", "issued_before": 5 }), long] {
        let entry = entry_of(body);
        let key = words(&entry);
        let live = Record::live(entry, NOW);
        for record in [live.lifted(NOW + 1), live] {
            let json = record.to_json();
            assert!(json.len() as u64 <= MAX_RECORD);
            assert_eq!(Record::read(key.to_hex().as_bytes(), json.as_bytes()), Some((key, record)));
        }
    }
}

#[test]
fn what_makes_no_sense_is_no_record() {
    let entry = entry_of(json!({ "subject": "a" }));
    let field = words(&entry).to_hex();
    let good = Record::live(entry, NOW).to_json();
    let read = |json: &str| Record::read(field.as_bytes(), json.as_bytes());
    assert!(read(&good).is_some());
    assert_eq!(Record::read(b"00000000000000000000000000000000", good.as_bytes()), None, "another's name");
    assert_eq!(Record::read(b"xy", good.as_bytes()), None);
    for (from, to) in [
        ("\"lifted\":0", "\"lifted\":1800000000001"),
        ("\"lifted\":0", "\"lifted\":0,\"until\":5"),
        ("\"lifted\":0", "\"lifted\":-1"),
        ("\"lifted\":0", "\"lifted\":0,\"more\":1"),
        ("\"revoked\":1800000000000", "\"revoked\":253402300800000"),
        ("\"subject\":\"a\"", "\"subject\":\"\""),
    ] {
        assert!(good.contains(from), "{good}");
        assert_eq!(read(&good.replacen(from, to, 1)), None, "{to}");
    }
    for other in ["", "{}", "[]", "null", "{\"lifted\":1}", "{\"lifted\":0,\"until\":5}"] {
        assert_eq!(read(other), None, "{other}");
    }
    assert!(read("{\"lifted\":1,\"until\":5}").is_some());
}

#[test]
fn what_was_lifted_is_forgotten_when_it_would_be_over_and_first_what_is_over_first() {
    let mut ledger = Ledger::new(2, Vec::new());
    let lifted = |subject: &str, hours: u64| {
        let entry = entry_of(json!({ "subject": subject, "expires_in": hours * 3600 }));
        (words(&entry), Record::live(entry, NOW).lifted(NOW))
    };
    for (subject, hours) in [("a", 3), ("b", 2), ("c", 4)] {
        let (key, record) = lifted(subject, hours);
        ledger.hear(key, record, NOW);
    }
    assert!(ledger.get(lifted("b", 2).0).is_none() && ledger.get(lifted("c", 4).0).is_some());
    ledger.tidy(NOW + 3 * HOUR);
    assert_eq!(ledger.keys().len(), 1);
    ledger.tidy(NOW + 4 * HOUR);
    assert!(ledger.keys().is_empty());
}
