//! The servers of one upstream: who gets the next handshake, who is left out and until when, who is full, who is drained.
//!
//! Pure: whoever holds a [`Pool`] says what happened and when. In this order of preference: servers that are well, then
//! `backup` ones that are, and if none is thought to be well at all, every one that is not drained. For a check may be
//! wrong, and a handshake that is refused unasked gains nothing: that is what Envoy calls panic.

pub mod choose;
pub mod ejection;
pub mod health;
pub mod settings;

use std::sync::Arc;

use serde::Serialize;

use super::key::Key;
use crate::config::Balance;
use crate::config::value::ServerAddress;
use choose::Candidate;
use ejection::Ejection;
use health::Health;
use settings::{MOST, Server, Upstream};

/// Names one server of one pool for as long as the process lives.
pub type Id = u32;

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It gets handshakes, or the next one to see whether it is well again.
    Up,
    /// Its checks fail.
    Down,
    /// Its handshakes failed.
    Ejected,
    /// An operator takes it out.
    Drained,
    /// It is no longer among the upstream's servers, and has sessions still.
    Gone,
}

/// One server, and what is known of it.
#[derive(Debug)]
pub struct Member {
    /// Its name in this pool.
    pub id: Id,
    /// Where it is, and on which terms.
    pub server: Server,
    /// Sessions that it has, handshakes under way included.
    pub in_use: usize,
    /// Whether an operator takes it out.
    pub drained: bool,
    seed: u64,
    gone: bool,
    health: Health,
    ejection: Ejection,
    /// When it came back, for its slow start; none of a server that was there from the first.
    since: Option<u64>,
}

/// Who got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picked {
    /// Which server.
    pub id: Id,
    /// It is sent although the server is not thought to be well: to see.
    pub trial: bool,
    /// Since none is.
    pub panic: bool,
}

/// Why nobody got it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nobody {
    /// Those that could have it have all the sessions they may.
    Full,
    /// There is no other server, or an operator takes them all out.
    Left,
}

/// What came and went by [`Pool::sync`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New ones.
    pub came: Vec<Id>,
    /// Those that nothing is left of. One that has sessions still stays until the last is over.
    pub went: Vec<Id>,
}

/// The servers of one upstream.
#[derive(Debug, Default)]
pub struct Pool {
    members: Vec<Member>,
    /// What each has by the round robin, in the order of `members`.
    current: Vec<i64>,
    next: Id,
    /// Addresses that are drained and no server's for now: whoever comes back under one is drained still.
    drained: Vec<ServerAddress>,
}

impl Pool {
    /// All of them.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Takes over what the servers are now. Who was there keeps what is known of it.
    pub fn sync(&mut self, servers: &[Server], now: u64) -> Change {
        let mut change = Change::default();
        let first = self.members.is_empty();
        for member in &mut self.members {
            let stays = servers.iter().find(|server| server.address == member.server.address);
            match stays {
                Some(server) => {
                    if std::mem::take(&mut member.gone) {
                        member.since = Some(now);
                    }
                    member.server = server.clone();
                }
                None => member.gone = true,
            }
        }
        for server in servers {
            if self.members.iter().all(|member| member.server.address != server.address) {
                change.came.push(self.next);
                let mut member = Member::new(self.next, server.clone(), (!first).then_some(now));
                if let Some(at) = self.drained.iter().position(|address| *address == server.address) {
                    self.drained.remove(at);
                    member.drained = true;
                }
                self.members.push(member);
                self.current.push(0);
                self.next += 1;
            }
        }
        let over: Vec<Id> = self.members.iter().filter(|member| member.is_over()).map(|member| member.id).collect();
        for id in over {
            self.remove(id);
            change.went.push(id);
        }
        change
    }

