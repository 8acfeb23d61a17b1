//! The program as an operator calls it: commands, exit codes, and the demo from its first line to its last.
//!
//! Each demo listens on free ports and keeps its files in a folder of its test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// For what comes at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn wsgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wsgate"));
    command.args(arguments).env_remove("WSGATE_TOKEN").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    said(&wsgate(arguments).output().unwrap())
}

/// Exit code, standard output, standard error.
fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
}

/// The same of a command that is given input.
fn run_with(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = wsgate(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    said(&child.wait_with_output().unwrap())
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

/// A demo that runs, and what it printed.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    welcome: String,
    folder: TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = wsgate(&["demo", "--port=0", "--tls-port=0", "--page-port=0", "--admin-port=0"]);
        let mut child = command.env("TMPDIR", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut demo = Self { child, lines, welcome: String::new(), folder };
        while !demo.welcome.contains("Ctrl-C drains") {
            let line = demo.lines.recv_timeout(PATIENCE).expect("a line of the demo");
            demo.welcome += &(line + "\n");
        }
        demo
    }

    /// What stands behind `before`, up to the next blank.
    fn told(&self, before: &str) -> &str {
        let (_, behind) = self.welcome.split_once(before).unwrap_or_else(|| panic!("{before} in\n{}", self.welcome));
        behind.split_whitespace().next().unwrap()
    }

    fn plain(&self) -> String {
        format!("ws://{}", self.told("ws://"))
    }

    fn tls(&self) -> String {
        format!("wss://{}", self.told("wss://"))
    }

    fn token(&self) -> &str {
        self.told("\nTOKEN=")
    }

    /// Signs one with the demo's secret.
    fn mint(&self, arguments: &[&str]) -> String {
        let secret = format!("--secret={}", self.told("token --secret "));
        let (code, token, error) = run(&[&["token", &secret], arguments].concat());
        assert_eq!(code, 0, "{error}");
        token.trim_end().to_owned()
    }

    /// Connects, with a token, until a line has come back.
    fn converse(&self) -> (Child, ChildStdin) {
        let mut command = wsgate(&["connect", "--token", self.token(), &self.plain()]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        input.write_all(b"hello\n").unwrap();
        let mut echo = [0; 6];
        client.stdout.as_mut().unwrap().read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"hello\n");
        (client, input)
    }

    /// The line of the access log that has this in it.
    fn logged(&self, what: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a line of the access log");
            if line.contains(what) {
                return line;
            }
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // A test that failed leaves none behind; one that ended it did so already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The whole answer to a GET.
fn get(address: &str, path: &str, host: &str) -> String {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("gateway.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for command in ["run", "check", "demo", "token", "connect", "health", "reasons", "schema"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))), "{command} in\n{help}");
        assert_eq!(run(&[command, "--help"]).0, 0, "{command}");
    }
    assert!(help.contains("Exit codes: 0"), "{help}");
}

#[test]
fn a_command_line_that_is_wrong_ends_with_2() {
    for line in [&["nonsense"][..], &[], &["token"], &["connect", "http://127.0.0.1/"], &["health", "--url", "/"]] {
        assert_eq!(run(line).0, 2, "{line:?}");
    }
    let (code, _, error) = run(&["token", "--secret", "hunter2hunter2hunter2hunter2hunter2"]);
    assert_eq!(code, 2);
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn check_tells_what_a_good_config_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/ws\"\n\
                upstream = \"http://127.0.0.1:9\"\norigins = [\"https://app.example.com\"]\n\
                [redis]\nurl = \"unix:/run/redis.sock\"\non_error = \"closed\"\n";
    let (code, described, error) = run(&["check", "--config", &config(folder.path(), text)]);
    assert_eq!(code, 0, "{error}");
    assert!(described.contains("route /ws -> http://127.0.0.1:9"), "{described}");
    let shared = "shared in unix:/run/redis.sock, prefix `wsgate`; without an answer within 50 ms what is counted there is refused";
    assert!(described.contains(shared), "{described}");
}

#[test]
fn check_tells_how_long_an_identity_lasts_and_what_it_takes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "s".repeat(32)).unwrap();
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[jwt.main]\nalgorithms = [\"HS256\"]\nsecret = \"file:secret\"\n\
                [[route]]\npath = \"/ws\"\nupstream = \"http://127.0.0.1:9\"\njwt = \"main\"\ndeny = \"close\"\n\
                require = { scope = \"chat\" }\nrenew = \"/renew\"\non_expiry = \"log\"\nmax_lifetime = \"2m\"\n";
    let (code, described, error) = run(&["check", "--config", &config(folder.path(), text)]);
    assert_eq!(code, 0, "{error}");
    for said in ["its `scope` as required", "can be renewed", "only logged", "lasts 120 s at most", "told by a Close"] {
        assert!(described.contains(said), "`{said}` is not in\n{described}");
    }
}

/// The fenced blocks of the page's section, in order.
fn example_of_why() -> Vec<String> {
    let page = include_str!("../docs/troubleshooting.md");
    let section = page.split("\n## Why was I refused\n").nth(1).unwrap().split("\n## ").next().unwrap();
    section.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap().1.to_owned()).collect()
}

/// The lines without the time, which differs each time.
fn timeless(text: &str) -> Vec<&str> {
    text.lines().map(|line| if line.contains(" exp ") { "exp" } else { line }).collect()
}

#[test]
fn the_page_s_example_of_a_refusal_is_what_is_printed() {
    let [toml, commands, printed] = &example_of_why()[..] else { panic!("three blocks") };
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), toml);
    let secret = "s".repeat(32);
    let words = |line: &str| -> Vec<String> { line.split_whitespace().skip(1).map(str::to_owned).collect() };
    let (mint, check) = commands.trim().split_once('\n').unwrap();
    let mint = words(mint.strip_prefix("export WSGATE_TOKEN=$(").unwrap().strip_suffix(')').unwrap());
    let (code, token, error) = said(&wsgate(&[]).args(&mint).env("JWT_SECRET", &secret).output().unwrap());
    assert_eq!(code, 0, "{error}");
    let check = words(&check.replace("gateway.toml", &path));
    let output =
        wsgate(&[]).args(&check).env("JWT_SECRET", &secret).env("WSGATE_TOKEN", token.trim()).output().unwrap();
    let (code, text, error) = said(&output);
    assert_eq!((code, error.as_str()), (1, ""));
    assert_eq!(timeless(&text), timeless(printed));
    assert!(!text.contains(token.trim()) && !text.contains(&secret), "{text}");
}

