//! The listening sockets of a gateway: bound by itself, or opened by somebody else and matched to what its config says.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};

use super::bind::{bind, named};
use crate::handover::Offer;
use crate::load::Loaded;

/// What one worker accepts from: each socket with its listener's number.
pub(super) type Dealt = Vec<(usize, StdListener)>;

/// All of them, before there is a thread for any.
pub struct Sockets {
    /// In the order of the file.
    listen: Vec<Offer>,
    admin: Option<Offer>,
}

impl Sockets {
    /// Binds what the config says.
    ///
    /// # Errors
    /// An address that can't be bound, named.
    pub fn bind(loaded: &Loaded) -> io::Result<Self> {
        Self::claim(loaded, Vec::new()).map(|(sockets, _)| sockets)
    }

    /// Takes of these sockets those that the config says, by name or else by address, and binds the others. What nobody
    /// wants is given back.
    ///
    /// # Errors
    /// An address that can't be bound, named; a socket that was to be there by its name, and is not.
    pub fn claim(loaded: &Loaded, offers: Vec<Offer>) -> io::Result<(Self, Vec<Offer>)> {
        let mut offers = VecDeque::from(offers);
        let any = !offers.is_empty();
        let mut listen = Vec::new();
        for (index, wanted) in loaded.listen.iter().enumerate() {
            let found = take(&mut offers, wanted.address, wanted.socket.as_deref());
            if let (None, Some(name), true) = (&found, &wanted.socket, any) {
                let message = format!("listen[{index}].socket: no socket called `{name}` was handed over");
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
            listen.push(match found {
                Some(offer) => offer,
                None => open(&format!("listen[{index}]"), wanted.address, loaded.workers(), wanted.socket.clone())?,
            });
        }
        let admin = match loaded.admin {
            Some(address) => Some(match take(&mut offers, address, None) {
                Some(offer) => offer,
                None => open("admin", address, 1, None)?,
            }),
            None => None,
        };
        Ok((Self { listen, admin }, offers.into()))
    }

    /// Where clients connect.
    pub(super) fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listen.iter().map(address).collect()
    }

    /// Where the operator looks.
    pub(super) fn admin_address(&self) -> io::Result<Option<SocketAddr>> {
        self.admin.as_ref().map(address).transpose()
    }

    /// The sockets for the operator's pages, and those for clients by worker.
    pub(super) fn share_out(&self, workers: usize) -> io::Result<(Vec<StdListener>, Vec<Dealt>)> {
        let mut by_worker: Vec<Dealt> = (0..workers).map(|_| Vec::new()).collect();
        for (listener, offer) in self.listen.iter().enumerate() {
            for (worker, socket) in deal(offer.sockets.len(), workers) {
                by_worker[worker].push((listener, offer.sockets[socket].try_clone()?));
            }
        }
        let admin = self.admin.iter().flat_map(|offer| &offer.sockets).map(StdListener::try_clone);
        Ok((admin.collect::<io::Result<_>>()?, by_worker))
    }

    /// All of them, to be handed over.
    pub(super) fn into_offers(self) -> Vec<Offer> {
        self.listen.into_iter().chain(self.admin).collect()
    }
}

/// Which worker accepts from which socket: each worker from one at least, and each socket is accepted from. Where there are
/// as many, as where the gateway bound them itself, each worker has its own.
fn deal(sockets: usize, workers: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..sockets.max(workers)).map(move |turn| (turn % workers, turn % sockets))
}

/// The offer of this name; where none is wanted by name, the first of this address.
fn take(offers: &mut VecDeque<Offer>, address: SocketAddr, name: Option<&str>) -> Option<Offer> {
    let is_meant = |offer: &Offer| match name {
        Some(name) => offer.name.as_deref() == Some(name),
        None => offer.address == address,
    };
    let at = offers.iter().position(is_meant)?;
    offers.remove(at)
}

fn open(key: &str, address: SocketAddr, workers: usize, name: Option<String>) -> io::Result<Offer> {
    let sockets = bind(address, workers).map_err(named(key, address))?;
    Ok(Offer { address, name, sockets })
}

fn address(offer: &Offer) -> io::Result<SocketAddr> {
    // Neither `bind` nor who hands sockets over makes an offer of none.
    offer.sockets.first().ok_or_else(|| io::Error::other("no socket"))?.local_addr()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_worker_has_a_socket_and_every_socket_a_worker(sockets in 1..40_usize, workers in 1..40_usize) {
            let dealt: Vec<_> = deal(sockets, workers).collect();
            let seen = |side: fn(&(usize, usize)) -> usize| dealt.iter().map(side).collect::<BTreeSet<_>>().len();
            prop_assert_eq!((seen(|pair| pair.0), seen(|pair| pair.1)), (workers, sockets));
            prop_assert_eq!(dealt.len(), sockets.max(workers), "no more than that");
        }
    }

    fn offer(port: u16, name: Option<&str>) -> Offer {
        let sockets = vec![StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()];
        Offer { address: (Ipv4Addr::LOCALHOST, port).into(), name: name.map(str::to_owned), sockets }
    }

    #[test]
    fn sockets_are_found_by_name_or_else_by_address_in_their_order() {
        let mut offers = VecDeque::from([offer(1, Some("web")), offer(2, None), offer(2, None)]);
        let second = offers[1].sockets[0].local_addr().unwrap();
        let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert!(take(&mut offers, address(1), Some("other")).is_none(), "a name is a name");
        assert!(take(&mut offers, address(3), None).is_none());
        assert_eq!(take(&mut offers, address(2), None).unwrap().sockets[0].local_addr().unwrap(), second);
        assert!(take(&mut offers, address(9), Some("web")).is_some(), "wherever it listens");
        assert!(take(&mut offers, address(2), None).is_some());
        assert!(offers.is_empty());
    }
}