    /// Gives a handshake to one of the servers, other than those in `tried`.
    ///
    /// # Errors
    /// Why there is none for it.
    pub fn pick(&mut self, upstream: &Upstream, key: Option<Key>, tried: &[Id], now: u64) -> Result<Picked, Nobody> {
        let may = |member: &Member| member.is_there() && !tried.contains(&member.id);
        let (mut best, mut backup, mut rest, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut full = false;
        for (at, member) in self.members.iter().enumerate().filter(|(_, member)| may(member)) {
            let is_well = member.is_well(now);
            if member.is_full() {
                full = true;
                continue;
            }
            let of_its_kind = match (is_well, member.server.backup) {
                (true, false) => &mut best,
                (true, true) => &mut backup,
                (false, false) => &mut rest,
                (false, true) => &mut last,
            };
            of_its_kind.push(member.candidate(at, upstream.slow_start, now));
        }
        let well_but_full = full && self.members.iter().any(|member| may(member) && member.is_well(now));
        let (candidates, ill) = match (best, backup, rest, last) {
            (best, ..) if !best.is_empty() => (best, false),
            (_, backup, ..) if !backup.is_empty() => (backup, false),
            _ if well_but_full => return Err(Nobody::Full),
            (_, _, rest, _) if !rest.is_empty() => (rest, true),
            (.., last) if !last.is_empty() => (last, true),
            _ => return Err(if full { Nobody::Full } else { Nobody::Left }),
        };
        // Where the only ones that are well were tried already, one more is tried, and nothing is said of the rest.
        let panic = ill && !self.members.iter().any(|member| member.is_there() && member.is_well(now));
        let chosen = match (upstream.balance, key) {
            (Balance::Hash, Some(key)) => choose::by_key(&candidates, key),
            (Balance::LeastConnections, _) => choose::least(&candidates, &mut self.current),
            // Who has nothing that could be hashed takes his turn.
            (Balance::RoundRobin, _) | (Balance::Hash, None) => choose::in_turn(&candidates, &mut self.current),
        };
        let member = &mut self.members[chosen.ok_or(Nobody::Left)?];
        member.in_use += 1;
        let on_trial = member.ejection.standing(now) == ejection::Standing::Trial;
        if on_trial {
            member.ejection.begin_trial();
        }
        Ok(Picked { id: member.id, trial: on_trial || ill, panic })
    }

    /// One session of it less. True: nothing is left of it.
    pub fn release(&mut self, id: Id) -> bool {
        let Some(member) = self.member(id) else { return false };
        member.in_use = member.in_use.saturating_sub(1);
        let over = member.is_over();
        if over {
            self.remove(id);
        }
        over
    }

    /// A handshake went well. True: by that its server is back.
    pub fn succeeded(&mut self, id: Id, trial: bool, now: u64) -> bool {
        let Some(member) = self.member(id) else { return false };
        let back = member.ejection.succeed(now, trial);
        if back {
            member.since = Some(now);
        }
        back
    }

    /// A handshake failed by its server's fault. Present: for how long the server is left out. The last one that is well is
    /// not, whatever it does.
    pub fn failed(&mut self, id: Id, upstream: &Upstream, now: u64, chance: u64) -> Option<u64> {
        let well = |member: &Member| member.is_there() && member.is_well(now);
        let others = self.members.iter().any(|member| member.id != id && well(member));
        self.member(id)?.ejection.fail(upstream.ejection, now, chance, others)
    }

    /// A handshake came to nothing that says anything of its server.
    pub fn abandoned(&mut self, id: Id, trial: bool) {
        if let Some(member) = self.member(id).filter(|_| trial) {
            member.ejection.end_trial();
        }
    }

    /// A check is over. Present: whether its server is up from now on, which it was not; or the other way round.
    pub fn checked(&mut self, id: Id, good: bool, terms: health::Terms, now: u64) -> Option<bool> {
        let member = self.member(id)?;
        // Where a time out is over, a good check saves a client from being the one who sees.
        let may_return = good && member.ejection.standing(now) == ejection::Standing::Trial;
        let turned = member.health.check(good, terms).or((may_return && member.health.is_up()).then_some(true))?;
        if turned {
            // So many good checks say more than what failed before it was down.
            member.ejection.readmit(now);
            member.since = Some(now);
        }
        Some(turned)
    }

    /// Forgets what checks said, where there are none any more.
    pub fn forget_checks(&mut self) {
        self.members.iter_mut().for_each(|member| member.health = Health::default());
    }

    /// Takes a server out, or lets it in again. False: there is none, or it was so already.
    pub fn drain(&mut self, id: Id, drained: bool, now: u64) -> bool {
        let Some(member) = self.member(id).filter(|member| member.drained != drained) else { return false };
        member.drained = drained;
        if !drained {
            member.since = Some(now);
        }
        true
    }

    fn member(&mut self, id: Id) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn remove(&mut self, id: Id) {
        if let Some(at) = self.members.iter().position(|member| member.id == id) {
            let member = self.members.remove(at);
            self.current.remove(at);
            if member.drained {
                // The oldest goes where addresses come and go without an end.
                if self.drained.len() >= MOST {
                    self.drained.remove(0);
                }
                self.drained.push(member.server.address);
            }
        }
    }
}

impl Member {
    fn new(id: Id, server: Server, since: Option<u64>) -> Self {
        let seed = Key::shared(server.address.to_string().as_bytes()).mixed(0);
        let (health, ejection) = (Health::default(), Ejection::default());
        Self { id, server, in_use: 0, drained: false, seed, gone: false, health, ejection, since }
    }

    /// How it is.
    #[must_use]
    pub fn state(&self, now: u64) -> State {
        if self.gone {
            State::Gone
        } else if self.drained {
            State::Drained
        } else if !self.health.is_up() {
            State::Down
        } else if self.ejection.standing(now) == ejection::Standing::Out {
            State::Ejected
        } else {
            State::Up
        }
    }

    /// Whether it is to get handshakes at all.
    fn is_there(&self) -> bool {
        !self.gone && !self.drained
    }

    fn is_well(&self, now: u64) -> bool {
        self.health.is_up() && self.ejection.standing(now) != ejection::Standing::Out
    }

    fn is_full(&self) -> bool {
        self.server.max_connections.is_some_and(|most| self.in_use >= most)
    }

    fn is_over(&self) -> bool {
        self.gone && self.in_use == 0
    }

    fn candidate(&self, at: usize, slow_start: u64, now: u64) -> Candidate {
        let share = choose::share(self.server.weight, self.since, slow_start, now);
        Candidate { at, share, in_use: self.in_use, seed: self.seed }
    }

    /// Its address, as logs and metrics name it.
    #[must_use]
    pub fn label(&self) -> Arc<str> {
        self.server.address.to_string().into()
    }
}

#[cfg(test)]
mod tests;
