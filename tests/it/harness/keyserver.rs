//! An issuer's key server that says what the test says, and the keys that it publishes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use wsgate::config::value::Algorithm;
use wsgate::policy::token::mint;

/// What is said to a request.
#[derive(Clone)]
pub enum Says {
    /// These very bytes, and then the end.
    Bytes(Vec<u8>),
    /// Nothing until [`KeyServer::release`], and then these.
    Later(Vec<u8>),
    /// These, a byte at a time, for minutes.
    Drip(Vec<u8>),
}

/// 200, with these header lines (each ending in CR LF), and this body.
pub fn ok(headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// 200 with a set of these keys.
pub fn set(keys: &[&Key]) -> Vec<u8> {
    ok("", &body(keys))
}

/// A set of these keys.
pub fn body(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>() }).to_string()
}

/// A key pair of an issuer.
pub struct Key {
    pub kid: &'static str,
    pair: KeyPair,
}

impl Key {
    pub fn new(kid: &'static str) -> Self {
        Self { kid, pair: KeyPair::generate().unwrap() }
    }

    /// Its public half as it is published.
    pub fn public(&self) -> Value {
        // SEC 1 s2.3.3: 4, and then the coordinates.
        let point = self.pair.der_bytes();
        assert_eq!((point.len(), point[0]), (65, 4));
        let half = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": half(&point[1..33]), "y": half(&point[33..]) })
    }

    /// A token that names this key.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(Some(self.kid), claims)
    }

    /// A token that names another key, or none.
    pub fn sign_as(&self, kid: Option<&str>, claims: &Value) -> String {
        let key = mint::encoding_key(Algorithm::ES256, self.pair.serialize_pem().as_bytes()).unwrap();
        mint::mint(Algorithm::ES256, &key, kid, claims.as_object().unwrap()).unwrap()
    }
}

/// A server, as long as it lives.
pub struct KeyServer {
    pub address: SocketAddr,
    said: Arc<Said>,
    task: JoinHandle<()>,
}

struct Said {
    /// By path.
    says: Mutex<BTreeMap<String, Says>>,
    /// The heads of the requests that came.
    asked: Mutex<Vec<String>>,
    released: watch::Sender<bool>,
}

impl KeyServer {
    /// One that says this at `/jwks.json`.
    pub async fn new(says: Says) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), says, None).await
    }

    /// The same over TLS.
    pub async fn with_tls(says: Says, acceptor: TlsAcceptor) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), says, Some(acceptor)).await
    }

    /// One that comes to an address where another one was.
    #[allow(clippy::disallowed_methods, reason = "not a worker: the runtime of one test")]
    pub async fn at(address: SocketAddr, says: Says, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let said = Arc::new(Said {
            says: Mutex::new(BTreeMap::from([("/jwks.json".to_owned(), says)])),
            asked: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let answering = said.clone();
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (said, tls) = (answering.clone(), tls.clone());
                tokio::spawn(async move {
                    // A client that leaves, or wants no such certificate, ends this connection alone.
                    let _ = match tls {
                        None => said.answer(tcp).await,
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(tls) => said.answer(tls).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self { address, said, task }
    }

    /// Where its keys are.
    pub fn url(&self) -> String {
        format!("{}/jwks.json", self.origin())
    }

    /// Its root.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it says this there.
    pub fn says(&self, path: &str, says: Says) {
        self.said.says.lock().insert(path.to_owned(), says);
    }

    /// From now on it publishes these keys.
    pub fn publishes(&self, keys: &[&Key]) {
        self.says("/jwks.json", Says::Bytes(set(keys)));
    }

    /// How often it was asked for this.
    pub fn asked(&self, path: &str) -> usize {
        let line = format!("GET {path} HTTP/1.1\r\n");
        self.said.asked.lock().iter().filter(|head| head.starts_with(&line)).count()
    }

    /// All that it was asked, head after head.
    pub fn heads(&self) -> Vec<String> {
        self.said.asked.lock().clone()
    }

    /// Lets [`Says::Later`] go on.
    pub fn release(&self) {
        self.said.released.send_replace(true);
    }

    /// It is gone, and nothing listens there.
    pub async fn dies(mut self) -> SocketAddr {
        self.task.abort();
        assert!((&mut self.task).await.is_err());
        self.address
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Said {
    async fn answer(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let says = self.says.lock().get(&path).cloned();
        self.asked.lock().push(head);
        match says.unwrap_or(Says::Bytes(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec())) {
            Says::Bytes(bytes) => stream.write_all(&bytes).await?,
            Says::Later(bytes) => {
                let _ = self.released.subscribe().wait_for(|released| *released).await;
                stream.write_all(&bytes).await?;
            }
            Says::Drip(bytes) => {
                for byte in bytes {
                    stream.write_u8(byte).await?;
                    stream.flush().await?;
                    // The pace of this server, not the patience of a test.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        stream.shutdown().await
    }
}
