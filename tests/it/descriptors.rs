//! The binary itself, with fewer file descriptors than it has clients.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use wsgate::stream::Stream;

use crate::harness::peer::Head;
use crate::harness::{Ask, Echo, Frame, Peer, within};

/// A gateway in a process of its own, ended with the test.
struct Process {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    /// What it says on standard error.
    messages: UnboundedReceiver<Value>,
}

impl Process {
    /// Starts it with this many descriptors, and reads from its messages where it listens.
    async fn start(folder: &TempDir, config: &str, descriptors: usize) -> Self {
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
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, messages) = unbounded_channel();
        std::thread::spawn(move || {
            for message in lines.filter_map(|line| serde_json::from_str(&line).ok()) {
                // After the test nobody listens; the pipe is still to be emptied.
                let _ = sender.send(message);
            }
        });
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut process = Self { child, address: nowhere, admin: nowhere, messages };
        process.address = process.says("listening").await["address"].as_str().unwrap().parse().unwrap();
        process.admin = process.says("admin").await["address"].as_str().unwrap().parse().unwrap();
        process
    }

    /// Waits for a message that begins so.
    async fn says(&mut self, begin: &str) -> Value {
        within(begin, async {
            loop {
                let message = self.messages.recv().await.expect("it is still there");
                if message["message"].as_str().is_some_and(|text| text.starts_with(begin)) {
                    return message;
                }
            }
        })
        .await
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
    let mut process = Process::start(&folder, &config, 48).await;
    let mut waiting = Vec::new();
    for _ in 0..60 {
        waiting.push(connect(process.address).await);
    }
    process.says("accepting rests").await;
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
