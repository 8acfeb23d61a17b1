"""A site that knows nothing of a gateway: a page, a login that sets a cookie, a stream of events, a socket."""

import asyncio
import os

import fastapi
import jwt
from fastapi.responses import HTMLResponse, StreamingResponse

app = fastapi.FastAPI()

PAGE = """<!doctype html><title>site</title><h1>the page itself</h1><script>
async function login(name) {
  const answer = await fetch("login", { method: "POST", headers: { "Content-Type": "application/json" },
                                        body: JSON.stringify({ name }) });
  return answer.status;
}
function socket(say) {
  return new Promise((tell) => {
    const socket = new WebSocket(`ws://${location.host}/ws`);
    socket.onopen = () => socket.send(say);
    socket.onmessage = (message) => { tell(message.data); socket.close(1000); };
    socket.onerror = () => tell("refused");
  });
}
function events(wanted) {
  return new Promise((tell) => {
    const source = new EventSource("events"), heard = [];
    source.onmessage = (event) => {
      heard.push(event.data);
      if (heard.length == wanted) { source.close(); tell(heard); }
    };
  });
}
</script>"""


@app.get("/")
def page():
    return HTMLResponse(PAGE)


@app.post("/login")
async def login(request: fastapi.Request, response: fastapi.Response):
    name = (await request.json())["name"]
    token = jwt.encode({"sub": name, "exp": 4_000_000_000}, os.environ["JWT_SECRET"], "HS256")
    response.set_cookie("session", token, httponly=True, samesite="strict")
    return {"hello": name}


@app.get("/events")
async def events(request: fastapi.Request):
    async def stream():
        for number in range(1_000_000):
            yield f"data: {number} for {request.headers.get('x-auth-subject')}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(stream(), media_type="text/event-stream")


@app.api_route("/api/{name}", methods=["GET", "PUT", "POST"])
async def api(name: str, request: fastapi.Request):
    body = await request.body()
    print("api", request.method, name, len(body), flush=True)
    answer = {"method": request.method, "bytes": len(body), "cookies": sorted(request.cookies)}
    return fastapi.responses.JSONResponse(answer, headers={"X-Total": "7", "Access-Control-Allow-Origin": "*"})


@app.post("/size")
async def size(request: fastapi.Request):
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return total


@app.websocket("/ws")
async def talk(socket: fastapi.WebSocket):
    await socket.accept()
    text = await socket.receive_text()
    await socket.send_text(f"{socket.headers.get('x-auth-subject')}: {text}")
