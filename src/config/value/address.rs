//! Addresses and networks, each with a message that says how one is written.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::{Typed, typed_value};

/// Reads an IP address with a port. A host name is refused: what it stands for may change, and a listener may not.
pub fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    AddressText::deserialize(deserializer).map(|AddressText(address)| address)
}

/// Reads a list of networks, in which a bare address is the network of itself.
pub fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<NetworkText>::deserialize(deserializer)?;
    Ok(texts.into_iter().map(|NetworkText(network)| network).collect())
}

/// An address to listen on, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressText(SocketAddr);

impl FromStr for AddressText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("`{text}` is no address to listen on\nallowed: {}", Self::EXPECTED);
        text.parse().map(Self).map_err(wrong)
    }
}

impl Typed for AddressText {
    const EXPECTED: &'static str = "an IP address and a port, as \"0.0.0.0:8443\", \"[::]:8443\" or \"127.0.0.1:9100\"";
}

typed_value!(AddressText, types: "string", pattern: "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]+$",
    description: "An IP address and a port, as 0.0.0.0:8443 or [::]:8443. Port 0 takes a free one");

/// A network, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkText(IpNet);

impl FromStr for NetworkText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        let network: IpNet =
            text.parse().map_err(|_| format!("`{text}` is no network\nallowed: {}", Self::EXPECTED))?;
        // `10.1.2.3/8` may mean one address or sixteen million: whom to believe is not for guessing.
        if network.addr() != network.network() {
            let (whole, one) = (network.trunc(), network.addr());
            return Err(format!(
                "`{text}` has bits behind its prefix\n\"{whole}\" is the network, \"{one}\" the one address"
            ));
        }
        Ok(Self(network))
    }
}

impl Typed for NetworkText {
    const EXPECTED: &'static str = "a network or an address, as \"10.0.0.0/8\", \"192.0.2.7\" or \"fd00::/8\"";
}

typed_value!(NetworkText, types: "string", pattern: "^[0-9A-Fa-f.:]+(/[0-9]+)?$",
    description: "A network or an address, as 10.0.0.0/8, 192.0.2.7 or fd00::/8");

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Option<String> {
        text.parse().ok().map(|NetworkText(network)| network.to_string())
    }

    #[test]
    fn a_bare_address_is_its_own_network() {
        assert_eq!(network("192.0.2.7").as_deref(), Some("192.0.2.7/32"));
        assert_eq!(network("2001:db8::1").as_deref(), Some("2001:db8::1/128"));
        assert_eq!(network("10.0.0.0/8").as_deref(), Some("10.0.0.0/8"));
    }

    #[test]
    fn a_network_is_not_guessed() {
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "localhost", "fd00::1/8"] {
            assert_eq!(network(text), None, "{text}");
        }
    }
}
