"""The recipes of `docs/authentication.md`, as a reader takes them: configs to adapt, commands to paste."""

import os
import pathlib
import re
import subprocess
import textwrap

from .child import PATIENCE
from .gateway import BINARY

ROOT = pathlib.Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs" / "authentication.md").read_text()


def blocks(heading, fence):
    """The blocks with this fence below a heading of the page, in lists too."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    # Opening and closing fences take turns; a block in a list is indented as its fences are.
    parts = re.split(r"^ *```(.*)\n", f"{section}\n", flags=re.MULTILINE)
    return [textwrap.dedent(text) for kind, text in zip(parts[1::4], parts[2::4]) if kind == fence]


def adapted(config, changes):
    """A config of the page with what a reader puts in its place. That each change applies is part of the test."""
    for old, new in {"127.0.0.1:8080": "127.0.0.1:0", "0.0.0.0:8443": "127.0.0.1:0"}.items():
        config = config.replace(old, new)
    for old, new in changes.items():
        assert old in config, (old, config)
        config = config.replace(old, new)
    return config


def commands(console):
    """The commands of a console block, each with what it prints."""
    for one in re.split(r"^\$ ", console, flags=re.MULTILINE)[1:]:
        command, _, printed = one.partition("\n")
        yield command, printed


class Shell:
    """A reader's shell in a folder: `wsgate` is at hand, and the page's addresses are those of this test."""

    def __init__(self, folder, addresses, env=None):
        self.folder, self.addresses = folder, addresses
        programs = folder / "bin"
        programs.mkdir()
        (programs / "wsgate").symlink_to(pathlib.Path(BINARY).resolve())
        self.env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "no_proxy": "*", **(env or {})}

    def run(self, text):
        """All that it prints, on both outputs, and its exit code."""
        for ours, theirs in self.addresses.items():
            text = text.replace(ours, theirs)
        ran = subprocess.run(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * PATIENCE,
        )
        return ran.stdout, ran.returncode
