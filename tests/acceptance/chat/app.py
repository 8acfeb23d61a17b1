"""A chat as people write it: rooms, broadcast, who is there. It knows nothing of a gateway but one header's name."""

from collections import defaultdict

from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse

app = FastAPI()
rooms: dict[str, set[WebSocket]] = defaultdict(set)


async def broadcast(room: str, message: dict) -> None:
    for member in list(rooms[room]):
        await member.send_json(message)


@app.websocket("/rooms/{room}")
async def chat(websocket: WebSocket, room: str) -> None:
    if room == "staff":
        # Closed before it was accepted: the framework answers 403.
        await websocket.close()
        return
    if room == "nowhere":
        await websocket.send_denial_response(JSONResponse({"detail": "no such room"}, status_code=404))
        return
    offered = websocket.scope["subprotocols"]
    await websocket.accept(subprotocol="chat.v2" if "chat.v2" in offered else None)
    who = websocket.headers.get("x-auth-subject", "somebody")
    rooms[room].add(websocket)
    await broadcast(room, {"joined": who})
    try:
        while True:
            await broadcast(room, {"from": who, "text": await websocket.receive_text()})
    except WebSocketDisconnect as left:
        rooms[room].discard(websocket)
        await broadcast(room, {"left": who, "code": left.code})


@app.websocket("/headers")
async def headers(websocket: WebSocket) -> None:
    """Tells what the application got to see of the handshake, then leaves."""
    await websocket.accept()
    await websocket.send_json({"headers": websocket.headers.items(), "target": str(websocket.url)})
    await websocket.close(code=1000)


@app.websocket("/leave/{code}")
async def leave(websocket: WebSocket, code: int) -> None:
    await websocket.accept()
    await websocket.close(code=code, reason="the application says goodbye")


@app.websocket("/large/{size}")
async def large(websocket: WebSocket, size: int) -> None:
    await websocket.accept()
    await websocket.send_text("ü" * (size // 2))
    await websocket.receive_text()
