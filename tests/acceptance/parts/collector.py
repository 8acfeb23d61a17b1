"""A collector of OpenTelemetry spans that reads them with OpenTelemetry's own protobuf types, and refuses what these do not
know."""

import base64
import collections
import http.server
import json
import queue
import threading

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .child import PATIENCE

# OTLP writes these in hex where protobuf's JSON has base64.
IDS = ("traceId", "spanId", "parentSpanId")


def _in_base64(said):
    if isinstance(said, dict):
        return {
            key: base64.b64encode(bytes.fromhex(value)).decode() if key in IDS else _in_base64(value)
            for key, value in said.items()
        }
    return [_in_base64(one) for one in said] if isinstance(said, list) else said


class Span:
    """One span, as a test looks at it."""

    def __init__(self, span, resource):
        self.name, self.kind, self.error = span.name, span.kind, span.status.message if span.status.code == 2 else None
        self.trace, self.id, self.parent = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
        self.links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.attributes, self.resource = _plain(span.attributes), _plain(resource.attributes)

    def __repr__(self):
        return f"{self.name} {self.trace} {self.id} < {self.parent} {self.attributes}"


def _plain(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


class Collector:
    """Takes OTLP in JSON at /v1/traces. `statuses` are answered first, one to a request, and those are not taken."""

    def __init__(self):
        self.statuses, self.headers, self.seen = collections.deque(), [], []
        self._spans = queue.SimpleQueue()
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.headers.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                status = collector.statuses.popleft() if collector.statuses else 200
                if status == 200:
                    collector._take(body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, body):
        request = ParseDict(_in_base64(json.loads(body)), ExportTraceServiceRequest())
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    self._spans.put(Span(span, of_resource.resource))

    def first(self, match, patience=PATIENCE):
        """The first span, of those that were not taken out yet, that `match` is true of."""
        for at, span in enumerate(self.seen):
            if match(span):
                return self.seen.pop(at)
        while True:
            try:
                span = self._spans.get(timeout=patience)
            except queue.Empty:
                raise AssertionError(f"no such span; there were {self.seen}") from None
            if match(span):
                return span
            self.seen.append(span)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
