"""Python `websockets` as the client."""

import websockets.exceptions
import websockets.sync.client

from .child import PATIENCE


def open_chat(url, token=None, headers=None, **more):
    """A connection with the token as `Authorization: Bearer`. It never goes through a proxy of the environment."""
    headers = dict(headers or {})
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    more = {"proxy": None, "open_timeout": PATIENCE, "close_timeout": PATIENCE, "max_size": None, **more}
    return websockets.sync.client.connect(url, additional_headers=headers, **more)


def refusal(url, token=None, **more):
    """The answer to a handshake that is refused."""
    try:
        with open_chat(url, token, **more):
            raise AssertionError("it was admitted")
    except websockets.exceptions.InvalidStatus as refused:
        return refused.response


def close_of(connection):
    """Code and reason of the Close that comes once everything before it is read."""
    try:
        while True:
            connection.recv(timeout=PATIENCE)
    except websockets.exceptions.ConnectionClosed as closed:
        assert closed.rcvd is not None, "the connection ended without a Close"
        return closed.rcvd.code, closed.rcvd.reason
