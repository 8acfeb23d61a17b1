"""The files for service managers: systemd's own judgement of the units, and the manifest beside the code."""

import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from parts.child import PATIENCE
from parts.gateway import BINARY

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What `systemd-analyze security` calls it, in tenths; less is better.
EXPOSURE = 20


@pytest.fixture
def units(tmp_path):
    """Copies that name the binary which is tested."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units are not checked")
    binary = str(pathlib.Path(BINARY).resolve())
    for name in ("wsgate.service", "wsgate.socket"):
        text = (ROOT / "systemd" / name).read_text()
        (tmp_path / name).write_text(text.replace("/usr/local/bin/wsgate", binary))
    return tmp_path


def analyze(folder, *arguments):
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)


def test_systemd_understands_the_units(units):
    ran = analyze(units, "verify", "./wsgate.service", "./wsgate.socket")
    assert (ran.returncode, ran.stderr.strip()) == (0, ""), ran.stderr
    # That it says something of what is wrong.
    text = (units / "wsgate.service").read_text()
    (units / "wsgate.service").write_text(text.replace("PrivateTmp=yes", "PrivateTpm=yes"))
    assert "PrivateTpm" in analyze(units, "verify", "./wsgate.service").stderr


def test_the_service_is_exposed_as_little_as_the_documentation_says(units):
    ran = analyze(units, "security", "--offline=true", f"--threshold={EXPOSURE}", "./wsgate.service")
    assert ran.returncode == 0, ran.stdout[-2000:]
    [exposure] = re.findall(r"Overall exposure level for wsgate.service: ([\d.]+)", ran.stdout)
    assert f"{exposure} of 10" in (ROOT / "docs/operations.md").read_text()


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def test_the_manifest_fits_its_config_and_the_program(tmp_path):
    documents = list(yaml.safe_load_all((ROOT / "docker/kubernetes/wsgate.yaml").read_text()))
    kinds = {document["kind"]: document for document in documents}
    assert set(kinds) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    config = kinds["ConfigMap"]["data"]["gateway.toml"]
    pod = kinds["Deployment"]["spec"]["template"]
    [container] = pod["spec"]["containers"]
    # The config compiles, but for the certificate that a secret mounts.
    (tmp_path / "gateway.toml").write_text(re.sub(r"(?m)^tls = .*$", "", config))
    ran = subprocess.run(
        [BINARY, "check", "--config", tmp_path / "gateway.toml"],
        env={"JWT_SECRET": "x" * 32},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ran.returncode == 0, ran.stderr
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert container["args"] == ["run", "--config", f"{mounts['config']}/gateway.toml"]
    assert all("subPath" not in mount for mount in container["volumeMounts"])
    assert {pathlib.Path(file).parent for file in re.findall(r'"(/[^"]*tls\.\w+)"', config)} == {pathlib.Path(mounts["tls"])}
    # Ports.
    [port] = container["ports"]
    assert f':{port["containerPort"]}"' in config
    assert [one["targetPort"] for one in kinds["Service"]["spec"]["ports"]] == [port["name"]]
    assert kinds["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    admin = re.search(r'\[admin\]\naddress = "([^"]+)"', config)[1]
    asked = {name: container[name]["exec"]["command"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    paths = {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    for name, command in asked.items():
        assert command == ["/usr/local/bin/wsgate", "health", "--url", f"http://{admin}{paths[name]}"]
    # What the program has of these.
    options = subprocess.run([BINARY, "health", "--help"], capture_output=True, text=True, check=True).stdout
    assert "--url" in options
    # Time enough: preStop, the drain, and the longest close_timeout, which is the default one, and a second.
    drain = seconds(re.search(r'drain_timeout = "([^"]+)"', config)[1])
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] >= before + drain + 5 + 1
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
