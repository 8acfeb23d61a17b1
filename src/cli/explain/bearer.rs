//! What can be said of a handshake's token. Whether it holds, the policy says.

use super::stages::Course;
use super::words::{self, span};
use super::{End, Request};
use crate::config::ClientCertificate;
use crate::deny::Deny;
use crate::now::Timestamp;
use crate::policy::identity::{self, Identity};
use crate::policy::route::{Route, TokenRule};
use crate::policy::token::source::Found;
use crate::policy::token::{self, Verifier};
use crate::policy::{Ask, Denial};

impl Course<'_> {
    /// What the route looks for, and what it finds; the end, where more can't be known here.
    pub(super) fn bearer(&mut self, route: &Route, ask: &Ask<'_>, request: &Request) -> Result<(), End> {
        self.step("token");
        if route.certificate.demand == ClientCertificate::Required {
            return Err(self.unknown("the route wants a client certificate, which can't be shown here"));
        }
        let Some(rule) = &route.token else {
            self.ok("the route asks for none");
            return Ok(());
        };
        let places: Vec<String> = rule.from.iter().map(words::place).collect();
        self.note(format!("looked for in {}", places.join(", ")));
        let found = token::source::find(&rule.from, ask.headers, request.uri.query());
        // None, or two that disagree: the policy says which.
        let Ok(Some(found)) = found else { return Ok(()) };
        let Some(verifier) = self.found(rule, &found) else { return Ok(()) };
        if let Some(published) = verifier.published() {
            self.note(format!("[jwt.{}] has its keys from {}", verifier.name(), published.location));
            return Err(self.unknown("the token's keys are published by their issuer, and nothing is fetched here"));
        }
        match identity::identify(route, ask, self.now) {
            Ok(identity) => self.holds(route, &identity, verifier),
            Err(denial) => self.fails(&denial, &found, verifier),
        }
        Ok(())
    }

    fn unknown(&mut self, why: &'static str) -> End {
        self.no(why);
        End::Unknown(why)
    }

    /// Where it stands, and who is to judge it.
    fn found<'r>(&mut self, rule: &'r TokenRule, found: &Found) -> Option<&'r Verifier> {
        self.ok(format!("found in {}", words::place(&found.from)));
        if let Some((alg, kid)) = token::unverified_header(&found.token) {
            let kid = kid.map_or("no `kid`".to_owned(), |kid| format!("the key `{}`", kid.escape_debug()));
            self.note(format!("it names the algorithm {} and {kid}", alg.escape_debug()));
        }
        identity::choose(&rule.verifiers, &found.token)
    }

    fn fails(&mut self, denial: &Denial, found: &Found, verifier: &Verifier) {
        // All else of it holds, or it would have another reason.
        let end = token::unverified_end(&found.token).filter(|_| denial.deny == Deny::TokenExpired);
        if let Some(end) = end {
            let ago = span(self.now.wall.saturating_sub(end));
            self.note(format!("exp {} was {ago} ago; leeway {}", Timestamp(end), span(verifier.leeway())));
        }
    }

    fn holds(&mut self, route: &Route, identity: &Identity, verifier: &Verifier) {
        let key = match verifier.key_count() {
            1 => "its one key".to_owned(),
            several => format!("one of its {several} keys"),
        };
        self.ok(format!("it holds by [jwt.{}] and {key}: signature, iss, aud, times", verifier.name()));
        let leeway = verifier.leeway();
        match identity.expires {
            None => self.ok("it has no exp, and needs none"),
            Some(end) => {
                let (exp, left) = (end.saturating_sub(leeway), end.saturating_sub(self.now.wall));
                self.ok(format!("exp {}; with the leeway of {}, for {} yet", Timestamp(exp), span(leeway), span(left)));
            }
        }
        match &identity.subject {
            Some(subject) => self.note(format!("subject `{}`", subject.escape_debug())),
            None => self.note("it has no subject"),
        }
        let captures = self.found.captures.clone();
        for (claim, holds) in route.require.each(&identity.claims, |name| captures.get(name)) {
            match holds {
                Ok(()) => self.ok(format!("require `{claim}` holds")),
                Err(_) => self.no(format!("require `{claim}` does not hold")),
            }
        }
    }
}
