use super::*;
use proptest::prelude::*;

fn place(name: &str) -> Place {
    (name.into(), Key::shared(name.as_bytes()))
}

/// Takes one that the server counts.
fn taken(table: &mut Table, place: &Place, version: u64, now: u64) -> u64 {
    table.ask(place, now).unwrap();
    table.took(place, version, now)
}

fn one(statements: Vec<Statement>) -> Statement {
    let [statement] = statements.try_into().unwrap();
    statement
}

#[test]
fn what_was_taken_is_known_and_what_is_given_back_is_a_change() {
    let (mut table, a) = (Table::default(), place("a"));
    assert_eq!(table.ask(&a, 100), Some((0, 0)));
    let first = table.took(&a, 7, 100);
    assert_eq!(table.statements(10, false, 100), []);
    assert_eq!(table.ask(&a, 250), Some((1, 150)));
    table.took(&a, 8, 250);
    table.remove(&a, first);
    let change = one(table.statements(10, false, 300));
    assert_eq!((change.told, change.version, change.age_ms), (Told::Change(-1), 8, 50));
    assert_eq!(table.statements(10, false, 300), []);
    table.stated(&change, true, 9);
    assert_eq!(table.entries[&a].version, 9);
}

#[test]
fn a_take_without_an_answer_makes_the_whole_count_due_once_no_other_is_under_way() {
    let (mut table, a) = (Table::default(), place("a"));
    taken(&mut table, &a, 1, 0);
    table.ask(&a, 0).unwrap();
    table.ask(&a, 0).unwrap();
    table.unanswered(&a);
    assert_eq!(table.statements(10, false, 0), []);
    table.refused(&a);
    assert_eq!(one(table.statements(10, false, 0)).told, Told::Whole(1));
}

#[test]
fn a_whole_count_that_a_take_overtook_is_due_again_with_the_version_that_is_there() {
    let (mut table, a) = (Table::default(), place("a"));
    let slot = taken(&mut table, &a, 1, 0);
    table.doubt();
    table.remove(&a, slot);
    let whole = one(table.statements(10, false, 0));
    assert_eq!((whole.told, whole.version), (Told::Whole(0), 1));
    table.stated(&whole, false, 5);
    // While takes do not end, at least the change is told.
    table.ask(&a, 0).unwrap();
    let change = one(table.statements(10, false, 0));
    assert_eq!((change.told, change.version), (Told::Change(-1), 5));
    table.stated(&change, true, 6);
    table.refused(&a);
    let whole = one(table.statements(10, false, 0));
    assert_eq!((whole.told, whole.version), (Told::Whole(0), 6));
    table.stated(&whole, true, 7);
    assert!(table.entries.is_empty());
}

#[test]
fn nothing_is_remembered_of_a_place_where_nothing_is_held_and_all_was_told() {
    let (mut table, a) = (Table::default(), place("a"));
    table.ask(&a, 0).unwrap();
    table.refused(&a);
    assert!(table.entries.is_empty());
    let slot = taken(&mut table, &a, 1, 0);
    table.remove(&a, slot);
    table.remove(&a, slot);
    let change = one(table.statements(10, false, 0));
    table.unstated(&change);
    let whole = one(table.statements(10, false, 0));
    assert_eq!(whole.told, Told::Whole(0));
    table.stated(&whole, true, 2);
    assert!(table.entries.is_empty() && table.due.is_empty());
    assert_eq!(table.held(), 0);
}

#[test]
fn what_is_held_and_given_back_unasked_needs_no_word() {
    let (mut table, a) = (Table::default(), place("a"));
    let slot = table.add(&a, 0).unwrap();
    table.remove(&a, slot);
    assert_eq!(table.statements(10, false, 0), []);
    assert!(table.entries.is_empty());
}

#[test]
fn under_another_name_all_that_is_held_is_due_whole_and_nothing_else() {
    let mut table = Table::default();
    let slots: Vec<_> = ["a", "b", "c"].map(|name| taken(&mut table, &place(name), 1, 0)).into();
    table.remove(&place("b"), slots[1]);
    table.ask(&place("c"), 0).unwrap();
    table.renamed();
    let due = table.statements(10, true, 0);
    let mut due: Vec<_> = due.iter().map(|due| (&*due.place.0, due.told, due.version)).collect();
    due.sort_by_key(|due| due.0);
    assert_eq!(due, [("a", Told::Whole(1), 0), ("c", Told::Whole(1), 0)]);
}