#[test]
fn explain_tells_admitted_refused_and_undecided_apart_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[jwt.away]\nalgorithms = [\"ES256\"]\n\
                jwks = \"http://127.0.0.1:9/keys\"\n[[route]]\npath = \"/ws\"\nupstream = \"http://127.0.0.1:9\"\n\
                origins = \"any\"\n[[route]]\npath = \"/away\"\nupstream = \"http://127.0.0.1:9\"\njwt = \"away\"\n";
    let path = config(folder.path(), text);
    for (options, expected, last) in [
        (&["--path=/ws", "--header=X-One: 1"][..], 0, "admitted"),
        (&["--path=/nowhere"], 1, "refused: no_route, status 404 (no route matches host and path)"),
        (&["--path=/away", "--token=a.b.c"], 3, "undecided: the token's keys are published by their issuer"),
    ] {
        let (code, text, error) = run(&[&["check", "--config", &path, "--explain"], options].concat());
        assert_eq!(code, expected, "{text}{error}");
        assert!(text.lines().last().unwrap().starts_with(last), "{text}");
    }
    for wrong in
        [&["--path=/ws"][..], &["--explain", "--ip=here"], &["--explain", "--header=none"], &["--explain", "--path= "]]
    {
        assert_eq!(run(&[&["check", "--config", &path], wrong].concat()).0, 2, "{wrong:?}");
    }
}

