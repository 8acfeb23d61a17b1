"""An application without a login of its own: it believes what the gateway signed, and no header that anybody could send."""

import os
from typing import Annotated

import jwt
from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect, WebSocketException, status

app = FastAPI()
# The public half of the key that the gateway signs with.
KEY = os.environ["GATEWAY_KEY"]
DEMANDED = {"require": ["exp", "iat", "jti", "sub"]}


def signed(websocket: WebSocket) -> dict:
    """Who asks, as the gateway vouches for it."""
    assertion = websocket.headers.get("x-auth-assertion", "")
    try:
        return jwt.decode(assertion, KEY, algorithms=["ES256"], issuer="wsgate", audience="chat", options=DEMANDED)
    except jwt.InvalidTokenError as error:
        raise WebSocketException(status.WS_1008_POLICY_VIOLATION, "not by the gateway") from error


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket, room: str, claims: Annotated[dict, Depends(signed)]) -> None:
    await websocket.accept()
    headers = [(name, value) for name, value in websocket.headers.items() if "auth" in name.lower()]
    await websocket.send_json({"room": room, "claims": claims, "headers": headers})
    try:
        while True:
            await websocket.send_text(f"{claims['sub']}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        return
