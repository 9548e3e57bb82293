"""Views that repeat: `q` ends them at once, no key is echoed, the terminal is restored, and columns do not jump."""

import io
import signal
import time
from pathlib import Path

import pytest
from rich.text import Text

from tests.support.servers import hang, serve
from tests.support.terminal import Session
from tests.support.waiting import wait_for
from toombos_cli.render.console import PrintableConsole
from toombos_cli.render.live import LiveScreen
from toombos_cli.render.table import Column, print_table

OWN = '[services.a]\ncommand = ["sleep", "60"]\nscheme = "none"\n'
FOOTER = "q to stop"

ENDS = {
    "q in status, of which nothing runs": (("status", "--watch"), "q", 1),
    "Q in health": (("health", "--watch", "0.1"), "Q", 1),
    "Ctrl-D": (("status", "--watch"), "\x04", 1),
    "Ctrl-C": (("status", "--watch"), "\x03", 130),
}


@pytest.mark.parametrize(("argv", "key", "code"), ENDS.values(), ids=ENDS)
def test_a_key_ends_a_watch_and_leaves_the_terminal_as_it_was(argv, key, code, tmp_path: Path):
    (tmp_path / "toombos.toml").write_text(OWN)
    with Session(*argv, cwd=tmp_path, width=80) as session:
        session.wait_for(FOOTER)
        assert not session.echoes
        session.press("typed by a cat")
        session.press(key)
        assert session.wait() == code
        assert session.echoes
        assert "cat" not in session.text
        assert "\x1b[?1049l" in session.text


def test_q_does_not_wait_for_a_service_that_hangs(tmp_path: Path):
    with serve(hang) as port:
        (tmp_path / "toombos.toml").write_text(
            f'[services.a]\ncommand = ["sleep", "60"]\nport = {port}\nprobe_timeout_s = 30\n'
        )
        with Session("health", "--watch", "1", cwd=tmp_path, width=80) as session:
            wait_for(lambda: not session.echoes, what="the keys of a watch")
            begun = time.monotonic()
            session.press("q")
            assert session.wait() == 0  # nothing was found yet
            assert time.monotonic() - begun < 5


def test_the_terminal_is_restored_after_a_signal(tmp_path: Path):
    (tmp_path / "toombos.toml").write_text(OWN)
    with Session("status", "--watch", cwd=tmp_path, width=80) as session:
        session.wait_for(FOOTER)
        session.process.send_signal(signal.SIGTERM)
        assert session.wait() == 143
        assert session.echoes


COLUMNS = (Column(name="SERVICE"), Column(name="REASON"), Column(name="URL"))


@pytest.mark.parametrize(
    ("width", "jumps"),
    [pytest.param(80, False, id="there is room"), pytest.param(26, True, id="a screen too narrow for all widths")],
)
def test_a_column_only_grows_while_a_view_repeats(width: int, jumps: bool):
    console = PrintableConsole(file=io.StringIO(), force_terminal=True, width=width, height=24)
    places = []

    def show(reason: str, url: str) -> None:
        print_table(console, COLUMNS, [("a", Text(reason), url)])

    with LiveScreen(console) as screen:
        for reason, url in (("wrong-owner", "u"), ("ok", "u" * 8)):
            screen.draw(lambda reason=reason, url=url: show(reason, url), footer="")
            head = screen._last.plain.splitlines()[0]
            places.append(head.index("URL"))
    assert (places[0] != places[1]) == jumps
    assert console.held_widths is None
