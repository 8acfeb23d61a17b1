//! The demo's config, as an operator would write it: limits so tight that they can be felt.

use std::net::SocketAddr;

use super::setup::{MAX_MESSAGE_SIZE, ROUTES};

/// Who listens where; port 0 is any free one.
pub(super) struct Addresses {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) page: SocketAddr,
    pub(super) upstream: SocketAddr,
}

/// The whole file. The paths in it are those of [`Folder`](super::folder::Folder).
pub(super) fn text(at: &Addresses) -> String {
    let head = format!(
        r#"# What `wsgate demo` runs, with limits so tight that they can be felt.

[server]
workers = 1
drain_timeout = "1s"

[access_log]
format = "text"

[[listen]]
address = "{plain}"

[[listen]]
address = "{tls}"
tls = {{ certificate = "certificate.pem", key = "key.pem" }}

[admin]
address = "{admin}"

[jwt.demo]
algorithms = ["HS256"]
secret = "file:secret"
leeway = "1s"
"#,
        plain = at.plain,
        tls = at.tls,
        admin = at.admin,
    );
    ROUTES.iter().fold(head, |text, (path, on_excess, deny)| text + &route(at, path, on_excess, deny))
}

fn route(at: &Addresses, path: &str, on_excess: &str, deny: &str) -> String {
    // Where all that is beyond the rate waits, a burst says nothing.
    let burst = if on_excess == "delay" { "" } else { "burst = 10, " };
    format!(
        r#"
[[route]]
path = "{path}"
exact = true
upstream = "http://{upstream}"
jwt = "demo"
token_from = ["header", "subprotocol"]      # a browser's script can set no header
origins = ["http://{page}"]
allow_missing_origin = true                 # clients that are no browsers send none
deny = "{deny}"                               # "http": a script sees 1006; "close": code and reason
handshakes = {{ rate = "2r/s", burst = 5, nodelay = true }}
messages = {{ rate = "5r/s", {burst}on_excess = "{on_excess}" }}
connections = {{ total = 20, per_ip = 10, per_subject = 3 }}
max_message_size = "{size}k"
close_timeout = "1s"
"#,
        upstream = at.upstream,
        page = at.page,
        size = MAX_MESSAGE_SIZE / 1024,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::folder::Folder;
    use crate::cli::demo::loopback;
    use crate::load;
    use crate::now::Clock;

    #[test]
    fn it_loads_like_any_other_and_leaves_nothing_to_warn_of() {
        let at = Addresses {
            plain: loopback(0),
            tls: loopback(0),
            admin: loopback(0),
            page: loopback(8000),
            upstream: loopback(9),
        };
        let folder = Folder::make(Clock::system().now()).unwrap();
        let loaded = load::text(&text(&at), "demo.toml", folder.path(), &|_| None).unwrap();
        assert!(loaded.warnings.problems().is_empty(), "{}", loaded.warnings);
        assert_eq!((loaded.policy.routes.len(), loaded.listen.len()), (ROUTES.len(), 2));
    }
}
