//! One accepted socket up to its session: TLS and the head under one deadline, one request, and the socket taken back
//! from hyper. The task that runs this ends where the session's begins.

mod by_hand;
mod proxied;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use crate::deny::Deny;
use crate::gateway::{Edition, Place, Worker};
use crate::handshake::record::Attempt;
use crate::handshake::{Handover, Handshake, SharedHandshake, told};
use crate::id::Id;
use crate::policy::Denial;
use crate::policy::certificate::Certificate;
use crate::session::exit::Exit;
use crate::session::live::Live;
use crate::session::live::holder::Holder;
use crate::session::{Opened, Session};
use crate::stream::Stream;
use crate::tls;

/// After a refusal: how long, and how much, a client may go on sending before its socket is closed, so that it gets to
/// read the answer (a socket closed with unread bytes is reset, and a reset discards what was sent).
const LINGER: (Duration, usize) = (Duration::from_millis(500), 64 * 1024);

/// One accepted socket.
pub struct Accepted {
    /// Its name.
    pub id: Id,
    /// The socket.
    pub tcp: TcpStream,
    /// Its other end.
    pub peer: SocketAddr,
    /// The config that its handshake is judged by, whatever is obeyed meanwhile.
    pub edition: Arc<Edition>,
    /// Which listener it came through.
    pub listener: usize,
    /// Held until the session begins, or the handshake has to wait.
    pub place: Place,
}

/// Serves one socket until its session begins or its handshake is refused.
pub async fn serve(worker: Rc<Worker>, mut accepted: Accepted) {
    let shared = worker.shared.clone();
    let begun = shared.books.clock.mono();
    let deadline: Instant = shared.books.clock.instant(begun).into();
    let deadline = deadline + accepted.edition.listeners[accepted.listener].handshake_timeout;
    let Some(ends) = proxied::ends(&shared, &mut accepted, begun, deadline).await else { return };
    let Accepted { id, tcp, edition, listener, place, .. } = accepted;
    let listening = &edition.listeners[listener];
    let peer = ends.source.ip();
    // A frame is never held back for the next one.
    let _ = tcp.set_nodelay(true);
    let fail = |deny, why| {
        Attempt::headless(shared.clone(), id, listening.name.clone(), peer, begun)
            .refused(&Denial::new(deny, why), false);
    };
    let stream = match &listening.tls {
        None => Stream::Tcp(tcp),
        Some(acceptor) => {
            let accept = async {
                let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
                // The answer to the hello is what TLS costs: a key exchange and a signature.
                let answer = || {
                    hello.into_stream_with(acceptor.config().clone(), |session| {
                        session.set_buffer_limit(Some(tls::WRITE_BUFFER));
                    })
                };
                worker.turns.take(answer).await.await
            };
            match timeout_at(deadline, accept).await {
                Ok(Ok(stream)) => Stream::Tls(Box::new(TlsStream::Server(stream))),
                Ok(Err(error)) => {
                    let (deny, why) = tls::clients::failure(&error);
                    return fail(deny, why);
                }
                Err(_) => return fail(Deny::HandshakeTimeout, "TLS took longer than handshake_timeout"),
            }
        }
    };
    let handshake = Rc::new(Handshake {
        secure: matches!(stream, Stream::Tls(_)),
        certificate: presented(&stream),
        worker: worker.clone(),
        id,
        edition: edition.clone(),
        listener,
        peer,
        ends,
        accepted: begun,
        head_seen: Cell::new(false),
        place: Cell::new(Some(place)),
        opened: RefCell::new(None),
        told: Cell::new(None),
    });
    match Box::pin(exchange(stream, &handshake, deadline, edition.max_head)).await {
        Exchanged::Done(stream, first) => match (handshake.opened.take(), handshake.told.take()) {
            (Some(handover), _) => begin(&worker, listening.name.clone(), stream, &first, handover),
            (None, Some(told)) => told::close(stream, &first, told).await,
            (None, None) => linger(stream).await,
        },
        Exchanged::Refused(mut stream, denial) => {
            let told = timeout(LINGER.0, stream.write_all(&by_hand::answer(&denial))).await;
            let attempt = Attempt::headless(shared.clone(), id, listening.name.clone(), peer, begun);
            attempt.refused(&denial, matches!(told, Ok(Ok(()))));
            linger(stream).await;
        }
        Exchanged::Lost(Some(why)) => fail(Deny::ClientLost, why),
        Exchanged::Lost(None) => {}
    }
}

