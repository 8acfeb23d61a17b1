//! Spans as OTLP writes them in JSON: protobuf's JSON, but with ids in hex (OTLP specification, "JSON Protobuf Encoding").

use serde_json::{Value as Json, json};

use super::{Kind, Span, Value};
use crate::policy::trace::{Context, text};

/// The body of one request.
pub(super) fn body(service_name: &str, spans: &[Span]) -> Vec<u8> {
    let version = env!("CARGO_PKG_VERSION");
    let resource = attributes(&[("service.name", service_name.into()), ("service.version", version.into())]);
    let spans: Vec<Json> = spans.iter().map(span).collect();
    let scope = json!({ "name": "wsgate", "version": version });
    let all = json!({
        "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{ "scope": scope, "spans": spans }],
        }],
    });
    all.to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    let mut written = json!({
        "traceId": text(&span.context.trace),
        "spanId": text(&span.context.span),
        "name": span.name,
        "kind": kind(span.kind),
        "startTimeUnixNano": nanos(span.start),
        "endTimeUnixNano": nanos(span.end),
        "attributes": attributes(&span.attributes),
        "flags": flags(span.context),
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = text(&parent).into();
    }
    if let Some(link) = span.link {
        let (trace, span) = (text(&link.trace), text(&link.span));
        written["links"] = json!([{ "traceId": trace, "spanId": span, "flags": flags(link) }]);
    }
    if let Some(why) = span.failed {
        // STATUS_CODE_ERROR
        written["status"] = json!({ "code": 2, "message": why });
    }
    written
}

/// Enums are numbers here.
fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
    }
}

/// Those of W3C Trace Context.
fn flags(context: Context) -> u8 {
    u8::from(context.sampled)
}

/// 64 bits are a text, since a number of JSON has 53.
fn nanos(millis: u64) -> String {
    (u128::from(millis) * 1_000_000).to_string()
}

fn attributes(all: &[(&str, Value)]) -> Vec<Json> {
    let value = |value: &Value| match value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Number(number) => json!({ "intValue": number.to_string() }),
    };
    all.iter().map(|(key, said)| json!({ "key": key, "value": value(said) })).collect()
}

/// How many spans of a request that was taken were not (`partialSuccess`).
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer: Json = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or_default()
}
