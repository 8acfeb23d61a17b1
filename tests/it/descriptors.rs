//! The binary itself, with fewer file descriptors than it has clients.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use wsgate::stream::Stream;

use crate::harness::peer::Head;
use crate::harness::{Ask, Echo, Frame, Peer, within};

/// A gateway in a process of its own, ended with the test.
struct Process {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Process {
    /// Starts it with this many descriptors, and reads from its messages where it listens.
    fn start(folder: &TempDir, config: &str, descriptors: usize) -> Self {
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, config).unwrap();
        let limited = format!("ulimit -n {descriptors} && exec \"$0\" run --config \"$1\"");
        let mut child = Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_wsgate")])
            .arg(path)
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut address = |what: &str| -> SocketAddr {
            let found = messages.find_map(|line| {
                let line: Value = serde_json::from_str(&line).ok()?;
                line["message"].as_str()?.starts_with(what).then(|| line["address"].as_str()?.parse().ok())?
            });
            found.unwrap_or_else(|| panic!("it did not say `{what}`"))
        };
        let (listens, admin) = (address("listening"), address("admin"));
        // Whoever writes to a closed pipe fails: the rest is read and thrown away.
        std::thread::spawn(move || messages.for_each(drop));
        Self { child, address: listens, admin }
    }

    /// Asks it to stop; it has to do so without an error.
    fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After `stop` it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(address: SocketAddr) -> Peer {
    Peer::new(Stream::Tcp(TcpStream::connect(address).await.unwrap()), true)
}

async fn page(process: &Process, path: &str) -> Head {
    let mut operator = connect(process.admin).await;
    operator.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
    operator.head().await
}

/// Accepts that failed.
async fn errors(process: &Process) -> f64 {
    let metrics = page(process, "/metrics").await.body;
    let line = metrics.lines().find(|line| line.starts_with("wsgate_accept_errors_total{")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn out_of_descriptors_the_listener_goes_on_when_there_are_some_again() {
    let echo = Echo::new().await;
    let folder = TempDir::new().unwrap();
    let config = format!(
        "[server]\nworkers = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"{}\"\n[admin]\naddress = \"127.0.0.1:0\"\n",
        echo.url()
    );
    let process = Process::start(&folder, &config, 48);
    assert_eq!(errors(&process).await, 0.0);
    let mut waiting = Vec::new();
    for _ in 0..60 {
        waiting.push(connect(process.address).await);
    }
    // With none left, the kernel has the connection and nobody answers; and those that were in stay in.
    let mut late = connect(process.address).await;
    late.ask(&Ask::to("/")).await;
    waiting[0].ask(&Ask::to("/")).await;
    let refused = waiting[0].head().await;
    assert_eq!((refused.status(), refused.body.starts_with("upstream_connect")), (502, true), "{refused:?}");
    drop(waiting);
    assert_eq!(late.head().await.status(), 101);
    late.say(&Frame::text("at last")).await;
    assert_eq!(late.frame().await, Frame::text("at last"));
    assert!(errors(&process).await > 0.0);
    drop(late);
    within("the end", tokio::task::spawn_blocking(|| process.stop())).await.unwrap();
}