/// What became of the one request.
enum Exchanged {
    /// It was answered; the socket is ours again, with what came behind the request.
    Done(Stream, bytes::Bytes),
    /// It never became a request, and has no answer yet.
    Refused(Stream, Denial),
    /// The client is gone: in the midst of the head, or after it, which its handshake has written down.
    Lost(Option<&'static str>),
}

async fn exchange(stream: Stream, handshake: &Rc<Handshake>, deadline: Instant, max_head: usize) -> Exchanged {
    // Every refusal says `Connection: close`. hyper, told to keep no connection alive, would say it in the 101 too, where
    // some clients take `Upgrade` alone.
    let guarded = by_hand::Guarded { stream, handshake: handshake.clone() };
    let mut connection = http1::Builder::new()
        .max_buf_size(max_head)
        .serve_connection(TokioIo::new(guarded), SharedHandshake(handshake.clone()));
    let mut late = Box::pin(sleep_until(deadline));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Some(result));
        }
        // The deadline is the head's: an upstream has its own.
        if !handshake.head_seen.get() && Future::poll(late.as_mut(), cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    let parts = connection.into_parts();
    let stream = parts.io.into_inner().stream;
    let bad = |status, why| Denial { status, ..Denial::new(Deny::BadHandshake, why) };
    match ended {
        Some(Ok(())) => Exchanged::Done(stream, parts.read_buf),
        None => Exchanged::Refused(
            stream,
            Denial::new(Deny::HandshakeTimeout, "the head took longer than handshake_timeout"),
        ),
        Some(Err(error)) if error.is_parse_too_large() => {
            Exchanged::Refused(stream, bad(431, "the head is over max_header_size"))
        }
        Some(Err(error)) if error.is_parse() => Exchanged::Refused(stream, bad(400, "not HTTP/1.1")),
        Some(Err(error)) if error.is_incomplete_message() && !handshake.head_seen.get() => {
            Exchanged::Lost(Some("the client left in the midst of the head"))
        }
        Some(Err(_)) => Exchanged::Lost(None),
    }
}

/// The 101 is out: a small task of its own carries on, and this one ends.
fn begin(worker: &Rc<Worker>, listener: Arc<str>, client: Stream, first: &[u8], handover: Handover) {
    let Handover { attempt, route, admission, upstream } = handover;
    let shared = &worker.shared;
    let books = &shared.books;
    let holder = Holder::from(&admission);
    let live = Live::new(attempt.id(), route.name.clone(), holder, attempt.client(), books.clock.now());
    let trace = attempt.admitted();
    let entry = books.sessions.enter(worker.index, live);
    shared.end_if_revoked(&entry);
    admission.permits.begun(&entry);
    let active = books.metrics.traffic(worker.index, route.slot).enter();
    let exit = Exit::new(books.clone(), listener, route.clone(), entry, active, admission.permits).traced(trace);
    let opened = Opened {
        client: (client, first),
        upstream: (upstream.stream, &upstream.first),
        deflate: upstream.deflate,
        route,
        meters: admission.meters,
    };
    tokio::task::spawn_local(Session::new(opened, exit));
}

/// The certificate that a client presented; of a resumed session the one that it presented first.
fn presented(stream: &Stream) -> Option<Result<Certificate, &'static str>> {
    let Stream::Tls(tls) = stream else { return None };
    let (_, session) = tls.get_ref();
    session.peer_certificates()?.first().map(|leaf| Certificate::parse(leaf))
}

/// Closes a refused client's socket so that it gets to read the answer.
async fn linger(mut stream: Stream) {
    let (time, mut left) = LINGER;
    let drain = async {
        stream.shutdown().await?;
        let mut scrap = [0; 1024];
        while left > 0 {
            let read = stream.read(&mut scrap).await?;
            if read == 0 {
                break;
            }
            left = left.saturating_sub(read);
        }
        Ok::<(), std::io::Error>(())
    };
    // Whatever goes wrong, the socket is closed next.
    let _ = timeout(time, drain).await;
}
