//! One accepted socket up to its session: TLS and the first head under one deadline; one request or several, each
//! through a hyper of its own; and the socket taken back. The task that runs this ends where the session's begins.

mod by_hand;
mod inlet;
mod message;
mod proxied;
mod turn;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::{LazyConfigAcceptor, TlsStream};

use crate::deny::Deny;
use crate::gateway::{Carries, Edition, ListenerTls, Place, Worker};
use crate::handshake::record::Attempt;
use crate::handshake::{Handover, Handshake, SharedHandshake, told};
use crate::id::Id;
use crate::policy::Denial;
use crate::policy::certificate::Certificate;
use crate::policy::proxy_protocol::Ends;
use crate::policy::raw::{Head, bad};
use crate::reload;
use crate::session::exit::Exit;
use crate::session::live::Live;
use crate::session::live::holder::Holder;
use crate::session::{Opened, Session};
use crate::stream::Stream;
use crate::tls;
use inlet::{Inlet, NoHead};
use message::Message;

pub use turn::Turn;

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
    /// The config that its first request is judged by, whatever is obeyed meanwhile.
    pub edition: Arc<Edition>,
    /// Which listener it came through.
    pub listener: usize,
    /// Held until the session begins, or the handshake has to wait.
    pub place: Place,
}

/// One connection, as it is from one request to the next.
struct Line {
    worker: Rc<Worker>,
    id: Id,
    peer: IpAddr,
    ends: Ends,
    /// The config of the moment.
    edition: Arc<Edition>,
    listener: usize,
    secure: bool,
    certificate: Rc<Option<Result<Certificate, &'static str>>>,
    carrying: Rc<Cell<Option<Carries>>>,
    /// When the socket was accepted, or the request of the moment began.
    begun: u64,
}

/// Serves one socket until its session begins or it is closed.
pub async fn serve(worker: Rc<Worker>, mut accepted: Accepted) {
    let shared = worker.shared.clone();
    let begun = shared.books.clock.mono();
    let deadline = Instant::from(shared.books.clock.instant(begun));
    let deadline = deadline + accepted.edition.listeners[accepted.listener].handshake_timeout;
    let Some(ends) = proxied::ends(&shared, &mut accepted, begun, deadline).await else { return };
    let Accepted { id, tcp, edition, listener, place, .. } = accepted;
    let (secure, certificate, carrying) = (edition.listeners[listener].tls.is_some(), Rc::default(), Rc::default());
    let peer = ends.source.ip();
    let mut line = Line { worker, id, peer, ends, edition, listener, secure, certificate, carrying, begun };
    // A frame is never held back for the next one.
    let _ = tcp.set_nodelay(true);
    let Some(stream) = line.secured(tcp).await else { return };
    line.certificate = Rc::new(presented(&stream));
    Box::pin(line.talk(stream, place)).await;
}

/// What became of one request.
enum Exchanged {
    /// It was answered, and the connection goes on.
    Again(Inlet),
    /// It was answered; the socket is ours again, with what came behind the request and what of a 101 is not sent yet.
    Done(Inlet, Vec<u8>),
    /// It never became a request, and has no answer yet.
    Refused(Stream, Denial),
    /// The client is gone, which its handshake has written down.
    Lost,
}

impl Line {
    fn deadline(&self) -> Instant {
        let begun = Instant::from(self.worker.shared.books.clock.instant(self.begun));
        begun + self.edition.listeners[self.listener].handshake_timeout
    }

    fn headless(&self) -> Attempt {
        let name = self.edition.listeners[self.listener].name.clone();
        Attempt::headless(self.worker.shared.clone(), self.id, name, self.peer, self.begun)
    }

    fn fail(&self, deny: Deny, why: &'static str) {
        self.headless().refused(&Denial::new(deny, why), false);
    }

