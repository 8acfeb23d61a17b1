//! Addresses and networks, each with a message that says how one is written.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// Reads an IP address with a port. A host name is refused: what it stands for may change, and a listener may not.
pub fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is no address to listen on: an IP address and a port, \
             as \"0.0.0.0:8443\", \"[::]:8443\" or \"127.0.0.1:9100\""
        ))
    })
}

/// Reads a list of networks, in which a bare address is the network of itself.
pub fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<NetworkText>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|NetworkText(network)| network).collect())
}

struct NetworkText(IpNet);

// An element of its own, so that an error points at the element and not at the list.
impl<'de> Deserialize<'de> for NetworkText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_network(&text).map(Self).map_err(D::Error::custom)
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let network: IpNet = text
        .parse()
        .map_err(|_| format!("`{text}` is no network: as \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\""))?;
    // `10.1.2.3/8` may mean one address or sixteen million: whom to believe is not for guessing.
    if network.addr() != network.network() {
        return Err(format!(
            "`{text}` has bits behind its prefix: \"{}\" is the network, \"{}\" the one address",
            network.trunc(),
            network.addr()
        ));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_is_its_own_network() {
        assert_eq!(parse_network("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(parse_network("2001:db8::1").unwrap().to_string(), "2001:db8::1/128");
        assert_eq!(parse_network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_network_is_not_guessed() {
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "localhost", "fd00::1/8"] {
            assert!(parse_network(text).is_err(), "{text}");
        }
    }
}
