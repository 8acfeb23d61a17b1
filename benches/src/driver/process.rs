//! Processes that this one starts: pinned to a core, spoken to by lines, and ended with it whatever happens.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// How long a program may take until it listens.
const START: Duration = Duration::from_secs(10);

/// What to start.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Its standard output is read by lines; otherwise it goes nowhere, as a log would to a collector.
    pub(crate) speaks: bool,
}

/// A program that runs. Dropping it kills it and waits for its end.
pub(crate) struct Running {
    name: &'static str,
    child: Child,
    lines: Option<Receiver<String>>,
    complaints: PathBuf,
}

impl Running {
    /// Starts `program` on `core` alone; what it says on standard error is kept in `dir`.
    ///
    /// `setpriv` and `taskset` each become the next program by exec, so the child's id is the program's own; the first
    /// has the kernel end it should this process be killed.
    pub(crate) fn start(program: &Program, core: usize, dir: &Path) -> Result<Self> {
        let complaints = dir.join(format!("{}.stderr", program.name));
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "--cpu-list", &core.to_string()])
            .arg(&program.path)
            .args(&program.args)
            .envs(program.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(if program.speaks { Stdio::piped() } else { Stdio::null() })
            .stderr(File::create(&complaints)?)
            .spawn()
            .map_err(|e| format!("setpriv (package util-linux): {e}"))?;
        let lines = child.stdout.take().map(|stdout| {
            let (tell, lines) = mpsc::channel();
            // Ends with the pipe, which ends with the child.
            thread::spawn(move || BufReader::new(stdout).lines().map_while(|l| l.ok()).try_for_each(|l| tell.send(l)));
            lines
        });
        Ok(Self { name: program.name, child, lines, complaints })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input; dropping that tells it to end.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The next line that it says.
    pub(crate) fn line(&self, within: Duration) -> Result<String> {
        let Some(lines) = &self.lines else {
            return Err(format!("{} is not listened to", self.name).into());
        };
        lines.recv_timeout(within).map_err(|e| match e {
            RecvTimeoutError::Timeout => self.failure(&format!("said nothing for {} s", within.as_secs())),
            RecvTimeoutError::Disconnected => self.failure("ended"),
        })
    }

    /// The address that it listens on, which is the first line that it says.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok(self.line(START)?.parse()?)
    }

    /// Waits until it accepts on `address`.
    pub(crate) fn wait_listening(&mut self, address: SocketAddr) -> Result<()> {
        let began = Instant::now();
        loop {
            match TcpStream::connect(address) {
                Ok(_) => return Ok(()),
                Err(_) if self.child.try_wait()?.is_some() => return Err(self.failure("ended before it listened")),
                Err(_) if began.elapsed() > START => return Err(self.failure("does not listen")),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn failure(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        let said = fs::read_to_string(&self.complaints).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        format!("{} {what}; it said: {}", self.name, last.join("\n  ")).into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
