//! `wsgate demo`: an echo upstream, a gateway before it and a page to try it from, all in this process and on loopback.
//!
//! The gateway is the one that `wsgate run` starts, from a config that is TOML like any other.

mod certificate;
mod config;
mod echo;
mod folder;
mod page;
mod setup;
mod words;

use std::future::ready;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};

use super::run::{Signals, log_to_stderr};
use super::{Failure, print};
use crate::access_log::Format;
use crate::admin;
use crate::gateway::Gateway;
use crate::load;
use crate::now::Clock;
use folder::Folder;
use setup::{Places, Signer};

/// Which ports to use; 0 is any free one.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The gateway's plain listener. Default: 8080, or a free one
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// The gateway's TLS listener. Default: 8443, or a free one
    #[arg(long, value_name = "PORT")]
    tls_port: Option<u16>,
    /// The page to try it from. Default: 8000, or a free one
    #[arg(long, value_name = "PORT")]
    page_port: Option<u16>,
    /// The admin listener. Default: 9100, or a free one
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// Print the config of the demo's gateway, and end
    #[arg(long)]
    print_config: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    // These two are bound here, before the gateway: its config names both.
    let page = listen(options.page_port, 8000)?;
    let upstream = listen(Some(0), 0)?;
    let text = config::text(&config::Addresses {
        plain: free(options.port, 8080),
        tls: free(options.tls_port, 8443),
        admin: free(options.admin_port, 9100),
        page: page.local_addr()?,
        upstream: upstream.local_addr()?,
    });
    if options.print_config {
        return print(&text);
    }
    log_to_stderr();
    let clock = Clock::system();
    let folder = Folder::make(clock.now())?;
    let loaded = load::text(&text, "demo.toml", folder.path(), &|_| None)
        .map_err(|report| Failure::CouldNotRun(format!("the demo's own config is wrong, which is a bug\n{report}")))?;
    let signals = Signals::listen()?;
    let gateway = Gateway::start(loaded, clock.clone(), Format::Text, io::stdout())?;
    let [plain, tls] = gateway.addresses[..] else {
        return Err(Failure::CouldNotRun("the demo's config has two listeners, and its gateway has not".to_owned()));
    };
    let places = Places { plain, tls, admin: gateway.admin_address, page: page.local_addr()? };
    let signer = Signer::new(folder.secret(), clock).map_err(Failure::CouldNotRun)?;
    print(&words::welcome(&places, &folder, &signer).map_err(Failure::CouldNotRun)?)?;
    let house = keep_house(page::Page::new(places, signer, gateway.shared().clone()), page, upstream)?;
    signals.until_stopped(gateway, None)?;
    house.join().map_err(|_| Failure::CouldNotRun("the demo's page or its upstream failed".to_owned()))
}

/// Serves the page and the echo on a thread of their own, until the gateway has stopped.
fn keep_house(page: page::Page, pages: StdListener, upstream: StdListener) -> io::Result<JoinHandle<()>> {
    let runtime = || Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    thread::Builder::new().name("demo".to_owned()).spawn(move || {
        let served = runtime().and_then(|runtime| {
            runtime.block_on(async move {
                tokio::task::spawn_local(echo::run(TcpListener::from_std(upstream)?));
                let phase = page.phase();
                let pages = TcpListener::from_std(pages)?;
                admin::pages(
                    pages,
                    Rc::new(|| None),
                    phase,
                    Rc::new(move |_, request| Box::pin(ready(page.answer(&request)))),
                )
                .await;
                Ok(())
            })
        });
        if let Err(error) = served {
            tracing::error!(%error, "the demo's page and upstream can't be served");
        }
    })
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A socket on the wanted port, or else on the usual one if it is free.
fn listen(wanted: Option<u16>, usual: u16) -> io::Result<StdListener> {
    let bound = match wanted {
        Some(port) => StdListener::bind(loopback(port)),
        None => StdListener::bind(loopback(usual)).or_else(|_| StdListener::bind(loopback(0))),
    };
    let named = |error: io::Error| {
        let address = loopback(wanted.unwrap_or(usual));
        io::Error::new(error.kind(), format!("{address} can't be listened on: {error}"))
    };
    let socket = bound.map_err(named)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The same for a socket that the gateway will bind: 0, which is any, where the usual port is taken.
fn free(wanted: Option<u16>, usual: u16) -> SocketAddr {
    let is_free = || StdListener::bind(loopback(usual)).is_ok();
    loopback(wanted.unwrap_or_else(|| if is_free() { usual } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_replaced_where_it_was_only_usual_and_an_error_where_it_was_wanted() {
        let taken = StdListener::bind(loopback(0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_eq!(free(None, port), loopback(0));
        assert_eq!(free(Some(port), 1), loopback(port));
        assert_ne!(listen(None, port).unwrap().local_addr().unwrap().port(), port);
        let error = listen(Some(port), 1).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port} can't be listened on")), "{error}");
    }
}
