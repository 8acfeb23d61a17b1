//! Connections that carry ordinary requests: how many there are in all, and of one address.
//!
//! A connection has a place from its first request on until it ends, those that only wait for their next request too.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::Edition;
use crate::deny::Deny;
use crate::policy::Denial;
use crate::policy::cap::keyed::{Bound, Full};
use crate::policy::cap::{KeyedCap, KeyedPermit};
use crate::policy::key::Key;
use crate::policy::slots::busy;

/// The bounds, of one config.
#[derive(Clone, Copy, Debug)]
pub struct CarryingBounds {
    total: Bound,
    per_ip: Bound,
}

/// The counts, which outlive a config.
#[derive(Debug)]
pub struct Carrying {
    total: Arc<KeyedCap>,
    by_ip: Arc<KeyedCap>,
}

/// A connection's place.
#[derive(Debug)]
#[must_use]
pub struct Carries {
    _total: KeyedPermit,
    of_address: Option<KeyedPermit>,
}

impl CarryingBounds {
    /// So many in all, and of one address.
    #[must_use]
    pub fn new(total: usize, per_ip: usize) -> Self {
        let bound = |max| Bound { max, full: Full::Refuse, mark: None };
        Self { total: bound(total), per_ip: bound(per_ip) }
    }
}

impl Default for Carrying {
    fn default() -> Self {
        Self { total: KeyedCap::new(&[]), by_ip: KeyedCap::new(&[]) }
    }
}

impl Carrying {
    /// A place for a connection; a trusted proxy's is of no address, for it speaks for many.
    ///
    /// # Errors
    /// `total_cap` or `ip_cap`.
    pub fn take(&self, edition: &Edition, peer: IpAddr) -> Result<Carries, Denial> {
        let everybody = Key::of_ip(Ipv4Addr::UNSPECIFIED.into());
        let total = self.total.take(everybody, &edition.carrying.total, None);
        let total = total.ok_or(busy(Deny::TotalCap, "http_connections.total"))?;
        let of_address = if edition.policy.is_trusted_proxy(peer) { None } else { Some(self.share(edition, peer)?) };
        Ok(Carries { _total: total.permit, of_address })
    }

    /// One more of this address.
    ///
    /// # Errors
    /// `ip_cap`.
    pub fn share(&self, edition: &Edition, client: IpAddr) -> Result<KeyedPermit, Denial> {
        let taken = self.by_ip.take(Key::of_ip(client), &edition.carrying.per_ip, None);
        taken.map(|taken| taken.permit).ok_or(busy(Deny::IpCap, "http_connections.per_ip"))
    }

    /// How many connections there are.
    #[must_use]
    pub fn used(&self) -> usize {
        self.total.used()
    }

    /// How many places of addresses are taken.
    #[must_use]
    pub fn of_addresses(&self) -> usize {
        self.by_ip.used() + self.by_ip.keys()
    }
}

impl Carries {
    /// Whether it counts for the address of its other end.
    #[must_use]
    pub fn is_of_an_address(&self) -> bool {
        self.of_address.is_some()
    }
}
