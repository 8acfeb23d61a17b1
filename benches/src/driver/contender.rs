//! The proxies that are compared: how each is configured and started.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use super::process::{Program, Running};
use super::turn::Site;
use super::{Options, tools};
use crate::Result;

/// A program that can stand between client and backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The relay that looks at nothing.
    Floor,
    /// Debian's nginx.
    Nginx,
    /// Debian's HAProxy, where it is installed.
    Haproxy,
    /// The gateway.
    Wsgate,
}

/// One row of the report: a program, reached plain or over TLS.
#[derive(Clone, Debug)]
pub struct Contender {
    kind: Kind,
    program: PathBuf,
    tls: bool,
}

/// A proxy that accepts.
pub(crate) struct Proxy {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

/// Those that are asked for and there: all of them plain, then all but the floor over TLS.
///
/// # Errors
/// When one that was asked for by name is not there; nginx always is, as it can be downloaded.
pub(crate) fn choose(options: &Options) -> Result<Vec<Contender>> {
    let mut plain = Vec::new();
    for kind in [Kind::Floor, Kind::Nginx, Kind::Haproxy, Kind::Wsgate] {
        let asked = options.only.contains(&kind);
        if !asked && !options.only.is_empty() {
            continue;
        }
        let program = match kind {
            Kind::Floor => Some(options.programs.join("floor")),
            Kind::Nginx => Some(tools::find("nginx").map_or_else(|| tools::download_nginx(&options.downloads), Ok)?),
            Kind::Haproxy => tools::find("haproxy"),
            Kind::Wsgate => options.wsgate.clone(),
        };
        match program {
            Some(program) => plain.push(Contender { kind, program, tls: false }),
            None if asked => return Err(format!("{} is not there", kind.name()).into()),
            None => eprintln!("bench: without {}, which is not there", kind.name()),
        }
    }
    let tls = plain.iter().filter(|c| c.kind != Kind::Floor).map(|c| Contender { tls: true, ..c.clone() });
    Ok(plain.iter().cloned().chain(tls.collect::<Vec<_>>()).collect())
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::Nginx => "nginx",
            Kind::Haproxy => "haproxy",
            Kind::Wsgate => "wsgate",
        }
    }
}

impl Contender {
    /// As the report calls it.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.kind.name(), if self.tls { " wss" } else { "" })
    }

    pub(crate) fn tls(&self) -> bool {
        self.tls
    }

    /// Name and version.
    pub(crate) fn version(&self) -> String {
        let version = match self.kind {
            Kind::Floor => "this crate's".to_owned(),
            Kind::Nginx | Kind::Haproxy => tools::version(&self.program, "-v"),
            Kind::Wsgate => tools::version(&self.program, "--version"),
        };
        format!("{}: {version}", self.name())
    }

    /// Starts it before `upstream` on the proxy's core and waits until it accepts.
    pub(crate) fn start(&self, site: &Site, upstream: SocketAddr) -> Result<Proxy> {
        if self.kind == Kind::Floor {
            let args = vec!["--upstream".to_owned(), upstream.to_string()];
            let running = Running::start(&self.launch(args, true, site), site.cores.proxy, site.dir())?;
            let address = running.address()?;
            return Ok(Proxy { running, address });
        }
        let [plain, tls, admin] = free_addresses()?;
        let (template, file) = match self.kind {
            Kind::Nginx => (include_str!("../../config/nginx.conf"), "nginx.conf"),
            Kind::Haproxy => (include_str!("../../config/haproxy.cfg"), "haproxy.cfg"),
            Kind::Wsgate | Kind::Floor => (include_str!("../../config/wsgate.toml"), "wsgate.toml"),
        };
        let config = site.dir().join(file);
        fs::write(&config, fill(template, site, [plain, tls, admin, upstream]))?;
        let config = config.display().to_string();
        let dir = site.dir().display().to_string();
        let args: Vec<String> = match self.kind {
            Kind::Nginx => vec!["-p".into(), dir, "-e".into(), "nginx.log".into(), "-c".into(), config],
            Kind::Haproxy => vec!["-db".into(), "-f".into(), config],
            Kind::Wsgate | Kind::Floor => vec!["run".into(), "--config".into(), config],
        };
        let mut running = Running::start(&self.launch(args, false, site), site.cores.proxy, site.dir())?;
        let address = if self.tls { tls } else { plain };
        running.wait_listening(address)?;
        Ok(Proxy { running, address })
    }

    fn launch(&self, args: Vec<String>, speaks: bool, site: &Site) -> Program {
        let env = vec![("BENCH_SECRET".to_owned(), site.credentials.secret.clone())];
        Program { name: self.kind.name(), path: self.program.clone(), args, env, speaks }
    }
}

fn fill(template: &str, site: &Site, [plain, tls, admin, upstream]: [SocketAddr; 4]) -> String {
    let path = |path: &Path| path.display().to_string();
    let values = [
        ("@DIR@", path(site.dir())),
        ("@PLAIN@", plain.to_string()),
        ("@TLS@", tls.to_string()),
        ("@ADMIN@", admin.to_string()),
        ("@UPSTREAM@", upstream.to_string()),
        ("@CERTIFICATE@", path(&site.credentials.certificate)),
        ("@KEY@", path(&site.credentials.key)),
        ("@COMBINED@", path(&site.credentials.combined)),
    ];
    values.iter().fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Three ports of loopback that were free a moment ago, below those that the kernel gives to outgoing connections: one of
/// these could take the port before the proxy does.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    let outgoing: u16 = range.split_whitespace().next().ok_or("the kernel gives no port range")?.parse()?;
    // Runs at the same time begin at different ports.
    let first = outgoing.saturating_sub(1 + (std::process::id() % 8192) as u16);
    let ports = (1024..first).rev().chain(first..outgoing);
    let open: Vec<TcpListener> = ports.filter_map(|p| TcpListener::bind(("127.0.0.1", p)).ok()).take(3).collect();
    let [plain, tls, admin] = &open[..] else {
        return Err("no three free ports on 127.0.0.1".into());
    };
    Ok([plain.local_addr()?, tls.local_addr()?, admin.local_addr()?])
}
