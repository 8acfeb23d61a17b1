"""A FastAPI application that learns from the gateway who is there. It has no login, no token and no session of its own.

    GATEWAY_KEY="$(openssl pkey -in keys/assertion.pem -pubout)" uvicorn fastapi-identity:app
"""

import os
from typing import Annotated
from urllib.parse import unquote

import jwt
from fastapi import Depends, FastAPI, WebSocket, WebSocketException, status

app = FastAPI()
# The public half of the key that the gateway signs with.
KEY = os.environ["GATEWAY_KEY"]


@app.websocket("/plain")
async def plain(websocket: WebSocket) -> None:
    """Believes headers: right where nobody but the gateway reaches this port."""
    who = unquote(websocket.headers["x-auth-subject"])
    roles = [unquote(role) for role in websocket.headers.get("x-auth-roles", "").split(",")]
    name = f"{who} (moderator)" if "moderator" in roles else who
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{name}: {text}")


def vouched(websocket: WebSocket) -> dict:
    """What the gateway signed for this handshake; 403 for everybody who did not come through it."""
    assertion = websocket.headers.get("x-auth-assertion", "")
    demands = {"issuer": "wsgate", "audience": "chat", "leeway": 5, "options": {"require": ["exp", "sub"]}}
    try:
        return jwt.decode(assertion, KEY, algorithms=["ES256"], **demands)
    except jwt.InvalidTokenError as error:
        raise WebSocketException(status.WS_1008_POLICY_VIOLATION) from error


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket, room: str, claims: Annotated[dict, Depends(vouched)]) -> None:
    """Believes the signature alone, whoever can reach this port."""
    who = claims.get("email", claims["sub"])
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{who} in {room}: {text}")
