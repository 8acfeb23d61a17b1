//! One end of one connection, client's or upstream's, moved byte by byte.

use std::io;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wsgate::stream::Stream;

use super::{Ask, Frame, ask, within};

/// A socket, and what was read of it but not yet looked at.
pub struct Peer {
    stream: Stream,
    buffer: Vec<u8>,
    /// A client masks what it sends and gets frames that are not masked; an upstream the other way round.
    is_client: bool,
}

/// The head of a request or an answer, and an answer's body.
#[derive(Debug)]
pub struct Head {
    pub line: String,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Head {
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    /// The only value of a header, or none.
    pub fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "two {name}: {self:?}");
        first
    }

    /// The 101 that fits this request.
    pub fn switch(&self, more: &str) -> Vec<u8> {
        ask::switch(self.one("sec-websocket-key").expect("a key"), more)
    }
}

impl Peer {
    pub fn new(stream: Stream, is_client: bool) -> Self {
        if let Stream::Tcp(tcp) = &stream {
            tcp.set_nodelay(true).unwrap();
        }
        Self { stream, buffer: Vec::new(), is_client }
    }

    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The socket, of which nothing may have been read that is not looked at yet.
    pub fn into_stream(self) -> Stream {
        assert_eq!(self.buffer, b"");
        self.stream
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("to send", async {
            self.stream.write_all(bytes.as_ref()).await.unwrap();
            self.stream.flush().await.unwrap();
        })
        .await;
    }

    /// Sends what the other side need not be there to take.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        within("to send or to fail", self.stream.write_all(bytes.as_ref())).await
    }

    pub async fn ask(&mut self, ask: &Ask) {
        self.send(ask.bytes()).await;
    }

    pub async fn say(&mut self, frame: &Frame) {
        self.send(frame.bytes(self.is_client)).await;
    }

    /// How much the other side takes before it takes nothing more for `calm`, or is gone; at most `most`.
    pub async fn stuff(&mut self, chunk: &[u8], most: usize, calm: Duration) -> usize {
        let mut taken = 0;
        while taken < most {
            match tokio::time::timeout(calm, self.stream.write(&chunk[taken % chunk.len()..])).await {
                Ok(Ok(written)) => taken += written,
                Ok(Err(_)) | Err(_) => break,
            }
        }
        taken
    }

    /// More bytes into the buffer; none at the end of the stream.
    async fn more(&mut self) -> io::Result<usize> {
        self.stream.read_buf(&mut self.buffer).await
    }

    /// The next head, with the body that `Content-Length` announces.
    pub async fn head(&mut self) -> Head {
        let mut head = self.head_alone().await;
        let length = head.one("content-length").map_or(0, |length| length.parse().unwrap());
        head.body = String::from_utf8(self.bytes(length).await).unwrap();
        head
    }

    /// The next head, whatever it says of a body.
    pub async fn head_alone(&mut self) -> Head {
        within("a head", async {
            let end = loop {
                if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at + 4;
                }
                let read = self.more().await.expect("a head");
                assert!(read > 0, "the stream ended in a head: {:?}", String::from_utf8_lossy(&self.buffer));
            };
            let text = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
            parse(&text)
        })
        .await
    }

    /// The next frame.
    pub async fn frame(&mut self) -> Frame {
        within("a frame", async {
            loop {
                if let Some((frame, length)) = Frame::read(&self.buffer, !self.is_client) {
                    self.buffer.drain(..length);
                    return frame;
                }
                let read = self.more().await.expect("a frame");
                assert!(read > 0, "the stream ended instead of a frame, after {:?}", self.buffer);
            }
        })
        .await
    }

    /// This many bytes as they stand on the wire.
    pub async fn bytes(&mut self, length: usize) -> Vec<u8> {
        within("bytes", async {
            while self.buffer.len() < length {
                assert!(self.more().await.expect("bytes") > 0, "the stream ended after {:?}", self.buffer);
            }
            self.buffer.drain(..length).collect()
        })
        .await
    }

    /// Waits for the end of the stream, in whatever way; nothing may come before it.
    pub async fn ended(&mut self) {
        within("the end", async { while self.more().await.is_ok_and(|read| read > 0) {} }).await;
        assert_eq!(self.buffer, b"", "before the end");
    }

    /// Waits for the end of the stream, which has to be an error: what it says.
    pub async fn error(&mut self) -> String {
        let error = async {
            loop {
                match self.more().await {
                    Ok(0) => panic!("an end in order, after {:?}", self.buffer),
                    Ok(_) => {}
                    Err(error) => return error.to_string(),
                }
            }
        };
        within("an error", error).await
    }

    /// Everything up to the end of the stream.
    pub async fn rest(&mut self) -> Vec<u8> {
        within("the end", async { while self.more().await.is_ok_and(|read| read > 0) {} }).await;
        std::mem::take(&mut self.buffer)
    }

    /// Whether something has come, or the end.
    pub async fn is_quiet_for(&mut self, time: Duration) -> bool {
        self.buffer.is_empty() && tokio::time::timeout(time, self.more()).await.is_err()
    }

    /// Says that nothing more comes, and still listens.
    pub async fn finish(&mut self) {
        within("to finish", self.stream.shutdown()).await.unwrap();
    }

    /// Ends the connection with a RST instead of a FIN.
    pub fn reset(self) {
        match &self.stream {
            Stream::Tcp(tcp) => SockRef::from(tcp).set_linger(Some(Duration::ZERO)).unwrap(),
            Stream::Tls(tls) => SockRef::from(tls.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap(),
            Stream::Unix(_) => panic!("a local socket has no RST"),
        }
    }
}

fn parse(text: &str) -> Head {
    let mut lines = text.trim_end().split("\r\n");
    let line = lines.next().unwrap().to_owned();
    let mut headers = http::HeaderMap::new();
    for header in lines {
        let (name, value) = header.split_once(':').unwrap_or_else(|| panic!("no header: {header}"));
        let name = http::HeaderName::try_from(name).unwrap();
        headers.append(name, value.trim().try_into().unwrap());
    }
    Head { line, headers, body: String::new() }
}
