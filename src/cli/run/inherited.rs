//! Listening sockets that a service manager opened (sd_listen_fds(3)): LISTEN_FDS, LISTEN_FDNAMES.

use std::env;

use listenfd::ListenFd;

use crate::gateway::Sockets;
use crate::handover::{Offer, check};
use crate::load::Loaded;

/// What was inherited; mostly nothing. To be called before there is a second thread, for the variables are taken away.
pub(super) fn offers() -> Result<Vec<Offer>, String> {
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut inherited = ListenFd::from_env();
    let mut offers: Vec<Offer> = Vec::new();
    for index in 0..inherited.len() {
        let name = names.get(index).copied().filter(|name| !name.is_empty());
        let wrong = |error| format!("socket {index} of LISTEN_FDS ({}): {error}", name.unwrap_or("without a name"));
        let Some(socket) = inherited.take_tcp_listener(index).map_err(wrong)? else { continue };
        let address = check(&socket).map_err(wrong)?;
        match offers.iter_mut().find(|offer| offer.address == address) {
            // Several with SO_REUSEPORT.
            Some(known) => known.sockets.push(socket),
            None => offers.push(Offer { address, name: name.map(str::to_owned), sockets: vec![socket] }),
        }
    }
    Ok(offers)
}

/// Takes what was inherited, and binds the rest. Every socket has to be of use: one that nobody accepts from would keep its
/// clients waiting for ever.
pub(super) fn claim(loaded: &Loaded, offers: Vec<Offer>) -> Result<Sockets, String> {
    let (sockets, left) = Sockets::claim(loaded, offers).map_err(|error| error.to_string())?;
    let Some(offer) = left.first() else { return Ok(sockets) };
    let name = offer.name.as_deref().unwrap_or("without a name");
    Err(format!(
        "the service manager hands over a socket on {} ({name}), and nothing in the config is on that address: name it as \
         `address` of a [[listen]] or of [admin], or the socket's name as `socket` of a [[listen]]",
        offer.address
    ))
}
