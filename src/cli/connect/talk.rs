//! The conversation on an open WebSocket: lines out, messages in, and a polite end.

use std::io::{self, BufRead, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message, protocol::CloseFrame};

use super::{printable, said};
use crate::stream::Stream;

/// Lines of the input that may wait to be sent.
const WAITING: usize = 16;

/// How long our Close may wait for its answer.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// After the other side's Close: for the end of the connection.
const FAREWELL: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<Stream>;

/// How a conversation ended.
#[derive(Debug)]
pub(super) enum End {
    /// By a Close of the other side, first or in answer: code and reason.
    Closed(Option<(u16, String)>),
    /// Without a Close.
    Lost(Option<String>),
    /// Our Close was not answered.
    Unanswered,
}

/// Talks until one side has enough: the other by a Close, this one by the end of its input or Ctrl-C.
pub(super) async fn run(socket: Socket, linger: Duration) -> End {
    let (mut sink, mut source) = socket.split();
    let stopped = tokio::signal::ctrl_c();
    tokio::pin!(stopped);
    tokio::select! {
        end = listen(&mut source, None) => if let Some(end) = end { return farewell(end, source).await },
        _ = &mut stopped => return close(sink, source).await,
        // Sending and listening go on side by side: an echo fills both directions.
        () = send(&mut sink, lines()) => {}
    }
    tokio::select! {
        end = listen(&mut source, Some(linger)) => if let Some(end) = end { return farewell(end, source).await },
        _ = &mut stopped => {}
    }
    close(sink, source).await
}

/// The lines of standard input. Their thread is not waited for at the end, since nothing interrupts its read.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::spawn(move || {
        let mut line = Vec::new();
        let mut input = io::stdin().lock();
        while input.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            if sender.blocking_send(text).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Sends until there are no more lines. A failure is for the listener to see, together with what came before it.
async fn send(sink: &mut SplitSink<Socket, Message>, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        if sink.send(Message::text(line)).await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Prints what comes. None once nothing came for `silence`.
async fn listen(source: &mut SplitStream<Socket>, silence: Option<Duration>) -> Option<End> {
    loop {
        let next = match silence {
            Some(silence) => timeout(silence, source.next()).await.ok()?,
            None => source.next().await,
        };
        match next {
            Some(Ok(Message::Close(close))) => {
                return Some(End::Closed(close.map(|close| (close.code.into(), close.reason.to_string()))));
            }
            Some(Ok(message)) => show(&message),
            Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => return Some(End::Lost(None)),
            Some(Err(error)) => return Some(End::Lost(Some(said(&error)))),
        }
    }
}

/// Our Close, and the answer to it: messages that were on their way are still printed.
async fn close(mut sink: SplitSink<Socket, Message>, mut source: SplitStream<Socket>) -> End {
    let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let answered = timeout(CLOSE_PATIENCE, async {
        let sent = sink.send(Message::Close(Some(close))).await;
        let end = listen(&mut source, None).await;
        end.unwrap_or(End::Lost(sent.err().map(|error| said(&error))))
    });
    match answered.await {
        Ok(end) => farewell(end, source).await,
        Err(_) => End::Unanswered,
    }
}

/// Lets the library answer a Close, and the other side end the connection, as RFC 6455 s7.1.1 wants it.
async fn farewell(end: End, mut source: SplitStream<Socket>) -> End {
    if matches!(end, End::Closed(_)) {
        // Whatever still comes: the end is known.
        let _ = timeout(FAREWELL, async { while let Some(Ok(_)) = source.next().await {} }).await;
    }
    end
}

fn show(message: &Message) {
    let shown = match message {
        // A script gets the bytes, a terminal nothing that it would obey.
        Message::Text(text) if io::stdout().is_terminal() => printable(text.as_str()),
        Message::Text(text) => text.to_string(),
        Message::Binary(bytes) => format!("[binary, {} bytes]", bytes.len()),
        // Pings are answered by the library; a Close is for the caller.
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) | Message::Close(_) => return,
    };
    // A reader that left, as `head` does, ends nothing here.
    let _ = writeln!(io::stdout(), "{shown}");
}
