"""A chat in one room, which knows nothing of the gateway but a header: who is speaking."""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
members: set[WebSocket] = set()


async def say(text: str) -> None:
    for member in list(members):
        await member.send_text(text)


@app.websocket("/ws")
async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    who = websocket.headers.get("x-auth-subject", "somebody")
    members.add(websocket)
    try:
        await say(f"{who} is here")
        while True:
            await say(f"{who}: {await websocket.receive_text()}")
    except WebSocketDisconnect:
        pass
    finally:
        members.discard(websocket)
        await say(f"{who} has left")
