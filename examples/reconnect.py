"""A client that stays connected for as long as its user may: it reads why it was closed, fetches a token, comes back.

REFRESH_TOKEN=.. python reconnect.py wss://chat.example.com/rooms/red https://id.example.com/token
"""

import asyncio
import contextlib
import json
import os
import random
import sys
import time
from urllib import error, parse, request

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

STOP = ("closed", "kicked", "token_forbidden", "origin_missing", "origin_forbidden", "certificate_missing")


def fetch_token(url):
    """A fresh access token (RFC 6749 s6); none once the user is logged out."""
    form = parse.urlencode({"grant_type": "refresh_token", "refresh_token": os.environ["REFRESH_TOKEN"]})
    try:
        return json.load(request.urlopen(url, form.encode(), timeout=10))["access_token"]
    except error.HTTPError as refused:
        if refused.code not in (400, 401):
            raise


async def main(url, token_url):
    failures = 0
    while True:
        began, wait = time.monotonic(), 0
        try:
            if (token := await asyncio.to_thread(fetch_token, token_url)) is None:
                return "logged out"
            async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
                with contextlib.suppress(ConnectionClosed):
                    async for message in socket:
                        print(message, flush=True)
            why = "closed" if socket.close_code == 1000 else socket.close_reason or "lost"
        except InvalidStatus as refused:
            why = refused.response.body.decode().partition(":")[0]
            wait = int(refused.response.headers.get("Retry-After", 0))
        except (OSError, InvalidHandshake) as failed:
            why = str(failed)
        if why in STOP:
            return why
        failures = 0 if time.monotonic() - began > 10 else failures + 1
        # A token that is over is no failure, unless the next one is refused too.
        if not why.startswith("token_") or failures > 1:
            wait += random.uniform(0, min(60, 2**failures))
        print(f"{why}: again in {wait:.1f} s", flush=True)
        await asyncio.sleep(wait)


print(asyncio.run(main(*sys.argv[1:])))
