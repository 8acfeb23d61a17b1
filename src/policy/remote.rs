//! The store that several gateways share, as `[redis]` says it, checked: where it is, and what its silence means.

use std::fmt;
use std::time::Duration;

pub use crate::config::OnError;

use super::target::Transport;

/// One store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where it is; with `sentinel`, where its Sentinels are. At least one.
    pub servers: Vec<Transport>,
    /// The name under which Sentinels know the master. Absent: the one server is asked itself.
    pub sentinel: Option<String>,
    /// The number of the database.
    pub database: i64,
    /// The ACL user; absent for the default one.
    pub username: Option<String>,
    /// What every key begins with, inside of braces.
    pub prefix: String,
    /// How long one call may take.
    pub timeout: Duration,
    /// What limits do while it does not answer.
    pub on_error: OnError,
}

/// For logs: where it is, and nothing else.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(master) = &self.sentinel {
            return write!(f, "{master}, as Sentinels say");
        }
        match self.servers.first() {
            Some(Transport::Tcp { host, port, tls }) => {
                let scheme = if *tls { "rediss" } else { "redis" };
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                write!(f, "{scheme}://{host}:{port}")
            }
            Some(Transport::Unix(path)) => write!(f, "unix:{}", path.display()),
            None => Ok(()),
        }
    }
}
