//! What a route says of clients' certificates: whether it fits the route's tokens and what the listeners ask for.

use super::Findings;
use crate::config::{self, ClientCertificate, Config};
use crate::policy::certificate::Rule;

/// Whether some listener asks its clients for a certificate.
pub(super) fn are_asked_for(config: &Config) -> bool {
    config.listen.iter().any(|listen| listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some()))
}

/// Whether a route has a way to know who its clients are.
pub(super) fn has_identity(typed: &config::Route) -> bool {
    typed.jwt.is_some() || typed.client_certificate != ClientCertificate::Off
}

/// The rule of one route. `asked_for`: see [`are_asked_for`].
pub(super) fn rule(typed: &config::Route, at: &str, asked_for: bool, found: &mut Findings) -> Rule {
    let of_listener = "add `client_ca` to a listener's `tls`: the authorities that sign your clients' certificates";
    match typed.client_certificate {
        ClientCertificate::Required if !asked_for => {
            let message = "no listener asks for certificates, so nobody could connect";
            found.wrong(format!("{at}.client_certificate"), message, of_listener);
        }
        ClientCertificate::Optional if !asked_for => {
            let message = "no listener asks for certificates, so no client will have one";
            found.warn(format!("{at}.client_certificate"), message, of_listener);
        }
        ClientCertificate::Off | ClientCertificate::Optional | ClientCertificate::Required => {}
    }
    if typed.certificate_subject.is_some() {
        let at = format!("{at}.certificate_subject");
        if typed.client_certificate == ClientCertificate::Off {
            let help = "add `client_certificate = \"required\"`, or remove it";
            found.wrong(at, "the route looks at no certificate", help);
        } else if typed.jwt.is_some() {
            found.warn(at, "it has no effect: the subject is the token's `sub`", "remove it, or `jwt`");
        }
    }
    if typed.require_bound_token {
        let at = format!("{at}.require_bound_token");
        if typed.jwt.is_none() {
            found.wrong(&at, "without `jwt` there is no token", "add `jwt`, or remove it");
        }
        if typed.client_certificate != ClientCertificate::Required {
            let message = "a token is bound to a certificate, and the route does not require one";
            found.wrong(at, message, "add `client_certificate = \"required\"`");
        }
    }
    Rule { demand: typed.client_certificate, subject: typed.certificate_subject.unwrap_or_default() }
}
