"""An ASGI application that takes jobs and works at them for a while, as an API for reports or videos does."""

import asyncio
import itertools
import json
import time

WORK_S = 0.8
_numbers = itertools.count(1)
_begun: dict[str, tuple[float, str]] = {}


async def app(scope, receive, send):
    """Answer one request, and the events of the server's own life."""
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": f"{event}.complete"})
            if event == "lifespan.shutdown":
                return
    body = await body_of(receive)
    status, headers, document = await answer(scope["method"], scope["path"], scope["http_version"], body)
    head = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


async def body_of(receive) -> bytes:
    """Return the whole body of the request."""
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body"):
            return body


async def answer(method, path, version, body):
    """Return status, headers and document."""
    if path == "/health":
        return 200, [], {"status": "ok", "protocol": version}
    if path == "/slow":
        await asyncio.sleep(30)
    if path == "/jobs" and method == "POST":
        number = str(next(_numbers))
        fails = json.loads(body or b"{}").get("fails", False)
        _begun[number] = (time.monotonic(), "failed" if fails else "done")
        return 202, [(b"location", b"/jobs/" + number.encode())], {"id": number, "state": "queued"}
    kind, _, number = path.strip("/").partition("/")
    if kind != "jobs" or number not in _begun:
        return 404, [], {"error": "not found"}
    if method == "DELETE":
        del _begun[number]
        return 200, [], {}
    since, end = _begun[number]
    age = time.monotonic() - since
    state = end if age > WORK_S else "running" if age > WORK_S / 2 else "queued"
    return 200, [], {"id": number, "state": state, "progress": min(100, int(100 * age / WORK_S))}