    /// Through TLS, if the listener speaks it.
    async fn secured(&self, tcp: TcpStream) -> Option<Stream> {
        let Some(ListenerTls { acceptor, .. }) = &self.edition.listeners[self.listener].tls else {
            return Some(Stream::Tcp(tcp));
        };
        let accept = async {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
            // The answer to the hello is what TLS costs: a key exchange and a signature.
            let answer = || {
                hello.into_stream_with(acceptor.config().clone(), |session| {
                    session.set_buffer_limit(Some(tls::WRITE_BUFFER));
                })
            };
            self.worker.turns.take(answer).await.await
        };
        let (deny, why) = match timeout_at(self.deadline(), accept).await {
            Ok(Ok(stream)) => return Some(Stream::Tls(Box::new(TlsStream::Server(stream)))),
            Ok(Err(error)) => tls::clients::failure(&error),
            Err(_) => (Deny::HandshakeTimeout, "TLS took longer than handshake_timeout"),
        };
        self.fail(deny, why);
        None
    }

    /// One request after the other.
    async fn talk(mut self, stream: Stream, place: Place) {
        let mut place = Some(place);
        let mut inlet = Inlet::new(stream, self.edition.max_head);
        for number in 1.. {
            if number > 1 && !self.another(&mut inlet).await {
                return linger(inlet.stream).await;
            }
            let head = match timeout_at(self.deadline(), inlet.head()).await {
                Ok(Ok(head)) => head,
                Ok(Err(NoHead::Bad(denial))) => return self.refuse(inlet.stream, denial).await,
                Ok(Err(NoHead::Left { begun: true })) => {
                    return self.fail(Deny::ClientLost, "the client left in the midst of the head");
                }
                Ok(Err(NoHead::Left { begun: false })) => return,
                Err(_) => {
                    let late = Denial::new(Deny::HandshakeTimeout, "the head took longer than handshake_timeout");
                    return self.refuse(inlet.stream, late).await;
                }
            };
            let held = match place.take() {
                Some(place) => Some(place),
                None => self.next_place().await,
            };
            let Some(held) = held else { return linger(inlet.stream).await };
            let handshake = Rc::new(self.handshake(held, number));
            match exchange(inlet, &head, &handshake).await {
                Exchanged::Again(next) => inlet = next,
                Exchanged::Done(inlet, unsent) => return self.finish(inlet, unsent, &handshake).await,
                Exchanged::Refused(stream, denial) => return self.refuse(stream, denial).await,
                Exchanged::Lost => return,
            }
        }
    }

    /// Waits for the next request, which the config of that moment will judge.
    async fn another(&mut self, inlet: &mut Inlet) -> bool {
        let shared = &self.worker.shared;
        let patience = self.edition.listeners[self.listener].keepalive_timeout;
        let mut phase = shared.phase.subscribe();
        tokio::select! {
            stirred = inlet.stir() => if stirred.is_err() || inlet.ahead.is_empty() { return false },
            () = sleep(patience) => return false,
            _ = phase.wait_for(|phase| !phase.accepts()) => return false,
        }
        self.begun = shared.books.clock.mono();
        let edition = shared.edition();
        // Listeners keep their places as long as the gateway runs.
        if edition.listeners.len() == self.edition.listeners.len() {
            self.edition = edition;
        }
        true
    }

    /// A place among the handshakes under way, as a new connection would get one.
    async fn next_place(&self) -> Option<Place> {
        let shared = &self.worker.shared;
        let share = shared.handshake_share(&self.edition, self.peer)?;
        let place = timeout_at(self.deadline(), shared.handshakes.clone().acquire_owned()).await.ok()?.ok()?;
        Some(Place::new(place, share))
    }

    fn handshake(&self, place: Place, number: usize) -> Handshake {
        Handshake {
            worker: self.worker.clone(),
            id: self.id,
            edition: self.edition.clone(),
            listener: self.listener,
            peer: self.peer,
            ends: self.ends,
            secure: self.secure,
            certificate: self.certificate.clone(),
            accepted: self.begun,
            turn: Rc::default(),
            may_keep: number < self.edition.listeners[self.listener].keepalive_requests,
            carrying: self.carrying.clone(),
            place: Cell::new(Some(place)),
            opened: RefCell::new(None),
            told: Cell::new(None),
        }
    }

