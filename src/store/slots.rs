//! Slots of caps that several gateways share: taken by a call, given back by a drop.

use std::sync::Arc;

use super::table::{Place, Statement};
use super::{Redis, Unavailable, script};
use crate::metrics::Operation;
use crate::policy::key::Key;

/// One cap of which a session needs a slot.
#[derive(Clone, Copy, Debug)]
pub struct RemoteSlot<'a> {
    /// The cap's name, the same on every gateway.
    pub cap: &'a Arc<str>,
    /// Whose it is; the same on every gateway: [`Key::of_ip`] and [`Key::shared`].
    pub key: Key,
    /// Slots that there are, over all gateways.
    pub limit: u64,
}

/// The answer to [`Redis::take`].
#[derive(Debug)]
#[must_use]
pub enum Taken {
    /// A slot of each, until what is given drops.
    Held(Held),
    /// The first cap without a slot; none was taken.
    Full {
        /// Its place among the slots.
        index: usize,
        /// The gateway that holds the oldest slot of that key, to be told with [`Redis::evict`]. Absent where the limit is
        /// below what this session alone would need.
        oldest: Option<Arc<str>>,
    },
}

/// Slots that are held. They are given back when this drops, without a wait: the keeper tells the server.
#[derive(Debug)]
#[must_use]
pub struct Held {
    redis: Redis,
    slots: Vec<(Place, u64)>,
}

impl Redis {
    /// Takes a slot of each cap, or none of any, as all gateways of the prefix that live count together.
    ///
    /// # Errors
    /// There is no answer, and nothing is held. Where a limit is not to refuse then, [`Redis::hold`] counts the session.
    pub async fn take(&self, slots: &[RemoteSlot<'_>]) -> Result<Taken, Unavailable> {
        if slots.is_empty() {
            return Ok(Taken::Held(Held { redis: self.clone(), slots: Vec::new() }));
        }
        if !self.0.table.lock().has_room(slots.len()) {
            self.0.counts.failed(Operation::Take, Unavailable::Busy);
            return Err(Unavailable::Busy);
        }
        // From here on they count as held, so that every statement that overtakes this one includes them. Whatever ends
        // this call, also that it is dropped, gives them back.
        let held = self.held(slots);
        let statements = held.state();
        let node = self.node();
        let mut call = script::TAKE.key(self.key(&["nodes"]));
        call.arg(&*node).arg(self.keep_ms());
        for (slot, statement) in slots.iter().zip(&statements) {
            call.key(self.key(&["cap", slot.cap, &slot.key.to_hex()]));
            call.arg(slot.limit).arg(statement.count).arg(statement.number);
            call.arg(u8::from(statement.known)).arg(statement.age_ms);
        }
        let asked = self.0.link.ask(Operation::Take, async |connection| call.invoke_async(connection).await).await;
        let (full, oldest, lost): (usize, String, u8) = asked?;
        if lost == 1 {
            self.forget();
        }
        match full.checked_sub(1) {
            None => {
                let mut table = self.0.table.lock();
                statements.iter().for_each(|statement| table.taken(statement));
                drop(table);
                Ok(Taken::Held(held))
            }
            Some(index) if index < slots.len() => {
                held.never(&statements);
                Ok(Taken::Full { index, oldest: Some(oldest).filter(|node| !node.is_empty()).map(Into::into) })
            }
            Some(_) => Err(self.0.link.misunderstood(Operation::Take)),
        }
    }

    /// Counts a session of each cap whatever the limits: one that is let in although there was no answer, or in the place
    /// of one that was told to end. Other gateways hear of it as soon as the server does.
    pub fn hold(&self, slots: &[RemoteSlot<'_>]) -> Held {
        let held = if self.0.table.lock().has_room(slots.len()) { self.held(slots) } else { self.held(&[]) };
        let mut table = self.0.table.lock();
        held.slots.iter().for_each(|(place, _)| table.touch(place));
        drop(table);
        self.0.dirty.notify_one();
        held
    }

    /// Asks the gateway `node`, which may be this one, to end its oldest session of that key: see [`super::Heard::Evict`].
    /// Whether it heard.
    ///
    /// # Errors
    /// There is no answer. It may have heard all the same.
    pub async fn evict(&self, node: &str, cap: &str, key: Key) -> Result<bool, Unavailable> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(self.key(&["node", node])).arg(format!("evict {} {cap}", key.to_hex()));
        self.command(Operation::Publish, &publish).await.map(|heard: u64| heard > 0)
    }

    /// Slots of shared caps that this gateway holds.
    #[must_use]
    pub fn slots_held(&self) -> usize {
        self.0.table.lock().held()
    }

    fn held(&self, slots: &[RemoteSlot<'_>]) -> Held {
        let now = self.0.clock.mono();
        let mut table = self.0.table.lock();
        let taken = slots.iter().map(|slot| {
            let place = (slot.cap.clone(), slot.key);
            let number = table.add(place.clone(), now);
            (place, number)
        });
        Held { redis: self.clone(), slots: taken.collect() }
    }
}

impl Held {
    fn state(&self) -> Vec<Statement> {
        let now = self.redis.0.clock.mono();
        let mut table = self.redis.0.table.lock();
        self.slots.iter().filter_map(|(place, _)| table.state(place, now)).collect()
    }

    /// The server did not take them. It has to be told only where a later statement included them.
    fn never(mut self, statements: &[Statement]) {
        let mut table = self.redis.0.table.lock();
        for ((place, slot), statement) in self.slots.drain(..).zip(statements) {
            let told = !table.is_last(statement);
            table.remove(&place, slot, told);
        }
        drop(table);
        self.redis.0.dirty.notify_one();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let mut table = self.redis.0.table.lock();
        for (place, slot) in &self.slots {
            table.remove(place, *slot, true);
        }
        drop(table);
        self.redis.0.dirty.notify_one();
    }
}
