//! The operator's listener never stands open: beyond loopback it asks for a token, and does not hand it to the wire.

use super::Findings;
use crate::config::Admin;

pub(super) fn check(admin: &Admin, found: &mut Findings) {
    let address = admin.address;
    if address.ip().to_canonical().is_loopback() {
        if admin.insecure && admin.tls.is_none() {
            let message = format!("{address} is reached from this machine alone, and needs no leave to be plain");
            found.warn("admin.insecure", message, "leave it out: it would hold for another address too");
        }
        return;
    }
    if admin.token.is_none() {
        let message = format!("{address} can be reached from other machines, and nobody is asked who they are");
        let help =
            "set `token = \"env:ADMIN_TOKEN\"` (`openssl rand -hex 32` makes a good one), or keep it on 127.0.0.1";
        found.wrong("admin.address", message, help);
    }
    match (&admin.tls, admin.insecure) {
        (None, false) => {
            let message = format!("without `tls` the token, subjects and addresses leave {address} in the clear");
            let help = "set `tls = { certificate = \"..\", key = \"..\" }`, or keep it on 127.0.0.1 and reach it through \
                        ssh; where something else protects the network, as a mesh does, say `insecure = true`";
            found.wrong("admin.address", message, help);
        }
        (Some(_), true) => {
            let help = "keep one: `insecure` is for an address without TLS";
            found.wrong("admin.insecure", "`insecure` stands beside `tls`", help);
        }
        (None, true) | (Some(_), false) => {}
    }
}
