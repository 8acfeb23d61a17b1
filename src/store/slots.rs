//! Slots of caps that several gateways share: taken by a call, given back by a drop.

use std::sync::Arc;

use super::table::Place;
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
    /// Takes a slot of each cap, or none of any, as all gateways of the prefix that live count together. Each cap stands
    /// there once. Dropped before it answers, it gives back whatever it took.
    ///
    /// # Errors
    /// There is no answer, and nothing is held. Where a limit is not to refuse then, [`Redis::hold`] counts the session.
    pub async fn take(&self, slots: &[RemoteSlot<'_>]) -> Result<Taken, Unavailable> {
        if slots.is_empty() {
            return Ok(Taken::Held(Held { redis: self.clone(), slots: Vec::new() }));
        }
        let mut call = script::TAKE.key(self.key(&["nodes"]));
        call.arg(&*self.node()).arg(self.keep_ms());
        let mut asking = Asking { redis: self.clone(), places: Vec::new() };
        for slot in slots {
            let Some((had, age_ms)) = asking.begin((slot.cap.clone(), slot.key)) else {
                self.0.counts.failed(Operation::Take, Unavailable::Busy);
                return Err(Unavailable::Busy);
            };
            call.key(self.key(&["cap", slot.cap, &slot.key.to_hex()]));
            call.arg(slot.limit).arg(had).arg(age_ms);
        }
        let answer = self.script(Operation::Take, &call).await;
        // What was put to nobody is in no doubt: to remember it would cost memory for each key that somebody makes up.
        if let Err(why @ (Unavailable::Open | Unavailable::Busy)) = answer {
            asking.refused();
            return Err(why);
        }
        let (full, oldest, lost, versions): (usize, String, u8, Vec<u64>) = answer?;
        if lost == 1 {
            self.forget();
        }
        match full.checked_sub(1) {
            None if versions.len() == slots.len() => Ok(Taken::Held(asking.took(&versions))),
            Some(index) if index < slots.len() => {
                asking.refused();
                Ok(Taken::Full { index, oldest: Some(oldest).filter(|node| !node.is_empty()).map(Into::into) })
            }
            _ => Err(self.0.link.misunderstood(Operation::Take)),
        }
    }

    /// Counts a session of each cap whatever the limits: one that is let in although there was no answer, or in the place
    /// of one that was told to end. Other gateways hear of it as soon as the server does.
    pub fn hold(&self, slots: &[RemoteSlot<'_>]) -> Held {
        let now = self.0.clock.mono();
        let mut table = self.0.table.lock();
        let held = slots.iter().filter_map(|slot| {
            let place = (slot.cap.clone(), slot.key);
            let number = table.add(&place, now)?;
            Some((place, number))
        });
        let slots = held.collect();
        drop(table);
        self.0.dirty.notify_one();
        Held { redis: self.clone(), slots }
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

    /// Whether a node that [`Redis::take`] named is this gateway.
    #[must_use]
    pub fn is_here(&self, node: &str) -> bool {
        *self.node() == *node
    }

    /// Slots of shared caps that this gateway holds.
    #[must_use]
    pub fn slots_held(&self) -> usize {
        self.0.table.lock().held()
    }
}

/// A take under way. Dropped without an answer, it is in doubt.
struct Asking {
    redis: Redis,
    places: Vec<Place>,
}

impl Asking {
    fn begin(&mut self, place: Place) -> Option<(u64, u64)> {
        let now = self.redis.0.clock.mono();
        let begun = self.redis.0.table.lock().ask(&place, now)?;
        self.places.push(place);
        Some(begun)
    }

    fn took(mut self, versions: &[u64]) -> Held {
        let now = self.redis.0.clock.mono();
        let mut table = self.redis.0.table.lock();
        let took = |(place, version): (Place, &u64)| {
            let slot = table.took(&place, *version, now);
            (place, slot)
        };
        let slots = self.places.drain(..).zip(versions).map(took).collect();
        drop(table);
        Held { redis: self.redis.clone(), slots }
    }

    fn refused(mut self) {
        let mut table = self.redis.0.table.lock();
        self.places.drain(..).for_each(|place| table.refused(&place));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.places.is_empty() {
            return;
        }
        let mut table = self.redis.0.table.lock();
        self.places.iter().for_each(|place| table.unanswered(place));
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
        self.slots.iter().for_each(|(place, slot)| table.remove(place, *slot));
        drop(table);
        self.redis.0.dirty.notify_one();
    }
}
