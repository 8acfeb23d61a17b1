"""The chat with OpenTelemetry's own instrumentation around it: each span that it makes is a line of JSON."""

import json
import sys

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

import app as chat


def line(span):
    said = {"name": span.name, "trace": f"{span.context.trace_id:032x}", "state": span.context.trace_state.to_header()}
    said["parent"] = span.parent and f"{span.parent.span_id:016x}"
    return json.dumps(said) + "\n"


# Its sampler is the usual one: a parent's word, and everything else.
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stdout, formatter=line)))
app = OpenTelemetryMiddleware(chat.app, tracer_provider=provider)