#[test]
fn check_warns_of_limits_that_do_not_do_what_they_seem_to() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[zone.hosts]\nkey = \"host\"\nrate = \"1r/s\"\n\
                [zone.idle]\nrate = \"1r/s\"\n[[route]]\nupstream = \"http://127.0.0.1:9\"\norigins = \"any\"\n\
                handshakes = { zone = \"hosts\" }\n\
                messages = { rate = \"1r/s\", burst = 5, on_excess = \"delay\" }\n";
    let (code, _, error) = run(&["check", "--config", &config(folder.path(), text)]);
    assert_eq!(code, 0, "{error}");
    for said in [
        "route[0].handshakes.zone: the zone counts by host",
        "zone.idle: no route uses it",
        "messages.burst: with on_excess",
    ] {
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn check_warns_of_a_zone_that_counts_bytes_and_messages_alike() {
    let folder = tempfile::tempdir().unwrap();
    let limits = [
        ("messages = { zone = \"both\" }", true),
        ("control = { zone = \"both\" }", true),
        ("handshakes = { zone = \"both\" }", true),
        ("connections = { per_zone = [{ zone = \"both\", max = 5 }] }", false),
    ];
    for (limit, warned) in limits {
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[zone.both]\nrate = \"64k/s\"\n\
             [[route]]\npath = \"/a\"\nupstream = \"http://127.0.0.1:9\"\norigins = \"any\"\n\
             bytes = {{ zone = \"both\" }}\n\
             [[route]]\npath = \"/b\"\nupstream = \"http://127.0.0.1:9\"\norigins = \"any\"\n{limit}\n"
        );
        let (code, _, error) = run(&["check", "--config", &config(folder.path(), &text)]);
        assert_eq!(code, 0, "{error}");
        assert_eq!(error.contains("zone.both: it counts bytes in one place"), warned, "{limit}: {error}");
    }
}

#[test]
fn check_points_at_the_place_of_a_mistake_and_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstraem = \"http://127.0.0.1:9\"\n";
    let path = config(folder.path(), text);
    let (code, _, error) = run(&["check", "--config", &path]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains(&format!("{path}:4:1: error")), "{error}");
    assert!(error.contains("4 | upstraem = ") && error.contains("| ^^^^^^^^"), "{error}");
    assert!(error.contains("upstream"), "{error}");
    assert_eq!(run(&["check", "--config", "/nowhere/gateway.toml"]).0, 1);
}

#[test]
fn run_on_a_taken_address_ends_with_3_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = format!(
        "[[listen]]\naddress = \"{address}\"\n[[route]]\nupstream = \"http://127.0.0.1:9\"\norigins = \"any\"\n"
    );
    let (code, _, error) = run(&["run", "--config", &config(folder.path(), &text)]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains(&format!("listen[0].address: {address}")), "{error}");
    let (code, _, error) = run(&["demo", "--page-port", &address.port().to_string()]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains(&format!("{address} can't be listened on")), "{error}");
}

