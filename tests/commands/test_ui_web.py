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

from tests.support.devtools import opened
from tests.support.runner import begin_toombos
from tests.support.waiting import wait_for
from toombos_cli import processes


@contextmanager
def served(project: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Serve the screen; yield the process, its address, and that with the token."""
    (project / "toombos.toml").write_text('[services.lonely]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    with begin_toombos("ui", "--web", cwd=project) as process:
        assert process.stderr is not None
        try:
            found = re.search(r"(http://127\.0\.0\.1:\d+/)\?token=\S+", process.stderr.readline())
            assert found
            wait_for(lambda: reachable(found[1]), what="the server")
            yield process, found[1], found[0]
        finally:
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


async def use_in_chromium(process: subprocess.Popen[str], opening: str, directory: Path) -> None:
    """Press keys and click, without a click before the first key."""
    async with opened(opening, directory) as page:
        await page.until(lambda: "lonely" in page.received, "no table")
        assert await page.value("document.title") == "toombos"
        await page.press("?")
        await page.until(lambda: "Newest line" in page.received, "the key showed no help")
        await page.press("z")  # closes the help
        cell = await page.value("document.querySelector('.xterm-helper-textarea').getBoundingClientRect().toJSON()")
        for _ in range(50):  # a click is ignored until the help has gone
            await page.click(30 * cell["width"], 4.5 * cell["height"])  # the third tab, below the two rows
            await asyncio.sleep(0.2)
            if "no command was run yet" in page.received:
                break
        assert "no command was run yet" in page.received
        [pid] = children(process.pid)
        await page.press("q")
        wait_for(lambda: processes.identify(pid) is None, what="the end of the screen")


def test_keys_and_clicks_work_in_chromium_from_the_first_one_on(tmp_path: Path):
    (tmp_path / "project").mkdir()
    with served(tmp_path / "project") as (process, _, opening):
        asyncio.run(use_in_chromium(process, opening, tmp_path / "browser"))
