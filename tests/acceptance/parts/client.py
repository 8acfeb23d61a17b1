"""Python `websockets` as the client."""

import asyncio
import contextlib

import websockets.asyncio.client
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


def _over_tls(url, context, port, token, talk):
    """What `talk` makes of the connection. Whatever host the URL names is looked for here.

    On one thread: until Python 3.13 a TLS socket may not be read in one thread while another writes to it, and that is
    what the other client does."""

    async def connect():
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        where = {"ssl": context, "host": "127.0.0.1", "port": port, "proxy": None, "open_timeout": PATIENCE}
        async with websockets.asyncio.client.connect(url, additional_headers=headers, max_size=None, **where) as connection:
            return await talk(connection)

    return asyncio.run(asyncio.wait_for(connect(), 2 * PATIENCE))


def talk_over_tls(url, context, port, messages, token=None):
    """The TLS version, and what came first and after each message."""

    async def talk(connection):
        heard = [await connection.recv()]
        for message in messages:
            await connection.send(message)
            heard.append(await connection.recv())
        return connection.transport.get_extra_info("ssl_object").version(), heard

    return _over_tls(url, context, port, token, talk)


def close_over_tls(url, context, port, token=None):
    """Code and reason of the Close that comes."""

    async def talk(connection):
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            while True:
                await connection.recv()
        return connection.close_code, connection.close_reason

    return _over_tls(url, context, port, token, talk)


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
