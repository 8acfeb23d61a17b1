//! A real `redis-server` of a test's own: on a free port, with nothing on disk, killed with the test.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use redis::FromRedisValue;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Looks at what nobody announces, as often as it takes: some seconds in all.
const LOOKS: usize = 2000;
const LOOK: Duration = Duration::from_millis(5);

/// A server that runs, or was killed and may run again.
pub struct Server {
    child: Child,
    port: u16,
    /// What it was started with besides the port.
    options: Vec<String>,
    /// Where its sockets and files are.
    pub folder: TempDir,
}

impl Server {
    /// One that anybody may ask anything.
    pub fn start() -> Self {
        Self::with(TempDir::new().unwrap(), &[])
    }

    /// One with these options besides; `folder` is where it works.
    pub fn with(folder: TempDir, options: &[&str]) -> Self {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        // The port is free when it is chosen; whoever takes it first makes for another try.
        for _ in 0..10 {
            let port = free_port();
            let mut child = spawn(port, &options, folder.path());
            if answers(port, &mut child) {
                return Self { child, port, options, folder };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("redis-server does not start with {options:?}");
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it is, as `[redis] url` says it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL: nobody is told.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Another one, empty, on the same port.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.options, self.folder.path());
        assert!(answers(self.port, &mut self.child), "redis-server does not start again");
    }

    /// SIGSTOP: its sockets live, and nobody answers.
    pub fn hang(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    /// SIGCONT.
    pub fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.ask::<()>(&["FLUSHALL"]);
    }

    /// One command, as the default user.
    pub fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_to_ask(words).unwrap()
    }

    /// The same of a server that may close its connections meanwhile, as one does whose role changes.
    pub fn try_to_ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut redis::Client::open(self.url()).unwrap().get_connection()?)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program: of this machine, or what `make setup` put into this folder.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let of_machine = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/redis-server");
    let found = of_machine.chain([ours]).find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("there is no redis-server on this machine: `make setup` installs it"))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn spawn(port: u16, options: &[String], folder: &Path) -> Child {
    let mut command = Command::new(program());
    // A Sentinel's configuration is a file, and comes first.
    let (file, options) = match options.split_first() {
        Some((file, rest)) if file.ends_with(".conf") => (Some(file), rest),
        _ => (None, options),
    };
    command.args(file).args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder);
    if file.is_none() {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(options).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether it comes to answer, and does not end before.
fn answers(port: u16, child: &mut Child) -> bool {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
    for _ in 0..LOOKS {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        let answer =
            client.get_connection().and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
        if answer.is_ok_and(|answer| answer == "PONG") {
            return true;
        }
        thread::sleep(LOOK);
    }
    false
}
