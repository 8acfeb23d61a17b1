"""A real Prometheus, and promtool, as `ci/setup` unpacked them."""

import json
import pathlib
import urllib.parse
import urllib.request

from .child import Child, free_port

TOOLS = pathlib.Path(__file__).resolve().parents[3] / ".tools/prometheus/usr/bin"
PROMTOOL = TOOLS / "promtool"


class Prometheus(Child):
    """Scrapes one target each second, under the name of job that the rules ask for, and evaluates the `rules` as often."""

    def __init__(self, folder, target, rules=()):
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            f"rule_files: {json.dumps([str(file) for file in rules])}\n"
            f"scrape_configs: [{{job_name: wsgate, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"]
        options += ["--enable-feature=exemplar-storage"]
        super().__init__(TOOLS / "prometheus", *options, cwd=folder)
        self.err.first(lambda line: "Server is ready to receive web requests" in line)

    def get(self, path, **parameters):
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """The values of an instant query, by their labels without those that Prometheus adds."""
        result = self.get("/api/v1/query", query=expression)["result"]
        added = ("__name__", "instance", "job")
        return {
            tuple(sorted((name, value) for name, value in one["metric"].items() if name not in added)): float(one["value"][1])
            for one in result
        }

    def metrics(self):
        """The names of all series that it has."""
        return set(self.get("/api/v1/label/__name__/values"))
