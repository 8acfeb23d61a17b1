//! Answers to heads that never became a request.

use http::StatusCode;

use crate::policy::Denial;

/// The whole answer to a handshake that was refused before it was read.
pub(super) fn answer(denial: &Denial) -> Vec<u8> {
    let row = denial.deny.row();
    let body = format!("{}: {}\n", row.label, row.sentence);
    let reason = StatusCode::from_u16(denial.status).ok().and_then(|status| status.canonical_reason());
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        denial.status,
        reason.unwrap_or_default(),
        body.len()
    )
    .into_bytes()
}
