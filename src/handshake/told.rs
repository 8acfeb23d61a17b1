//! A refusal told by a Close: a 101 of the gateway's own, the Close behind it, and a short wait for the client's.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::Handshake;
use super::record::Attempt;
use crate::deny::Direction;
use crate::policy::{Denial, tell};
use crate::session::frame::{self, Control, Frames, Seen};
use crate::stream::Stream;

/// How long a client may take to answer the Close, from the 101 on. Its socket keeps a place among the handshakes under
/// way meanwhile, so a second has to do, also over a slow line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that a client may have sent before it read the Close; a page may send as soon as it sees the 101.
const MOST: usize = 64 * 1024;

/// The Close of a handshake that is completed to be refused.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// Its code.
    pub code: u16,
    /// The reason's label.
    pub label: &'static str,
}

/// Whether, and with what, a refused client is told by a Close. Charges its rate, and sees to it that the handshake has a
/// place: one that had to wait gave its own away.
pub(super) fn plan(handshake: &Handshake, attempt: &Attempt, denial: &Denial) -> Option<Told> {
    let code = tell::code(attempt.route()?, denial.deny)?;
    let shared = &handshake.worker.shared;
    let place = handshake.place.take().or_else(|| shared.another_place(&handshake.edition, handshake.peer))?;
    handshake.place.set(Some(place));
    let may = handshake.edition.policy.telling.admit(attempt.client(), shared.books.clock.mono());
    may.then_some(Told { code, label: denial.deny.label() })
}

/// The 101 before the Close.
pub(super) fn answer(
    attempt: &Attempt,
    client: &HeaderMap,
    allow_origin: Option<&HeaderValue>,
) -> Option<Response<Full<Bytes>>> {
    let mut headers = tell::answer(attempt.route()?, client, allow_origin);
    let key = client.get(header::SEC_WEBSOCKET_KEY)?;
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()).try_into().ok()?);
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = headers;
    Some(answer)
}

/// The Close, once the 101 is out; `first` is what came behind the request.
pub async fn close(mut stream: Stream, first: &[u8], told: Told) {
    let farewell = async {
        stream.write_all(&frame::close(told.code, told.label, None)).await?;
        stream.flush().await?;
        await_close(&mut stream, first).await?;
        stream.shutdown().await
    };
    // Whatever goes wrong, the socket is closed next.
    let _ = timeout(PATIENCE, farewell).await;
}

/// Reads until the client's Close, its end, what is no frame, or too much.
async fn await_close(stream: &mut Stream, first: &[u8]) -> io::Result<()> {
    let mut frames = Frames::new(Direction::ToUpstream, false, u64::MAX);
    let mut unread = first.to_vec();
    let mut left = MOST;
    while let Some(taken) = skip(&mut frames, &unread) {
        unread.drain(..taken);
        let mut more = [0; 1024];
        let read = stream.read(&mut more).await?;
        if read == 0 || read > left {
            break;
        }
        left -= read;
        unread.extend_from_slice(&more[..read]);
    }
    Ok(())
}

/// How many bytes there are before what is not whole yet; none where nothing more is worth reading.
fn skip(frames: &mut Frames, bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let seen = frames.look(&bytes[at..]).ok()?;
        frames.take(&seen);
        at += match seen {
            Seen::Incomplete => return Some(at),
            Seen::Control { kind: Control::Close, .. } => return None,
            Seen::Control { len, .. } => len,
            Seen::Header { header, .. } => header,
            Seen::Payload(here) => here,
        };
    }
}