#[test]
fn statements_come_in_batches_until_none_is_due() {
    let mut table = Table::default();
    for name in ["a", "b", "c"] {
        table.add(&place(name), 0);
    }
    assert_eq!([0; 3].map(|_| table.statements(2, false, 0).len()), [2, 1, 0]);
}

/// What happens between a gateway and a server that loses questions and answers.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A take is sent; it may never arrive.
    Ask {
        arrives: bool,
    },
    /// The oldest take under way ends; its answer may be lost.
    Answer {
        lost: bool,
    },
    Remove,
    Hold,
    /// The keeper states what is due; it may not arrive, and the answer may be lost.
    State {
        arrives: bool,
        lost: bool,
    },
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    let often = prop::bool::weighted(0.8);
    let seldom = prop::bool::weighted(0.2);
    prop_oneof![
        6 => often.prop_map(|arrives| Step::Ask { arrives }),
        6 => seldom.prop_map(|lost| Step::Answer { lost }),
        4 => Just(Step::Remove),
        1 => Just(Step::Hold),
        4 => (often, seldom).prop_map(|(arrives, lost)| Step::State { arrives, lost }),
        1 => Just(Step::Forget),
    ]
}

/// One field of the server, as the scripts change it.
#[derive(Default)]
struct Server {
    field: Option<(i64, u64)>,
    time: u64,
}

impl Server {
    fn take(&mut self, had: u64) -> u64 {
        self.time += 1000;
        let (count, version) = self.field.unwrap_or((i64::try_from(had).unwrap(), self.time));
        self.field = Some((count + 1, version + 1));
        version + 1
    }

    fn state(&mut self, statement: &Statement) -> (bool, u64) {
        self.time += 1000;
        let next = match (statement.told, self.field) {
            (Told::Whole(count), None) => Some((i64::try_from(count).unwrap(), self.time)),
            (Told::Whole(count), Some((_, version))) if version == statement.version => {
                Some((i64::try_from(count).unwrap(), version + 1))
            }
            (Told::Change(more), Some((count, version))) => Some((count + more, version + 1)),
            (Told::Whole(_), Some(_)) | (Told::Change(_), None) => None,
        };
        let Some((count, version)) = next else { return (false, self.field.map_or(0, |field| field.1)) };
        self.field = (count > 0).then_some((count, version));
        (true, version)
    }
}

proptest! {
    /// Whatever is lost on the way: when it is quiet, the server counts what is held; and without a forgetful server or
    /// sessions that did not ask, it never counts less.
    #[test]
    fn the_server_comes_to_count_what_is_held(steps in prop::collection::vec(step(), 0..120)) {
        let (mut table, mut server, a) = (Table::default(), Server::default(), place("a"));
        let (mut asking, mut slots, mut exact) = (std::collections::VecDeque::new(), Vec::new(), true);
        for step in steps {
            match step {
                Step::Ask { arrives } => {
                    let (had, _) = table.ask(&a, 0).unwrap();
                    asking.push_back(arrives.then(|| server.take(had)));
                }
                Step::Answer { lost } => match asking.pop_front() {
                    Some(Some(version)) if !lost => slots.push(table.took(&a, version, 0)),
                    Some(_) => table.unanswered(&a),
                    None => {}
                },
                Step::Remove => if let Some(slot) = slots.pop() {
                    table.remove(&a, slot);
                },
                Step::Hold => {
                    slots.extend(table.add(&a, 0));
                    exact = false;
                }
                Step::State { arrives, lost } => for statement in table.statements(9, false, 0) {
                    let answer = arrives.then(|| server.state(&statement));
                    match answer.filter(|_| !lost) {
                        Some((taken, version)) => table.stated(&statement, taken, version),
                        None => table.unstated(&statement),
                    }
                },
                Step::Forget => {
                    server.field = None;
                    table.doubt();
                    exact = false;
                }
            }
            let counted = server.field.map_or(0, |field| field.0);
            prop_assert!(!exact || counted >= slots.len() as i64, "{} counted, {} held", counted, slots.len());
        }
        asking.drain(..).for_each(|_| table.unanswered(&a));
        table.doubt();
        // One that is overtaken learns the version, and the next one counts.
        for _ in 0..2 {
            for statement in table.statements(9, false, 0) {
                let (taken, version) = server.state(&statement);
                table.stated(&statement, taken, version);
            }
        }
        prop_assert_eq!(server.field.map_or(0, |field| field.0), slots.len() as i64);
        prop_assert_eq!(table.held(), slots.len());
    }
}
