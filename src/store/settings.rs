//! All that a store needs to begin with: the config's word, the password, and how often it does what.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::breaker::BackOff;
use crate::material::RedisMaterial;
use crate::policy::remote::Remote;
use crate::policy::target::Transport;
use crate::tls;

/// How a store is reached, and as whom.
#[derive(Clone)]
pub struct Settings {
    /// As the config says.
    pub remote: Remote,
    /// The user's password.
    pub password: Option<String>,
    /// TLS, where a server is named by `rediss://`.
    pub tls: Option<Arc<ClientConfig>>,
    /// Channels to listen to, without the prefix.
    pub channels: Vec<String>,
    /// How often it does what. The default outside of tests.
    pub pace: Pace,
}

/// How often the keeper does what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between two signs of life.
    pub heartbeat: Duration,
    /// For how long a sign of life counts: so long the slots of a gateway that was killed are missed.
    pub ttl: Duration,
    /// Between two times that all slots are written anew.
    pub rewrite: Duration,
    /// How long connecting may take, TLS and the first commands included.
    pub connect: Duration,
    /// Between two tries to connect.
    pub back_off: BackOff,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            ttl: Duration::from_secs(15),
            rewrite: Duration::from_secs(30),
            connect: Duration::from_secs(2),
            back_off: BackOff { first_ms: 200, most_ms: 5000 },
        }
    }
}

impl Settings {
    /// Those of a config.
    ///
    /// # Errors
    /// TLS without any authority to trust.
    pub fn new(remote: Remote, material: &RedisMaterial) -> Result<Self, String> {
        let speaks_tls = remote.servers.iter().any(|server| matches!(server, Transport::Tcp { tls: true, .. }));
        let tls = speaks_tls.then(|| tls::client_config(material.authorities.as_deref(), None)).transpose()?;
        // That it is text was looked at when it was read.
        let password = material.password.as_ref().map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        Ok(Self { remote, password, tls, channels: Vec::new(), pace: Pace::default() })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("remote", &self.remote).finish_non_exhaustive()
    }
}
