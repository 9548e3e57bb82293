"""A development server that restarts itself: uvicorn with --reload, whose main process only watches files."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from tests.support.foreign import UP, ForeignSystem, well
from tests.support.waiting import wait_for

APPLICATION = """
async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}})
    await send({{"type": "http.response.body", "body": b"version {version}"}})
"""


def test_a_changed_file_reloads_the_application_and_not_the_service(system: ForeignSystem) -> None:
    module = system.project / "small.py"
    module.write_text(APPLICATION.format(version=1))
    command = ["{python}", "-m", "uvicorn", "small:app", "--host", "{host}", "--port", "{port}", "--reload"]
    port = system.add("web", command, health="/", env={"PYTHONDONTWRITEBYTECODE": "1"})
    system.start()
    before = system.pid("web")
    _change(module, APPLICATION.format(version=2), lambda: _body(port) == "version 2")
    assert system.pid("web") == before
    wait_for(lambda: well(system.health("web")["web"]) == UP, within_s=15)
    assert system.alarms() == []


def test_a_stop_ends_the_watcher_and_its_server(system: ForeignSystem) -> None:
    (system.project / "small.py").write_text(APPLICATION.format(version=1))
    command = ["{python}", "-m", "uvicorn", "small:app", "--host", "{host}", "--port", "{port}", "--reload"]
    system.add("web", command, health="/")
    system.start()
    tree = [psutil.Process(system.pid("web"))]
    tree += tree[0].children(recursive=True)
    assert len(tree) > 1
    stopped = system("stop", exit_code=0)
    assert "killed" not in stopped.stdout + stopped.stderr
    assert [process for process in tree if process.is_running()] == []


def test_an_application_that_cannot_be_loaded_is_down_and_its_line_is_the_cause(system: ForeignSystem) -> None:
    module = system.project / "small.py"
    module.write_text(APPLICATION.format(version=1))
    command = ["{python}", "-m", "uvicorn", "small:app", "--host", "{host}", "--port", "{port}", "--reload"]
    system.add("web", command, health="/", probe_timeout_s=1)
    system.start()
    _change(module, "import nothing_of_that_name\n", lambda: system.health("web")["web"]["status"] == "down")
    assert any("log.missing_module web" in alarm for alarm in system.alarms())


def _body(port: int) -> str:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", timeout=1).text
    except httpx.HTTPError:
        return ""


def _change(path: Path, text: str, seen: Callable[[], bool]) -> None:
    """Replace the file until that is seen: the server responds before its watcher looks at the files."""
    for _ in range(6):
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)
        with contextlib.suppress(AssertionError):
            wait_for(seen, within_s=10)
            return
    raise AssertionError("the change was never seen")
