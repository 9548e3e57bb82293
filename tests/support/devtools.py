"""A page in a headless Chromium, driven by the DevTools protocol: real keys, real clicks, and what WebSockets carry."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.browser import chromium

_PATIENCE_S = 60.0


class Page:
    """A page; `received` is the text that came over its WebSockets."""

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._numbers = count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.received = ""

    async def listen(self) -> None:
        """Take in what the browser reports, until its connection ends."""
        async for message in self._connection:
            report = message.json()
            if "id" in report:
                self._replies.pop(report["id"]).set_result(report.get("result", report))
            elif report["method"] == "Network.webSocketFrameReceived":
                frame = report["params"]["response"]
                binary = frame["opcode"] == 2
                data = base64.b64decode(frame["payloadData"]) if binary else frame["payloadData"].encode()
                self.received += data.decode("utf-8", "replace")

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        """Return the result of a command of the protocol."""
        number = next(self._numbers)
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        await self._connection.send_json({"id": number, "method": method, "params": params})
        return await asyncio.wait_for(reply, _PATIENCE_S)

    async def value(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return (await self.call("Runtime.evaluate", expression=expression, returnByValue=True))["result"].get("value")

    async def press(self, key: str) -> None:
        """Type a printable key, wherever the focus is."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def click(self, x: float, y: float) -> None:
        """Click at a place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until the condition holds."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_S
        while not condition():
            assert asyncio.get_running_loop().time() < deadline, f"{what}; received: {self.received[-2000:]}"
            await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(address: str, directory: Path) -> AsyncIterator[Page]:
    """Open the address in a new browser, which has its files in the directory."""
    argv = chromium(directory, "--window-size=1000,700", "--remote-debugging-port=0", "about:blank")
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    try:
        async with aiohttp.ClientSession() as session:
            url = await _debugger_of_page(process, session)
            connection = await session.ws_connect(url, max_msg_size=0)
            page = Page(connection)
            listener = asyncio.create_task(page.listen())
            try:
                await page.call("Network.enable")
                await page.call("Page.navigate", url=address)
                yield page
            finally:
                listener.cancel()
    finally:
        process.terminate()
        await process.communicate()


async def _debugger_of_page(process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> str:
    assert process.stderr is not None
    while not (found := re.search(rb"listening on ws://([^/]+)/", await process.stderr.readline())):
        assert process.returncode is None
    async with session.get(f"http://{found[1].decode()}/json/list") as response:
        [target] = [one for one in await response.json() if one["type"] == "page"]
        return str(target["webSocketDebuggerUrl"])
