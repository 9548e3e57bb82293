"""The screen of `toombos ui`, driven by Textual's pilot and on a real terminal, over real services."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Static, TabbedContent

from tests.support.ports import free_port
from tests.support.runner import data_of, run_toombos
from tests.support.servers import hang, serve
from tests.support.terminal import Session
from tests.support.waiting import waited_for_cpu
from toombos_cli.cli.invocation import GlobalOptions, Invocation
from toombos_cli.cli.known_services import known_services
from toombos_cli.ui.app import OperationsRoom
from toombos_cli.ui.dialogs import Confirmation
from toombos_cli.ui.log_pane import LogPane
from toombos_cli.ui.readers import WatchedSystem
from toombos_cli.ui.service_table import ServiceTable

SECRET = "sk-a-value-that-nobody-sees-4711"
SIZES = [pytest.param((80, 24), id="80x24"), pytest.param((120, 40), id="120x40")]
KEY_S = 0.1


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running system: a web server, a talkative service that knows a secret, and a task."""
    project = tmp_path_factory.mktemp("screen")
    (project / "toombos.toml").write_text(
        '[services.shop]\ncommand = ["{python}", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]\n'
        f'port = {free_port()}\nhealth = "/"\nhealth_answer = "page"\nenv = {{ SHOP_API_KEY = "{SECRET}" }}\n'
        "[services.chatty]\n"
        f"command = ['sh', '-c', 'echo hello; echo login with {SECRET}; echo ERROR: lost; exec sleep 600']\n"
        'scheme = "none"\n'
        '[services.migrate]\nkind = "task"\n'
        f"command = ['sh', '-c', 'echo migrated; echo by {SECRET}']\n"
    )
    (project / ".env").write_text("")
    assert run_toombos("start", cwd=project).returncode == 0
    yield project
    run_toombos("stop", cwd=project)


def drive(
    project: Path, steps: Callable[[OperationsRoom, Pilot[int]], Awaitable[None]], *, size: tuple[int, int] = (80, 24)
) -> int | None:
    """Run the screen with these steps; return its exit code, or None if the steps did not end it."""
    invocation = Invocation(command="ui", options=GlobalOptions(project=project))
    services, _, manifest = known_services(invocation, None)
    room = OperationsRoom(WatchedSystem(invocation=invocation, services=services, manifest=manifest))

    async def run() -> None:
        async with room.run_test(size=size) as pilot:
            await steps(room, pilot)

    asyncio.run(run())
    if room.command_run is not None:
        room.command_run.see_off()
    return room.return_value


