//! One proxy's turn: a fresh backend, a fresh proxy, and the load through both.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::contender::{Contender, Proxy};
use super::credentials::{Credentials, ORIGIN};
use super::process::{Program, Running};
use super::tools::Cores;
use super::{Options, Plan, Sample, What};
use crate::load::measure::Measured;
use crate::{Result, proc};

/// How long the load may take beyond what it was asked to measure. It gives up by itself when nothing moves for 10 s.
const GRACE: Duration = Duration::from_secs(30);

/// What all turns share.
pub(crate) struct Site {
    dir: TempDir,
    pub(crate) credentials: Credentials,
    pub(crate) cores: Cores,
    plan: Plan,
    programs: std::path::PathBuf,
}

impl Site {
    pub(crate) fn new(options: &Options, plan: Plan) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("wsgate-bench-").tempdir()?;
        let credentials = Credentials::make(dir.path())?;
        Ok(Self { dir, credentials, cores: Cores::choose()?, plan, programs: options.programs.clone() })
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn own(&self, name: &'static str, args: Vec<String>) -> Result<Running> {
        let program = Program { name, path: self.programs.join(name), args, env: Vec::new(), speaks: true };
        Running::start(&program, self.cores.load, self.dir())
    }

    /// The load in `mode` on `proxy`.
    fn load(&self, mode: &str, contender: &Contender, proxy: &Proxy, more: &[(&str, String)]) -> Result<Running> {
        let mut args = vec![mode.to_owned()];
        let mut flag = |name: &str, value: String| args.extend([name.to_owned(), value]);
        flag("--address", proxy.address.to_string());
        flag("--path", "/ws".to_owned());
        flag("--origin", ORIGIN.to_owned());
        flag("--token", self.credentials.token.clone());
        if contender.tls() {
            flag("--tls-ca", self.credentials.authority.display().to_string());
        }
        for (name, value) in more {
            flag(name, value.clone());
        }
        self.own("load", args)
    }

    /// The load in `mode`, measured by itself against the proxy's CPU time.
    fn measure(&self, mode: &str, contender: &Contender, proxy: &Proxy, more: &[(&str, String)]) -> Result<Measured> {
        let mut flags = vec![
            ("--watch", proxy.running.id().to_string()),
            ("--warmup-ms", self.plan.warmup.as_millis().to_string()),
            ("--length-ms", self.plan.length.as_millis().to_string()),
        ];
        flags.extend_from_slice(more);
        let line = self.load(mode, contender, proxy, &flags)?.line(self.plan.warmup + self.plan.length + GRACE);
        Ok(serde_json::from_str(&line.map_err(|e| format!("{}, {mode}: {e}", contender.name()))?)?)
    }
}

/// CPU time of echoes in all sizes, and of handshakes.
pub(crate) fn speed(site: &Site, contender: &Contender, round: usize) -> Result<Vec<Sample>> {
    let echo = site.own("echo", Vec::new())?;
    let proxy = contender.start(site, echo.address()?)?;
    let sample = |what, measured: Measured| -> Result<Sample> {
        let cpu_ns = measured.cpu_ns.ok_or("the load did not watch the proxy")?;
        Ok(Sample {
            round,
            proxy: contender.name(),
            what,
            value: cpu_ns as f64 / 1000.0 / measured.done as f64,
            per_second: Some(measured.done as f64 / measured.seconds),
            latency_us: Some(measured.latency_us),
        })
    };
    let mut samples = Vec::new();
    for size in &site.plan.sizes {
        let flags = [("--connections", site.plan.connections.to_string()), ("--size", size.to_string())];
        samples.push(sample(What::Echo(*size), site.measure("echo", contender, &proxy, &flags)?)?);
    }
    let at_once = [("--concurrency", site.plan.handshakes_at_once.to_string())];
    samples.push(sample(What::Handshake, site.measure("handshake", contender, &proxy, &at_once)?)?);
    Ok(samples)
}

/// Resident memory that one idle connection adds, from the slope between two numbers of them.
pub(crate) fn memory(site: &Site, contender: &Contender) -> Result<Sample> {
    let echo = site.own("echo", Vec::new())?;
    let proxy = contender.start(site, echo.address()?)?;
    let (few, many) = site.plan.idle;
    let first = hold(site, contender, &proxy, few)?;
    let low = settled_kib(proxy.running.id())?;
    let second = hold(site, contender, &proxy, many - few)?;
    let high = settled_kib(proxy.running.id())?;
    for mut held in [first, second] {
        drop(held.stdin());
        held.line(GRACE).map_err(|e| format!("{}, idle: {e}", contender.name()))?;
    }
    let value = (high as f64 - low as f64) / (many - few) as f64;
    Ok(Sample { round: 0, proxy: contender.name(), what: What::Idle, value, per_second: None, latency_us: None })
}

/// `count` connections that were used once, held for as long as the load that is returned lives.
fn hold(site: &Site, contender: &Contender, proxy: &Proxy, count: usize) -> Result<Running> {
    let load = site.load("idle", contender, proxy, &[("--connections", count.to_string())])?;
    load.line(GRACE).map_err(|e| format!("{}, idle: {e}", contender.name()))?;
    Ok(load)
}

/// Resident memory once it stands still: allocators give back what handshakes used only after a second or so.
fn settled_kib(pid: u32) -> Result<u64> {
    let began = Instant::now();
    let mut last = proc::resident_kib(pid)?;
    let mut still = 0;
    while still < 5 && began.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(300));
        let now = proc::resident_kib(pid)?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
