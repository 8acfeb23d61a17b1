"""The backends: uvicorn with the chat, and Node's `ws`."""

import json
import pathlib
import re
import sys

from .child import Child

HERE = pathlib.Path(__file__).resolve().parent.parent


class Chat(Child):
    """The FastAPI chat under uvicorn, as its own documentation starts it."""

    def __init__(self):
        super().__init__(sys.executable, "-m", "uvicorn", "--port", "0", "app:app", cwd=HERE / "chat")
        said = self.err.first(lambda line: re.search(r"running on http://127\.0\.0\.1:(\d+)", line))
        self.port = int(said[1])
        self.url = f"http://127.0.0.1:{self.port}"


class NodeEcho(Child):
    """Node's `ws` as an echo server, with permessage-deflate or without."""

    def __init__(self, deflate):
        super().__init__("node", "backend.js", "deflate" if deflate else "plain", cwd=HERE / "node")
        self.port = self.out.first(json.loads)["port"]
        self.url = f"http://127.0.0.1:{self.port}"
