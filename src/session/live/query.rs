//! Which live sessions somebody wants to see, and in which order.

use std::cmp::Ordering::Equal;
use std::sync::Arc;

use ipnet::IpNet;

use super::Live;
use crate::deny::Direction;

/// Which sessions to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// At most so many.
    pub limit: usize,
    /// So many of the first are passed over.
    pub offset: usize,
    /// Of this route alone.
    pub route: Option<String>,
    /// Of this subject alone.
    pub subject: Option<String>,
    /// From this address or network alone.
    pub client: Option<IpNet>,
    /// With this text in the id, the route, the subject or the address; in lower case.
    pub search: Option<String>,
    /// By what they are sorted.
    pub sort: Sort,
    /// The largest first.
    pub descending: bool,
}

/// By what sessions are sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Sort {
    #[default]
    Since,
    Subject,
    Client,
    Route,
    Messages(Direction),
    Bytes(Direction),
}

impl Sort {
    /// All, by the names of the list's fields.
    pub const ALL: [(&str, Self); 8] = [
        ("since", Self::Since),
        ("subject", Self::Subject),
        ("client", Self::Client),
        ("route", Self::Route),
        ("messages_to_upstream", Self::Messages(Direction::ToUpstream)),
        ("messages_to_client", Self::Messages(Direction::ToClient)),
        ("bytes_to_upstream", Self::Bytes(Direction::ToUpstream)),
        ("bytes_to_client", Self::Bytes(Direction::ToClient)),
    ];

    /// Sorts, the smallest first; those that are equal by their age.
    fn order(self, lives: &mut [Arc<Live>]) {
        // Counters go on while this sorts: each is read once, or the order would contradict itself.
        match self {
            Self::Since => lives.sort_unstable_by_key(|live| live.id),
            Self::Subject => lives.sort_unstable_by(|a, b| by_age(a.holder.subject.cmp(&b.holder.subject), a, b)),
            Self::Client => lives.sort_unstable_by_key(|live| (live.client.to_canonical(), live.id)),
            Self::Route => lives.sort_unstable_by(|a, b| by_age(a.route.cmp(&b.route), a, b)),
            Self::Messages(direction) => {
                lives.sort_by_cached_key(|live| (live.messages[direction.index()].get(), live.id));
            }
            Self::Bytes(direction) => lives.sort_by_cached_key(|live| (live.bytes[direction.index()].get(), live.id)),
        }
    }
}

fn by_age(order: std::cmp::Ordering, a: &Live, b: &Live) -> std::cmp::Ordering {
    if order == Equal { a.id.cmp(&b.id) } else { order }
}

impl Query {
    /// The first so many of all, the oldest first.
    #[must_use]
    pub fn first(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Takes out of all those that are asked for, in their order; and how many there are without `limit` and `offset`.
    pub(super) fn choose(&self, mut lives: Vec<Arc<Live>>) -> (Vec<Arc<Live>>, usize) {
        lives.retain(|live| self.wants(live));
        let total = lives.len();
        self.sort.order(&mut lives);
        if self.descending {
            lives.reverse();
        }
        lives.drain(..self.offset.min(total));
        lives.truncate(self.limit);
        (lives, total)
    }

    fn wants(&self, live: &Live) -> bool {
        let client = live.client.to_canonical();
        self.route.as_deref().is_none_or(|route| *live.route == *route)
            && self.subject.as_deref().is_none_or(|subject| live.holder.subject.as_deref() == Some(subject))
            && self.client.is_none_or(|network| network.contains(&client))
            && self.search.as_deref().is_none_or(|text| {
                let holds = |value: &str| value.to_lowercase().contains(text);
                live.holder.subject.as_deref().is_some_and(holds)
                    || holds(&live.route)
                    || client.to_string().contains(text)
                    || live.id.to_string().contains(text)
            })
    }
}
