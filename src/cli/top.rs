//! `wsgate top`: what a gateway does, in a terminal: the admin listener's page for those who have a shell.
//!
//! Drawn by hand, for it is a few lines and a table. What is shown is a function of what was asked ([`draw`]); only
//! [`screen`] knows of a terminal, and [`ask`] of the network.

mod ask;
mod connections;
mod draw;
mod keys;
mod sample;
mod screen;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use http::Uri;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Failure;
use ask::Admin;
use draw::Size;
use keys::Keys;
use sample::Sample;
use screen::Screen;
use view::{Act, View};

/// Whom to ask, and how often.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The admin listener, http:// or https://
    #[arg(long, default_value = "http://127.0.0.1:9100", value_parser = super::health::url)]
    url: Uri,
    /// The token of `[admin]`: env:NAME or file:PATH
    #[arg(long, value_name = "SECRET")]
    token: Option<String>,
    /// The authorities that may sign the certificate of `[admin] tls`: a PEM file. Default: the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How often to ask
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::time)]
    interval: Duration,
    /// Print one frame as plain text, after asking twice, and end: for scripts and pipes
    #[arg(long)]
    once: bool,
}

/// What is printed where there is no terminal: wide enough for every column, and so many lines of each table.
const PLAIN: Size = Size { columns: 160, rows: 200 };

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    // Less is a load on the gateway, and a screen that nobody can read.
    if options.interval < Duration::from_millis(100) {
        return Err(Failure::CommandLine("--interval: at least 100ms".to_owned()));
    }
    let token = options.token.as_deref().map(|named| super::token::source("--token", named)).transpose()?;
    let admin = Admin::new(options, token.as_ref()).map_err(Failure::CouldNotRun)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if options.once {
        return runtime.block_on(once(&admin, options.interval));
    }
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::CommandLine("this is no terminal: --once prints one frame as text".to_owned()));
    }
    let mut screen = Screen::open()?;
    let ended = runtime.block_on(watch(&admin, options, &mut screen));
    drop(screen);
    // The thread that reads keys may wait for one for ever.
    runtime.shutdown_background();
    Ok(ended?)
}

/// Two samples, for without the first there is no rate.
async fn once(admin: &Admin, between: Duration) -> Result<(), Failure> {
    let mut view = View::new(admin.shown(), between);
    for wait in [between, Duration::ZERO] {
        let sample = admin.sample(&view.wanted).await;
        view.take(sample.map_err(|wrong| Failure::CouldNotRun(format!("{}: {wrong}", admin.shown())))?);
        sleep(wait).await;
    }
    let lines = draw::whole(&view, PLAIN);
    let text: String = lines.iter().map(|line| format!("{}\n", line.text.trim_end())).collect();
    super::print(&text)
}

/// Asks and draws until somebody has seen enough.
async fn watch(admin: &Admin, options: &Options, screen: &mut Screen) -> std::io::Result<()> {
    let mut view = View::new(admin.shown(), options.interval);
    let mut keys = Keys::read();
    let mut resized = signal(SignalKind::window_change())?;
    let (mut term, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut ticks = interval(options.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Keys are heard while a gateway takes its time.
    let (mut asking, mut closing): (Pending<'_, Sample>, Pending<'_, String>) = (None, None);
    loop {
        screen.show(&draw::frame(&view, screen.size()))?;
        let act = tokio::select! {
            key = keys.next() => match key {
                Some(key) => view.key(key),
                None => return Ok(()),
            },
            _ = resized.recv() => Act::Nothing,
            _ = term.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = ticks.tick(), if asking.is_none() && !view.paused => {
                let wanted = view.wanted.clone();
                asking = Some(Box::pin(async move { admin.sample(&wanted).await }));
                Act::Nothing
            }
            answer = answer(&mut asking), if asking.is_some() => {
                asking = None;
                match answer {
                    Ok(sample) => view.take(sample),
                    Err(wrong) => view.lost(wrong),
                }
                Act::Nothing
            }
            answer = answer(&mut closing), if closing.is_some() => {
                closing = None;
                view.said = answer.unwrap_or_else(|wrong| format!("not closed: {wrong}"));
                Act::Ask
            }
        };
        match act {
            Act::Nothing => {}
            Act::Quit => return Ok(()),
            Act::Ask => ticks.reset_immediately(),
            Act::Close(_) if closing.is_some() => view.said = "one at a time: the last one is under way".to_owned(),
            Act::Close(id) => closing = Some(Box::pin(async move { admin.close(&id).await })),
        }
    }
}

/// A question under way, perhaps.
type Pending<'a, T> = Option<Pin<Box<dyn Future<Output = Result<T, String>> + 'a>>>;

async fn answer<T>(pending: &mut Pending<'_, T>) -> Result<T, String> {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}
