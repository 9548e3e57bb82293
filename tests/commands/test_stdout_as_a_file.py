"""`-` as the FILE of an option is stdout, which then holds that document alone."""

import csv
import io
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.support.runner import TOOMBOS, Toombos, clean_environment
from tests.support.servers import json_answer, serve


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """A project with a service that responds."""
    with serve(json_answer('{"status": "ok"}')) as port:
        (tmp_path / "toombos.toml").write_text(
            f'[services.shop]\ncommand = ["sleep", "60"]\nport = {port}\n[load]\nservice = "shop"\npath = "/health"\n'
        )
        yield tmp_path


def is_csv(text: bytes) -> bool:
    return len(list(csv.reader(io.StringIO(text.decode())))) > 1


def is_xml(text: bytes) -> bool:
    return ElementTree.fromstring(text).tag == "testsuites"  # noqa: S314  (our own document)


def is_page(text: bytes) -> bool:
    return text.lstrip().lower().startswith(b"<!doctype html>") and text.rstrip().endswith(b"</html>")


def is_zstd(text: bytes) -> bool:
    return text.startswith(b"\x28\xb5\x2f\xfd")


LINES = {
    "load --csv": (("load", "-n", "3", "--csv", "-"), is_csv),
    "load --html": (("load", "-n", "3", "--html", "-"), is_page),
    "load --junit": (("load", "-n", "3", "--junit", "-"), is_xml),
    "smoke --junit": (("smoke", "--junit", "-"), is_xml),
    "diagnose --html": (("diagnose", "--only", "config", "--html", "-"), is_page),
    "diagnose --bundle": (("diagnose", "--only", "config", "--bundle", "-"), is_zstd),
}


@pytest.mark.parametrize(("line", "is_it"), LINES.values(), ids=LINES)
def test_a_dash_writes_the_document_and_nothing_else_to_stdout(line, is_it, shop: Path):
    done = subprocess.run([*TOOMBOS, *line], cwd=shop, env=clean_environment(), capture_output=True, check=False)
    assert is_it(done.stdout), done.stdout[:300]
    assert done.stderr  # the report
    assert not (shop / "-").exists()


REFUSED = {
    "two documents": ("load", "--csv", "-", "--html", "-"),
    "a document and the report as JSON": ("--json", "smoke", "--junit", "-"),
    "a document and the report in another format": ("diagnose", "--html", "-", "--format", "markdown"),
    "a baseline, which is added to": ("load", "--save-baseline", "-"),
}


@pytest.mark.parametrize("line", REFUSED.values(), ids=REFUSED)
def test_stdout_is_not_given_away_twice(line, toombos: Toombos):
    done = toombos(*line)
    assert done.returncode == 2
    assert "hint: give" in done.stderr + done.stdout or '"hint":"give' in done.stdout.replace(" ", "")


def test_a_bundle_is_not_written_to_a_terminal(toombos: Toombos):
    ours, theirs = pty.openpty()
    with open(ours, "rb"), open(theirs, "wb") as terminal:  # noqa: PTH123 (descriptors)
        assert toombos("diagnose", "--bundle", "-", stdout=terminal).returncode == 2
