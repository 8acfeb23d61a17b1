//! One request and its answer, on a connection to the upstream of their own.

use std::rc::Rc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use super::upload::{Progress, Upload};
use crate::deny::Deny;
use crate::now::Clock;
use crate::policy::Denial;
use crate::stream::Stream;

/// The task that moves the bytes of one connection; it ends with this.
pub(super) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sends a request, and waits for the head of its answer.
///
/// # Errors
/// `upstream_refused` or `upstream_timeout`; or what is wrong with the request's own body.
pub(super) async fn exchange(
    stream: Stream,
    request: Request<Upload>,
    progress: &Rc<Progress>,
    max_head: usize,
    read_timeout: u64,
    clock: &Clock,
) -> Result<(Response<Incoming>, Driver), Denial> {
    let refused = |why| Denial::new(Deny::UpstreamRefused, why);
    // What it waited for before is not this server's.
    progress.last.set(clock.mono());
    let mut builder = http1::Builder::new();
    builder.max_buf_size(max_head);
    let made = builder.handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = made.map_err(|_| refused("its connection ended"))?;
    // A task, so that an upload goes on while the client takes its time to read the answer. What it ends with is seen
    // where its two bodies end.
    let driver = Driver(tokio::task::spawn_local(async move { drop(connection.await) }));
    let mut answer = std::pin::pin!(sender.send_request(request));
    let response = loop {
        let until = progress.last.get().saturating_add(read_timeout);
        tokio::select! {
            biased;
            response = &mut answer => break response,
            () = sleep_until(clock.instant(until).into()) => {
                if progress.waiting.get() {
                    // The client's turn, not the upstream's.
                    progress.last.set(clock.mono());
                } else if clock.mono() >= progress.last.get().saturating_add(read_timeout) {
                    return Err(Denial::new(Deny::UpstreamTimeout, "read_timeout, before its answer"));
                }
            }
        }
    };
    let response = response.map_err(|_| {
        let of_body = progress.denial.take();
        of_body.unwrap_or(refused("its answer is not HTTP, or its connection ended"))
    })?;
    // Nobody asked it for another protocol.
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused("a 101 to an ordinary request"));
    }
    Ok((response, driver))
}