#[test]
fn a_demo_in_use_ends_within_3_s_of_ctrl_c_and_leaves_nothing() {
    let mut demo = Demo::start();
    assert_eq!(fs::read_dir(demo.folder.path()).unwrap().count(), 1);
    let (client, _input) = demo.converse();
    let (ended, waiting) = channel();
    let pid = Pid::from_raw(i32::try_from(demo.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    thread::scope(|scope| {
        let child = &mut demo.child;
        scope.spawn(move || ended.send(child.wait().unwrap()).unwrap());
        match waiting.recv_timeout(Duration::from_secs(3)) {
            Ok(status) => assert_eq!(status.code(), Some(0)),
            Err(_) => {
                kill_process(pid, Signal::KILL).unwrap();
                panic!("still running after 3 s");
            }
        }
    });
    let (code, _, error) = said(&client.wait_with_output().unwrap());
    assert_eq!((code, error.as_str()), (1, "closed: 1012 draining\n"));
    assert!(demo.logged("event=session_ended").contains("reason=draining"));
    assert_eq!(fs::read_dir(demo.folder.path()).unwrap().count(), 0);
}

#[test]
fn an_echo_is_printed_before_the_end_of_the_input_ends_the_session() {
    let demo = Demo::start();
    let authority = demo.told("\nCA=");
    let url = demo.tls();
    let (code, echo, error) = run_with(&["connect", "--ca", authority, "--token", demo.token(), &url], "one\ntwo\n");
    assert_eq!((code, echo.as_str(), error.as_str()), (0, "one\ntwo\n", "closed: 1000\n"));
    let line = demo.logged("event=session_ended");
    assert!(line.contains("subject=me") && line.contains("messages_to_client=2"), "{line}");
    let (code, _, error) = run(&["connect", "--token", demo.token(), &url]);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("--ca"), "{error}");
}

#[test]
fn ctrl_c_closes_a_conversation_politely() {
    let demo = Demo::start();
    let (client, _input) = demo.converse();
    interrupt(&client);
    let (code, _, error) = said(&client.wait_with_output().unwrap());
    assert_eq!((code, error.as_str()), (0, "closed: 1000\n"));
    let line = demo.logged("event=session_ended");
    assert!(line.contains("close_code=1000 side=client reason=closed"), "{line}");
}

#[test]
fn a_minted_token_opens_a_session_and_ends_it() {
    let demo = Demo::start();
    let token = demo.mint(&["--sub", "ann", "--lifetime", "1s"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, format!("{token}\n")).unwrap();
    let line = ["connect", "--linger", "20s", "--token-file", file.to_str().unwrap(), &demo.plain()];
    let (code, _, error) = run(&line);
    assert_eq!((code, error.as_str()), (1, "closed: 4001 token_expired\n"));
    assert!(demo.logged("event=session_ended").contains("subject=ann"));
}

#[test]
fn a_refused_handshake_is_printed_with_its_status_and_reason() {
    let demo = Demo::start();
    let url = demo.plain();
    let early = demo.mint(&["--not-before", "1h"]);
    let evil = "http://evil.example";
    for (options, expected) in [
        (&[][..], "refused: 403 token_missing: "),
        (&["--token", "no.such.token"], "refused: 403 token_invalid: "),
        (&["--token", &early], "refused: 403 token_invalid: "),
        (&["--origin", evil, "--token", demo.token()], "refused: 403 origin_forbidden: "),
    ] {
        let (code, _, error) = run(&[&["connect"], options, &[&url]].concat());
        assert_eq!(code, 1, "{error}");
        assert!(error.starts_with(expected), "{expected} and not {error}");
    }
    let output = wsgate(&["connect", "--linger", "1ms", &url]).env("WSGATE_TOKEN", demo.token()).output().unwrap();
    assert_eq!(said(&output).0, 0);
}

#[test]
fn a_flood_is_closed_with_the_reason() {
    let demo = Demo::start();
    let lines: String = (0..50).map(|line| format!("{line}\n")).collect();
    let (code, _, error) = run_with(&["connect", "--token", demo.token(), &demo.plain()], &lines);
    assert_eq!((code, error.as_str()), (1, "closed: 4029 message_rate\n"));
}

#[test]
fn health_tells_well_unwell_and_unreachable_apart() {
    let demo = Demo::start();
    let admin = format!("http://{}", demo.told("admin     http://"));
    assert_eq!(run(&["health", "--url", &format!("{admin}readyz")]), (0, "ready\n".into(), String::new()));
    let (code, _, error) = run(&["health", "--url", &format!("{admin}nowhere")]);
    assert_eq!(code, 1);
    assert!(error.contains("404"), "{error}");
    // Bound and closed again: whoever gets it next does not speak HTTP for this test.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(run(&["health", "--url", &format!("http://{free}/")]).0, 3);
}

#[test]
fn the_page_is_for_this_machine_alone_and_loads_nothing_from_elsewhere() {
    let demo = Demo::start();
    let address = demo.told("page      http://").trim_end_matches('/');
    let page = get(address, "/", address);
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    let policy = "content-security-policy: default-src 'none'; script-src 'self';";
    assert!(page.contains(policy) && page.contains("cache-control: no-store"), "{page}");
    assert!(get(address, "/token/long", "rebound.example").starts_with("HTTP/1.1 421 "));
    let (_, token) =
        get(address, "/token/short", address).split_once("\r\n\r\n").map(|(a, b)| (a.len(), b.to_owned())).unwrap();
    let (code, _, error) = run(&["connect", "--linger", "1ms", "--token", &token, &demo.plain()]);
    assert_eq!(code, 0, "{error}");
    let status = get(address, "/status", address);
    assert!(status.contains(r#""admitted":1"#), "{status}");
}

#[test]
fn the_demos_config_can_be_read_without_starting_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = wsgate(&["demo", "--print-config"]).env("TMPDIR", folder.path()).output().unwrap();
    let (code, config, _) = said(&output);
    assert_eq!(code, 0);
    assert!(config.contains("[jwt.demo]") && config.matches("[[route]]").count() == 4, "{config}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