async def until(condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    """Wait until the condition holds, while the screen goes on."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def text_of(room: OperationsRoom, name: str) -> str:
    return str(room.query_one(name, Static).render())


def on_screen(room: OperationsRoom) -> str:
    """Return all that is painted now."""
    return "\n".join(strip.text for strip in room.screen._compositor.render_strips())


async def choose(room: OperationsRoom, pilot: Pilot[int], service: str) -> None:
    """Move to the row of a service."""
    table = room.query_one(ServiceTable)
    await until(lambda: service in table.rows, f"no row of {service}")
    table.move_cursor(row=table.get_row_index(service))
    await until(lambda: table.choice == service, f"{service} is not chosen")
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_the_screen_shows_services_and_their_log_without_secrets(system: Path, size: tuple[int, int]):
    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await choose(room, pilot, "chatty")
        pane = room.query_one(LogPane)
        await until(lambda: "ERROR: lost" in pane.lines, "the log is not shown")
        await pilot.pause()
        shown = on_screen(room)
        assert all(word in shown for word in ("shop", "chatty", "migrate", "ready", "done", "ERROR: lost", "q Quit"))
        assert "login with" in shown
        assert SECRET not in shown
        assert all(len(line) <= size[0] for line in shown.splitlines())
        await pilot.press("T")
        assert room.theme == "textual-light"

    drive(system, steps, size=size)


@pytest.mark.parametrize("size", SIZES)
def test_details_show_health_ports_history_and_the_masked_environment(system: Path, size: tuple[int, int]):
    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await choose(room, pilot, "shop")
        await pilot.press("i")
        await until(lambda: "PASS  shop ok" in text_of(room, "#detail-text"), "no finding of health")
        shown = text_of(room, "#detail-text")
        assert "phase ready" in shown
        assert "127.0.0.1:" in shown.partition("Open ports")[2].partition("History")[0]
        assert "started" in shown.partition("History")[2]
        assert "SHOP_API_KEY=*" in shown
        assert SECRET not in shown

    drive(system, steps, size=size)


def test_filter_and_search_find_plain_text_and_esc_undoes_them(system: Path):
    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await choose(room, pilot, "chatty")
        pane = room.query_one(LogPane)
        await until(lambda: "hello" in pane.lines, "the log is not shown")
        everything = pane.lines
        await pilot.press("f", *"LOST")
        assert pane.lines == ("ERROR: lost",)
        await pilot.press("escape")
        assert pane.lines == everything
        await pilot.press("slash", *"(hel", "enter")  # no regular expression
        assert not pane.find_next(1)
        await pilot.press("slash", *"hel", "enter")
        assert pane.find_next(-1)
        assert room.query_one("#ask", Input).has_class("hidden")

    drive(system, steps)


CONFIRMED = {
    "restart of a service": ("shop", "r", "toombos --project {} restart shop", "started: shop"),
    "a task, whose output is redacted": ("migrate", "t", "toombos --project {} run migrate", "migrated\nby <"),
}


@pytest.mark.parametrize(("service", "key", "line", "output"), CONFIRMED.values(), ids=CONFIRMED)
def test_what_changes_something_is_confirmed_and_then_runs_as_the_command(
    system: Path, service: str, key: str, line: str, output: str
):
    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await choose(room, pilot, service)
        await pilot.press(key)
        assert isinstance(room.screen, Confirmation)
        assert line.format(system) in str(room.screen.query_one("#question", Static).render())
        await pilot.press("escape")
        assert room.command_run is None
        await pilot.press(key)
        if key == "r":  # a question without a text to edit is not answered by accident
            await pilot.press("enter", "space")
            assert room.command_run is None
        await pilot.press(*(("enter",) if key == "t" else ("y",)))
        assert room.query_one(TabbedContent).active == "output"
        await until(lambda: "-- ended with exit code 0" in text_of(room, "#output-text"), "the command did not end")
        assert output in text_of(room, "#output-text")
        assert SECRET not in text_of(room, "#output-text")

    drive(system, steps)


def test_health_runs_at_once_and_a_task_key_on_a_service_only_says_so(system: Path):
    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await choose(room, pilot, "shop")
        await pilot.press("t")
        assert not isinstance(room.screen, Confirmation)
        await pilot.press("h")
        await until(lambda: "1 up" in text_of(room, "#output-text"), "no result of health")
        await pilot.click("#services", offset=(3, 3))  # the mouse chooses a row
        await until(lambda: room.query_one(ServiceTable).choice == "chatty", "the click chose nothing")
        await pilot.press("q")

    assert drive(system, steps) == 0


UNREADABLE = {
    "a log that cannot be read": ("read_history", "l", "-- the log cannot be read: [Errno 5] no such disk"),
    "a broken toombos.toml": (None, "i", "not valid TOML"),
}


@pytest.mark.parametrize(("broken", "key", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_said_in_its_place(
    broken: str | None, key: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError(5, "no such disk")

    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    if broken is not None:
        monkeypatch.setattr(f"toombos_cli.ui.readers.{broken}", fail)

    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await choose(room, pilot, "a")
        if broken is None:
            (tmp_path / "toombos.toml").write_text("[services.a")
        await pilot.press(key)
        await until(lambda: message in on_screen(room), f"it is not said: {on_screen(room)}")

    drive(tmp_path, steps)


def test_lines_that_come_faster_than_they_can_be_shown_are_counted(tmp_path: Path):
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "a.log"
    log.write_text("first\n")

    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        pane = room.query_one(LogPane)
        await until(lambda: any("first" in line for line in pane.lines), "the log is not shown")
        with log.open("a") as file:
            file.write("".join(f"line {number}\n" for number in range(1000)))
        await until(lambda: any("line 999" in line for line in pane.lines), "the last line is not shown")
        left_out = 1001 - len(pane.lines) + 1
        assert f"-- a: {left_out} lines are left out here" in pane.lines

    drive(tmp_path, steps)


def test_a_supervisor_that_hangs_is_reported_and_keys_still_work(system: Path):
    pid = data_of(run_toombos("status", "--json", cwd=system))["supervisor"]["pid"]

    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await until(lambda: "ready" in text_of(room, "#head"), "no status")
        os.kill(pid, signal.SIGSTOP)
        try:
            assert await time_of_keys(room, presses=10) < KEY_S
            await until(lambda: "is suspended" in text_of(room, "#head"), "it is not reported")
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(lambda: "ready" in text_of(room, "#head"), "no status after it")

    drive(system, steps)


def test_keys_in_quick_succession_end_a_dialog_once(system: Path):
    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await choose(room, pilot, "shop")
        await pilot.press("question_mark")
        for key in "xx":  # the first one ends the help, and none of them asks whether to stop
            room.screen.post_message(events.Key(key, key))
        await pilot.pause()
        await until(lambda: len(room.screen_stack) == 1, "the help did not end")
        await pilot.press("r")
        question = room.screen
        assert isinstance(question, Confirmation)
        for _ in range(2):
            question.action_answer(False)
        await pilot.pause()
        await until(lambda: len(room.screen_stack) == 1, "the question did not end")
        assert room.command_run is None

    drive(system, steps)


def test_a_bug_ends_the_screen_without_the_variables_of_its_traceback(system: Path, monkeypatch, capsys):
    def fail(self: ServiceTable, report: object) -> None:
        raise ZeroDivisionError(SECRET)

    monkeypatch.setattr(ServiceTable, "show", fail)

    async def steps(room: OperationsRoom, pilot: Pilot[int]) -> None:
        await until(lambda: room.bug is not None, "there is no bug")

    with pytest.raises(ZeroDivisionError):
        drive(system, steps)
    assert capsys.readouterr() == ("", "")


async def time_of_keys(room: OperationsRoom, *, presses: int) -> float:
    """Press keys that change the pane; return the longest time to the change, without the wait for a CPU."""
    panes, times, thread = room.query_one(TabbedContent), [], f"self/task/{threading.get_native_id()}"
    for number in range(presses):
        key, name = (("o", "output"), ("l", "logs"))[number % 2]
        waited, begun = waited_for_cpu(thread), time.monotonic()
        room.post_message(events.Key(key, key))
        await until(lambda: panes.active == name, f"{key} was not handled")  # noqa: B023 (called in this round)
        times.append(time.monotonic() - begun - (waited_for_cpu(thread) - waited))
    return max(times)


FLOOD = """
import sys, time
lines = b"".join(b'{"level": "INFO", "message": "request %07d served", "ms": 12.5}\\n' % i for i in range(3000))
begun, written = time.monotonic(), 0
with open(sys.argv[1], "ab", buffering=0) as log:
    while True:
        written += log.write(lines)
        time.sleep(max(0.0, written / 20e6 - (time.monotonic() - begun)))
        if written % (500 * len(lines)) == 0:
            log.truncate(0)
"""


@contextmanager
def flooded(project: Path) -> Iterator[None]:
    """Let 20 MB each second be written to the log of a service whose health hangs."""
    with serve(hang) as port:
        (project / "toombos.toml").write_text(
            f'[services.hung]\ncommand = ["sleep", "60"]\nport = {port}\nprobe_timeout_s = 30\n'
        )
        (project / "logs").mkdir()
        with subprocess.Popen([sys.executable, "-c", FLOOD, project / "logs" / "hung.log"]) as writer:
            try:
                yield
            finally:
                writer.kill()


def memory_mib(pid: int) -> float:
    """Return the most memory that a process has used."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_on_a_terminal_a_flood_neither_delays_keys_nor_fills_memory_and_q_restores_the_terminal(tmp_path: Path):
    times = []
    with flooded(tmp_path), Session("ui", cwd=tmp_path, width=80) as session:
        session.wait_for("served")
        for _ in range(8):
            times.append(session.time_until("Newest line", after="?"))
            session.time_until("Logs (l)", after="z")  # closes the help
            times.append(session.time_until("no command was run yet", after="o"))
            times.append(session.time_until("served", after="l"))
        session.time_until("asking ...", after="i")
        assert sorted(times)[-2] < KEY_S, times  # one of 24 may meet a wait for the CPU in the thread that writes
        assert memory_mib(session.process.pid) < 120
        assert not session.echoes
        session.press("q")
        assert session.wait() == 0
        assert session.echoes
        assert "\x1b[?1049l" in session.text


ENDS = {
    "Ctrl-C": (lambda session: session.press("\x03"), 130),
    "SIGTERM": (lambda session: session.process.send_signal(signal.SIGTERM), 143),
}


@pytest.mark.parametrize(("end", "code"), ENDS.values(), ids=ENDS)
def test_the_terminal_is_restored_however_the_screen_ends(end: Callable[[Session], None], code: int, tmp_path: Path):
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    with Session("ui", cwd=tmp_path, width=80) as session:
        session.wait_for("stopped")
        end(session)
        assert session.wait() == code
        assert session.echoes
        assert "\x1b[?1049l" in session.text


REFUSED = {
    "no terminal": ((), 2, "the screen needs a terminal"),
    "JSON": (("--json",), 2, "a screen is not JSON"),
}


@pytest.mark.parametrize(("options", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_where_there_is_no_screen_it_says_so(options: tuple[str, ...], code: int, message: str, tmp_path: Path):
    done = run_toombos("ui", *options, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stdout + done.stderr


@pytest.mark.parametrize("options", [("ui",), ("ui", "--web")], ids=" ".join)
def test_without_the_extra_the_line_that_installs_it_is_shown(options: tuple[str, ...], tmp_path: Path):
    (tmp_path / "toombos.toml").write_text('[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n')
    code = (
        "import sys\nsys.modules['textual'] = sys.modules['textual_serve'] = None\n"
        "from toombos_cli.main import main\nraise SystemExit(main(sys.argv[1:]))"
    )
    environment = os.environ | {"TEXTUAL_DRIVER": "none"}
    argv = [sys.executable, "-c", code, *options]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 4
    assert "pip install 'toombos[ui]'" in done.stderr
