//! What the demo says on the terminal before the access log's lines.

use std::env;

use super::folder::Folder;
use super::setup::{LONG, PASTED, Places, Signer};

/// 16 bytes in base64, as every handshake needs (RFC 6455 s4.1); a fixed one does for a line to paste.
const KEY: &str = "d3NnYXRlIGRlbW8ga2V5IQ==";

/// The text, with two fresh tokens in it.
pub(super) fn welcome(at: &Places, folder: &Folder, signer: &Signer) -> Result<String, String> {
    // As it was called, so that what is pasted calls the same: it need not be installed.
    let program = env::args().next().unwrap_or_else(|| "wsgate".to_owned());
    let admin = at.admin.map_or_else(|| "none".to_owned(), |address| format!("http://{address}/"));
    Ok(format!(
        "\
wsgate demo: an echo server with the gateway before it, on this machine alone

  page      http://{page}/         connect, send and flood from a browser
  plain     ws://{plain}/ws
  TLS       wss://{tls}/ws
  admin     {admin}         the operator's page; /metrics  /connections  /healthz  /readyz

  /ws takes 5 messages a second and a burst of 10, then closes with 4029; /ws/delay waits, /ws/drop drops.
  /ws/told is as /ws, and tells a refusal by a Close, which a browser's script can read; the others by a status.
  Each takes 2 handshakes a second from an address and a burst of 5, 3 sessions of a subject, 64 KiB a message.

To paste into another terminal:

CA={authority}
TOKEN={long}

# a handshake: 101 with the token, 403 without it
curl --http1.1 -i -N --max-time 2 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \\
  -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: {KEY}' \\
  --cacert $CA -H \"Authorization: Bearer $TOKEN\" https://{tls}/ws

# a conversation: each line comes back
{program} connect --ca $CA --token $TOKEN wss://{tls}/ws

# the end of a token: closed: 4001 token_expired, {PASTED} seconds from now; the second line signs a fresh one
{program} connect --linger 1m --token {short} ws://{plain}/ws </dev/null
{program} token --secret file:{secret} --sub me --lifetime 20s

Ctrl-C drains and ends. From here on: one line for each handshake refused and each session ended.

",
        page = at.page,
        plain = at.plain,
        tls = at.tls,
        authority = folder.authority().display(),
        secret = folder.secret_file().display(),
        long = signer.token("me", LONG)?,
        short = signer.token("me", PASTED)?,
    ))
}
