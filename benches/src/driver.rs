//! The side-by-side: one proxy at a time between the echo backend and the load, in rounds, so that what disturbs the
//! machine meanwhile disturbs all of them.

mod contender;
mod credentials;
mod process;
mod table;
mod tools;
mod turn;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::measure::Percentiles;
use crate::{Result, proc};
pub use contender::{Contender, Kind};
use turn::Site;

/// What is measured, how often and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each proxy's turns. The median of them is reported.
    pub rounds: usize,
    /// Bytes of a message.
    pub sizes: Vec<usize>,
    /// Connections of the closed loop.
    pub connections: usize,
    /// Handshakes at once.
    pub handshakes_at_once: usize,
    /// Before each measurement.
    pub warmup: Duration,
    /// The length of each measurement.
    pub length: Duration,
    /// The two numbers of idle connections between which the memory's slope is taken.
    pub idle: (usize, usize),
    /// No further round is begun that would end after this.
    pub budget: Duration,
}

impl Plan {
    /// Under five minutes.
    #[must_use]
    pub fn full() -> Self {
        Self {
            rounds: 5,
            sizes: vec![64, 1024, 16 * 1024, 256 * 1024],
            connections: 50,
            handshakes_at_once: 8,
            warmup: Duration::from_millis(150),
            length: Duration::from_millis(700),
            idle: (500, 4000),
            budget: Duration::from_secs(280),
        }
    }

    /// Under one minute, and coarser.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 3,
            sizes: vec![64, 16 * 1024],
            warmup: Duration::from_millis(80),
            length: Duration::from_millis(250),
            idle: (200, 1000),
            budget: Duration::from_secs(50),
            ..Self::full()
        }
    }

    /// Bounds the idle connections by the open files that a proxy may have: two a connection, and some of its own.
    fn fit(mut self, open_files: u64) -> Self {
        let most = usize::try_from(open_files.saturating_sub(500) / 2).unwrap_or(usize::MAX);
        self.idle = (self.idle.0.min(most / 2), self.idle.1.min(most));
        self
    }
}

/// One figure of one turn.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// From 0.
    pub round: usize,
    /// The proxy's name.
    pub proxy: String,
    /// What was measured.
    pub what: What,
    /// CPU time in microseconds for one echo or handshake; KiB for one idle connection.
    pub value: f64,
    /// Echoes or handshakes a second.
    pub per_second: Option<f64>,
    /// As the clients saw it.
    pub latency_us: Option<Percentiles>,
}

/// A column of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// CPU time an echo of so many bytes.
    Echo(usize),
    /// CPU time a connection that is opened and closed.
    Handshake,
    /// Memory of a connection that was used once.
    Idle,
}

/// Everything that one run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Processor, kernel, cores, load average.
    pub machine: String,
    /// Names and versions.
    pub proxies: Vec<String>,
    /// In the order in which they were taken.
    pub samples: Vec<Sample>,
}

impl Report {
    /// The tables.
    #[must_use]
    pub fn markdown(&self) -> String {
        table::markdown(self)
    }
}

/// What the driver is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is measured.
    pub plan: Plan,
    /// Which proxies; empty: all there are.
    pub only: Vec<Kind>,
    /// The gateway's binary; without it the gateway is left out.
    pub wsgate: Option<PathBuf>,
    /// Where `echo`, `floor` and `load` are.
    pub programs: PathBuf,
    /// Where a downloaded nginx is kept.
    pub downloads: PathBuf,
}

/// Measures. Tells on standard error where it is.
///
/// # Errors
/// When a tool is missing, a proxy does not start or refuses, an echo is wrong, or nothing moves.
pub fn run(options: &Options) -> Result<Report> {
    let started = Instant::now();
    let plan = options.plan.clone().fit(proc::raise_open_files()?);
    let contenders = contender::choose(options)?;
    let site = Site::new(options, plan.clone())?;
    let mut report = Report {
        machine: tools::machine(&site.cores),
        proxies: contenders.iter().filter(|c| !c.tls()).map(Contender::version).collect(),
        samples: Vec::new(),
    };
    for contender in &contenders {
        eprintln!("bench: memory, {}", contender.name());
        report.samples.push(turn::memory(&site, contender)?);
    }
    let mut longest = Duration::ZERO;
    for round in 0..plan.rounds {
        let began = Instant::now();
        if started.elapsed() + longest > plan.budget {
            eprintln!("bench: {round} of {} rounds, as the time is over", plan.rounds);
            break;
        }
        for contender in &contenders {
            eprintln!("bench: round {} of {}, {}", round + 1, plan.rounds, contender.name());
            report.samples.extend(turn::speed(&site, contender, round)?);
        }
        longest = longest.max(began.elapsed());
    }
    Ok(report)
}
