//! From the config's URL to a connection that is logged in: directly, or by asking Sentinels where the master is.
//!
//! The sockets and the TLS are the gateway's own, the protocol is the crate's.

use std::io;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushInfo, RedisConnectionInfo, RedisError, ServerErrorKind,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::{TlsConnector, TlsStream};

use super::Settings;
use super::link::IN_FLIGHT;
use crate::policy::target::Transport;
use crate::stream::Stream;
use crate::{tls, upstream};

/// What is pushed by the server, on the thread of the keeper.
pub(super) type Pushed = Box<dyn Fn(PushInfo) + Send + Sync>;

/// A connection, and the task that moves its bytes for as long as this lives.
pub(super) struct Dialled {
    pub(super) connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Dialled {
    /// Returns when the connection ends.
    pub(super) async fn ended(&mut self) {
        // Whether it ended or failed: it is over.
        let _ = (&mut self.driver).await;
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        // With it go all the calls that wait for answers.
        self.driver.abort();
    }
}

/// Connects to the server, or to the master that the first Sentinel names which knows one.
///
/// # Errors
/// What an operator has to look for, in words that are ours.
pub(super) async fn dial(settings: &Settings, pushed: Pushed) -> Result<Dialled, String> {
    let [first, ..] = settings.remote.servers.as_slice() else { return Err("no server is named".to_owned()) };
    let Some(master) = &settings.remote.sentinel else { return log_in(settings, first, pushed).await };
    let mut last = String::new();
    // One that says nothing must leave time for the others, and for the master itself.
    let sentinels = u32::try_from(settings.remote.servers.len()).unwrap_or(u32::MAX);
    let patience = settings.pace.connect / sentinels.saturating_add(1);
    for sentinel in &settings.remote.servers {
        let asking = timeout(patience, ask_sentinel(settings, sentinel, master));
        match asking.await.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok((host, port)) => {
                let tls = matches!(sentinel, Transport::Tcp { tls: true, .. });
                return log_in(settings, &Transport::Tcp { host, port, tls }, pushed).await;
            }
            Err(why) => last = format!("a Sentinel: {why}"),
        }
    }
    Err(last)
}

/// The master's address. Sentinels are asked without a user.
async fn ask_sentinel(settings: &Settings, sentinel: &Transport, master: &str) -> Result<(String, u16), String> {
    let stream = connect(settings, sentinel).await?;
    let mut asking = speak(&RedisConnectionInfo::default(), stream, None).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    let answer: Option<(String, u16)> = question.query_async(&mut asking.connection).await.map_err(|e| why(&e))?;
    answer.ok_or_else(|| "it knows no master of that name".to_owned())
}

async fn log_in(settings: &Settings, server: &Transport, pushed: Pushed) -> Result<Dialled, String> {
    let stream = connect(settings, server).await?;
    let mut info = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name()
        .set_db(settings.remote.database);
    if let Some(user) = &settings.remote.username {
        info = info.set_username(user);
    }
    if let Some(password) = &settings.password {
        info = info.set_password(password);
    }
    speak(&info, stream, Some(pushed)).await
}

/// The driver lives on the thread that calls this.
async fn speak(info: &RedisConnectionInfo, stream: Stream, pushed: Option<Pushed>) -> Result<Dialled, String> {
    // The one timeout of a call is the link's.
    let mut config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None)
        .set_pipeline_buffer_size(IN_FLIGHT);
    if let Some(pushed) = pushed {
        config = config.set_push_sender(move |info| {
            pushed(info);
            Ok::<_, std::convert::Infallible>(())
        });
    }
    let info = info.clone().set_skip_set_lib_name();
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&info, stream, config).await.map_err(|error| why(&error))?;
    Ok(Dialled { connection, driver: tokio::task::spawn_local(driver) })
}

async fn connect(settings: &Settings, server: &Transport) -> Result<Stream, String> {
    let failed = |error: io::Error| upstream::why(&error).to_owned();
    let (host, port, is_tls) = match server {
        Transport::Unix(path) => return UnixStream::connect(path).await.map(Stream::Unix).map_err(failed),
        Transport::Tcp { host, port, tls } => (host, *port, *tls),
    };
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(failed)?;
    // A question is never held back for the next one; an error here would show at the first write too.
    let _ = tcp.set_nodelay(true);
    let Some(config) = settings.tls.as_ref().filter(|_| is_tls) else { return Ok(Stream::Tcp(tcp)) };
    let name = tls::server_name(host).ok_or("its host can't be a certificate's")?;
    let stream = TlsConnector::from(config.clone()).connect(name, tcp).await.map_err(failed)?;
    Ok(Stream::Tls(Box::new(TlsStream::Client(stream))))
}

/// What an operator has to look for. The server's own words are not repeated: nobody knows what stands in them.
pub(super) fn why(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
            "user or password is refused".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => "the ACL user lacks a permission (NOPERM)".to_owned(),
        (ErrorKind::RESP3NotSupported, _) => "it is older than version 6, or the ACL user may not HELLO".to_owned(),
        (_, Some(code)) if code.len() <= 32 && code.bytes().all(|b| b.is_ascii_uppercase()) => {
            format!("it answers {code}")
        }
        (ErrorKind::Io, _) => "the connection ended".to_owned(),
        _ => "its answer makes no sense".to_owned(),
    }
}