    /// It was the last request.
    async fn finish(self, inlet: Inlet, unsent: Vec<u8>, handshake: &Handshake) {
        let Inlet { mut stream, ahead, .. } = inlet;
        let patience = handshake.turn.send_timeout.get();
        let sent = async {
            stream.write_all(&unsent).await?;
            stream.flush().await
        };
        if !unsent.is_empty() && !matches!(timeout(patience, sent).await, Ok(Ok(()))) {
            // Whoever waited for the 101 is lost: the handshake writes that down as it drops.
            return;
        }
        let name = self.edition.listeners[self.listener].name.clone();
        match (handshake.opened.take(), handshake.told.take()) {
            (Some(handover), _) => begin(&self.worker, &self.edition, name, stream, &ahead, handover),
            (None, Some(told)) => told::close(stream, &ahead, told).await,
            (None, None) => linger(stream).await,
        }
    }

    /// Answers what never became a request.
    async fn refuse(self, mut stream: Stream, denial: Denial) {
        let told = timeout(LINGER.0, async {
            stream.write_all(&by_hand::answer(&denial)).await?;
            stream.flush().await
        });
        let told = told.await;
        self.headless().refused(&denial, matches!(told, Ok(Ok(()))));
        linger(stream).await;
    }
}

async fn exchange(inlet: Inlet, head: &Head, handshake: &Rc<Handshake>) -> Exchanged {
    let turn = handshake.turn.clone();
    // Every refusal says `Connection: close`. hyper, told to keep no connection alive, would say it in the 101 too, where
    // some clients take `Upgrade` alone.
    let mut connection = http1::Builder::new()
        .max_buf_size(handshake.edition.max_head)
        .serve_connection(TokioIo::new(Message::new(inlet, head, turn.clone())), SharedHandshake(handshake.clone()));
    let ended = poll_fn(|cx| {
        if let Poll::Ready(result) = connection.poll_without_shutdown(cx) {
            return Poll::Ready(Some(result));
        }
        if turn.is_over() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await;
    let message = connection.into_parts().io.into_inner();
    let is_whole = message.is_whole();
    let Message { inlet, unsent, .. } = message;
    match ended {
        None if is_whole => Exchanged::Again(inlet),
        None | Some(Ok(())) => Exchanged::Done(inlet, unsent),
        Some(Err(_)) if turn.head_seen.get() => Exchanged::Lost,
        Some(Err(error)) if error.is_parse_too_large() => {
            Exchanged::Refused(inlet.stream, Denial { status: 431, ..bad("the head is over max_header_size") })
        }
        Some(Err(_)) => Exchanged::Refused(inlet.stream, bad("not HTTP/1.1")),
    }
}

/// The 101 is out: a small task of its own carries on, and this one ends.
fn begin(
    worker: &Rc<Worker>,
    edition: &Arc<Edition>,
    listener: Arc<str>,
    client: Stream,
    first: &[u8],
    handover: Handover,
) {
    let Handover { attempt, route, mut admission, upstream, lease } = handover;
    let shared = &worker.shared;
    let books = &shared.books;
    let holder = Holder::from(&mut admission);
    let server = lease.server().clone();
    let live = Live::new(attempt.id(), route.name.clone(), server.clone(), holder, attempt.client(), books.clock.now());
    let trace = attempt.admitted();
    let entry = books.sessions.enter(worker.index, live);
    shared.end_if_revoked(&entry);
    reload::end_if_changed(shared, edition, &entry);
    // Who takes a server out ends those who are listed, and this one was not.
    if server.is_drained() {
        entry.order(Deny::UpstreamDrained);
    }
    admission.permits.begun(&entry);
    let active = books.metrics.traffic(worker.index, route.slot).enter();
    let exit =
        Exit::new(books.clone(), listener, route.clone(), entry, active, (admission.permits, lease)).traced(trace);
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
