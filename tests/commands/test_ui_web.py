"""`toombos ui --web`: the screen in a browser of this machine, which only the printed address opens, and only once."""

import asyncio
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest

from tests.support.runner import begin_toombos
from tests.support.waiting import wait_for
from toombos_cli import processes


@contextmanager
def served(project: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Serve the screen; yield the process, its address, and that with the token."""
    (project / "toombos.toml").write_text('[services.lonely]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    with begin_toombos("ui", "--web", cwd=project) as process:
        assert process.stderr is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+/)\?token=\S+", process.stderr.readline())
        assert found
        wait_for(lambda: reachable(found[1]), what="the server")
        yield process, found[1], found[0]
        process.terminate()
        process.wait(20)


def reachable(address: str) -> bool:
    try:
        return bool(httpx.get(address).status_code)
    except httpx.ConnectError:
        return False


def test_only_the_token_opens_it_and_only_once(tmp_path: Path):
    with served(tmp_path) as (process, address, opening):
        for path in ("", "?token=", "?token=wrong", "ws", "static/js/textual.js", "download/x"):
            assert httpx.get(address + path).status_code == 403, path
        assert httpx.get(opening, headers={"Host": "evil.example"}).status_code == 403
        with httpx.Client() as browser:
            opened = browser.get(opening)
            assert opened.status_code == 303
            assert {"HttpOnly", "SameSite=Strict"} <= set(opened.headers["set-cookie"].split("; "))
            page = browser.get(address)
            assert page.status_code == 200
            assert page.headers["referrer-policy"] == "no-referrer"
            assert browser.get(f"{address}ws", headers={"Origin": "http://evil.example"}).status_code == 403
            assert browser.get(address, headers={"Host": "evil.example"}).status_code == 403
        assert httpx.get(opening).status_code == 403
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def children(pid: int) -> list[int]:
    table = processes.process_table()
    return [row.pid for row in table.values() if row.parent == pid and not row.zombie]


async def first_screen(process: subprocess.Popen[str], address: str, opening: str, *, kill: bool) -> int:
    """Open the screen in a made-up browser and return the pid of its process; kill the server while it is open."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        await browser.get(opening)
        async with browser.ws_connect(f"{address}ws?width=80&height=24") as socket:
            shown = b""
            while b"lonely" not in shown:
                shown += await socket.receive_bytes(timeout=15)
            [pid] = children(process.pid)
            if kill:
                process.kill()
    return pid


@pytest.mark.parametrize("kill", [False, True], ids=["the browser leaves", "the server is killed"])
def test_the_screen_is_shown_and_ends_with_its_connection(tmp_path: Path, kill: bool):
    with served(tmp_path) as (process, address, opening):
        pid = asyncio.run(first_screen(process, address, opening, kill=kill))
        wait_for(lambda: processes.identify(pid) is None, what="the end of the screen")
