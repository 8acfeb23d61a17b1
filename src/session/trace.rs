//! What a trace gets to know of a session: one span when it ends.
//!
//! A span that lasts as long as a socket would be known days after its trace was looked at, so this one has no length. It
//! is a trace of its own, with a link to the handshake.

use super::exit::End;
use super::live::Live;
use crate::deny::{Deny, Direction};
use crate::now::Now;
use crate::policy::trace::Context;
use crate::spans::{Kind, Span, Spans, fresh};

/// Puts the span in.
pub(super) fn ended(spans: &Spans, handshake: Context, live: &Live, end: End, now: Now) {
    let Some(ids) = fresh() else { return };
    let counted = |counters: &[crate::metrics::Counter; 2], direction: Direction| counters[direction.index()].get();
    let mut attributes = vec![
        ("wsgate.connection_id", live.id.to_string().into()),
        ("wsgate.route", (*live.route).into()),
        ("wsgate.side", end.side.label().into()),
        ("wsgate.reason", end.reason.map_or("closed", Deny::label).into()),
        ("wsgate.duration_ms", now.mono.saturating_sub(live.since.mono).into()),
        ("wsgate.messages_to_upstream", counted(&live.messages, Direction::ToUpstream).into()),
        ("wsgate.messages_to_client", counted(&live.messages, Direction::ToClient).into()),
        ("wsgate.bytes_to_upstream", counted(&live.bytes, Direction::ToUpstream).into()),
        ("wsgate.bytes_to_client", counted(&live.bytes, Direction::ToClient).into()),
    ];
    attributes.extend(end.code.map(|code| ("wsgate.close_code", u64::from(code).into())));
    spans.push(Span {
        context: Context { trace: ids.trace, span: ids.span, sampled: true },
        parent: None,
        link: Some(handshake),
        name: "session ended".to_owned(),
        kind: Kind::Internal,
        start: now.wall,
        end: now.wall,
        attributes,
        failed: end.reason.filter(|reason| *reason == Deny::Internal).map(Deny::label),
    });
}
