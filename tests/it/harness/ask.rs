//! An opening handshake, to be bent in any way.

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The example of RFC 6455 s1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request: good as it is, until it is changed.
#[derive(Clone, Debug)]
pub struct Ask {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Ask {
    /// A good one for this target.
    pub fn to(target: &str) -> Self {
        let ask = Self { line: format!("GET {target} HTTP/1.1"), headers: Vec::new(), body: String::new() };
        ask.with("Host", "chat.example.com")
            .with("Connection", "Upgrade")
            .with("Upgrade", "websocket")
            .with("Sec-WebSocket-Version", "13")
            .with("Sec-WebSocket-Key", KEY)
    }

    /// With another request line.
    pub fn line(mut self, line: &str) -> Self {
        self.line = line.to_owned();
        self
    }

    /// With one header more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Without a header.
    pub fn without(mut self, name: &str) -> Self {
        let before = self.headers.len();
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        assert!(self.headers.len() < before, "{name} was not there");
        self
    }

    /// With another value of a header.
    pub fn but(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// With a bearer token.
    pub fn bearer(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    /// With a body.
    pub fn body(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }

    /// As it goes over the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        (text + "\r\n" + &self.body).into_bytes()
    }
}

/// The upstream's 101 to a key, with further header lines, each ending in CR LF.
pub fn switch(key: &str, more: &str) -> Vec<u8> {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{more}\r\n"
    )
    .into_bytes()
}
