"""The gateway's binary as a child: its config, its addresses, its log, its counters."""

import contextlib
import json
import os
import ssl
import urllib.error
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from .child import Child, wait_until

BINARY = os.environ.get("WSGATE", "target/debug/wsgate")
# What one handshake or one session's end moves, by exactly one.
ENDS = ("wsgate_handshakes_total", "wsgate_sessions_ended_total")


class Gateway(Child):
    """Started on ports that the system chooses: `address = "127.0.0.1:0"` for each listener in the config's text. It is
    waited for until it is ready, or, if it can't be as yet, until it listens. An `ADMIN_TOKEN` in `env` is what its admin
    listener asks for; `admin` is its address, `admin_keys` are further keys of it, and with `ca` it speaks TLS."""

    def __init__(
        self,
        folder,
        config,
        env=None,
        ready=True,
        admin="127.0.0.1:0",
        admin_keys="",
        ca=None,
        program=BINARY,
        before=(),
        **more,
    ):
        self.file = folder / "gateway.toml"
        self.bearer = (env or {}).get("ADMIN_TOKEN")
        token = 'token = "env:ADMIN_TOKEN"\n' if self.bearer else ""
        self.file.write_text(f'{config}\n[admin]\naddress = "{admin}"\n{token}{admin_keys}')
        super().__init__(*before, program, "run", "--config", self.file, env=env, **more)
        said = [self._said("listening", nth) for nth in range(config.count("[[listen]]"))]
        self.ports = [int(line["address"].rpartition(":")[2]) for line in said]
        self.admin = ("https://" if ca else "http://") + self._said("admin")["address"]
        self._tls = ssl.create_default_context(cafile=ca) if ca else None
        if ready:
            wait_until("the gateway is ready", self.is_ready)

    def _said(self, message, nth=0):
        seen = []

        def match(text):
            line = json.loads(text) if text.startswith("{") else {}
            if line.get("message", "").startswith(message):
                seen.append(line)
            return seen[nth] if len(seen) > nth else None

        return self.err.first(match)

    def url(self, path, listener=0, scheme="ws"):
        return f"{scheme}://127.0.0.1:{self.ports[listener]}{path}"

    def page(self, path, accept="text/plain"):
        """Status and text of one of the admin listener's pages."""
        request = urllib.request.Request(self.admin + path, headers={"Accept": accept})
        if self.bearer:
            request.add_header("Authorization", f"Bearer {self.bearer}")
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._tls) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self):
        return self.page("/readyz")[0] == 200

    def counts(self):
        """Every sample of /metrics, by name and labels."""
        families = text_string_to_metric_families(self.page("/metrics")[1])
        return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}

    def count(self, name, **labels):
        return self.counts()[name, frozenset(labels.items())]

    def is_idle(self):
        """Whether every count of what is held stands at zero, exactly."""
        held = ("wsgate_sessions_active", "wsgate_worker_sessions", "wsgate_handshakes_in_flight", "wsgate_cap_used")
        return all(value == 0 for (name, _), value in self.counts().items() if name in held)

    def __exit__(self, *failure):
        # Whatever happened to it: nothing stays taken, and a stop without sessions is quick and clean.
        try:
            if failure[0] is None and self.process.poll() is None:
                wait_until("all that was held is given back", self.is_idle)
                self.process.terminate()
                assert self.wait() == 0, self.err.tail()
        finally:
            self.stop()

    def line(self, since=0, **fields):
        """The first line of the access log with these fields."""

        def match(text):
            line = json.loads(text)
            return line if fields.items() <= line.items() else None

        return self.out.first(match, since)

    @contextlib.contextmanager
    def counts_one(self, name, **labels):
        """What happens inside moves this counter by one, and no other that counts ends; and leaves one line in the log
        with its reason. Yields a dict that holds the line afterwards."""
        before, since, line = self.counts(), len(self.out), {}
        yield line
        # A line is written after its counters moved: once it is here, they are final.
        reason = labels.get("reason", labels.get("result"))
        line.update(self.line(since, reason=reason))
        after = self.counts()
        moved = {key: after[key] - before[key] for key in after if key[0] in ENDS and after[key] != before[key]}
        # The handshake of a session that ends inside is no refusal.
        admitted = [key for key in moved if ("result", "admitted") in key[1] and name != ENDS[0]]
        assert {key: by for key, by in moved.items() if key not in admitted} == {(name, frozenset(labels.items())): 1}
        assert len(self.out.since(since)) == 1, self.out.since(since)

    def refuses_one(self, reason, route="none"):
        return self.counts_one(ENDS[0], route=route, result=reason)

    def ends_one(self, reason, side, route):
        return self.counts_one(ENDS[1], route=route, side=side, reason=reason)
