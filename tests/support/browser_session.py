"""A headless Chromium that does what a person does with a page: points, clicks, downloads, looks."""

import base64
import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tests.support.programs import needs


class Browser:
    """A tab, driven through DevTools on a pipe: JSON that ends with NUL, commands in, answers and events out."""

    def __init__(self, commands: int, answers: BinaryIO) -> None:
        self._commands = commands
        self._answers = answers
        self._count = 0
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the result of a command. Raise RuntimeError if there is none."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        found = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium has ended")
            found += byte
        message: dict[str, Any] = json.loads(found)
        return message

    def open(self, page: Path, *, width: int, height: int = 1000, dark: bool = False) -> None:
        """Show a file, and wait until it is laid out."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.enable")
        self.call("Page.navigate", url=page.as_uri())
        self.run("new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))")

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def place_of(self, script: str) -> tuple[float, float]:
        """Return the middle of an element, scrolled into view."""
        box = f"(() => {{ const e = {script}; e.scrollIntoView({{ block: 'center' }}); "
        box += "const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        x, y = self.run(box)
        return x, y

    def point_at(self, script: str, *, click: bool = False) -> None:
        """Move the pointer to the middle of an element, and click there if asked."""
        x, y = self.place_of(script)
        for kind in ("mouseMoved", *(("mousePressed", "mouseReleased") if click else ())):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def picture(self, file: Path) -> None:
        """Save a picture of the whole page."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(shot["data"]))


def _high(descriptor: int) -> int:
    """Return a copy of a descriptor that is neither 3 nor 4; the descriptor itself is closed."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy


@contextlib.contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Yield a browser that downloads to this directory."""
    ours_in, theirs_out = map(_high, os.pipe())
    theirs_in, ours_out = map(_high, os.pipe())
    argv = [
        needs("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        f"--user-data-dir={directory / 'browser'}", "--remote-debugging-pipe",
    ]  # fmt: skip
    through = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash"]  # where Chromium expects them
    process = subprocess.Popen(
        [*through, *argv], pass_fds=(theirs_in, theirs_out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        with os.fdopen(ours_in, "rb") as answers:
            found = Browser(ours_out, answers)
            found.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(directory))
            yield found
    finally:
        process.terminate()
        process.wait(20)
        os.close(ours_out)
