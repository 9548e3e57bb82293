"""`diagnose --fix --yes` on random combinations of faults in `.env`: nothing is lost, and it ends where it ends.

The names and values are a made-up shop's: most of them no `[environment]` table describes.
"""

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.runner import run_toombos

MANIFEST = """[services.app]
command = ["{{python}}", "-m", "http.server", "{{port}}", "--bind", "127.0.0.1"]
port = {port}
health = "/"
health_answer = "page"
[environment.GREETING]
description = "what is said first"
[environment.WORKERS]
description = "how many"
type = "int"
default = "2"
[environment.SHOP_DEBUG]
description = "say more"
type = "bool"
default = "false"
[environment.SHOP_KEY]
description = "opens the shop"
secret = true
generate = true
[environment.SHOP_SHELL]
description = "only of the shell"
environment_only = true
"""
NAMES = ("GREETING", "WORKERS", "SHOP_DEBUG", "SHOP_KEY", "DATABASE_PASSWORD", "STRIPE_SECRET_KEY", "MAIL_URL")
_ASSIGNED = re.compile(r"(?m)^\ufeff?\s*(?:export\s+)?(\w+)\s*[:=]")

Lines = list[str]
FAULTS: dict[str, Callable[[random.Random, Lines], Lines]] = {
    "a colon": lambda r, lines: _change(r, lines, lambda line: line.replace("=", ": ", 1)),
    "an open double quote": lambda r, lines: _change(r, lines, lambda line: line.replace("=", '="', 1)),
    "an open single quote": lambda r, lines: _change(r, lines, lambda line: line.replace("=", "='", 1)),
    "spaces around =": lambda r, lines: _change(r, lines, lambda line: line.replace("=", " = ", 1)),
    "a name set twice alike": lambda r, lines: [*lines, r.choice(lines)],
    "a name set twice differently": lambda r, lines: [*lines, r.choice(lines) + "9"],
    "a reference to a name set twice": lambda r, lines: [*lines, "A=${GREETING}", "GREETING=again"],
    "a misspelt name": lambda r, lines: [*lines, "GREETINGG=hello"],
    "a name in lower case": lambda r, lines: [*lines, "greeting=hello"],
    "a word for a number": lambda r, lines: [*lines, "WORKERS=many"],
    "a word for a switch": lambda r, lines: [*lines, "SHOP_DEBUG=perhaps"],
    "a weak secret": lambda r, lines: [*lines, "SHOP_KEY=changeme"],
    "a variable of the shell alone": lambda r, lines: [*lines, "SHOP_SHELL=/bin/sh"],
    "a value of two lines": lambda r, lines: ['CERTIFICATE="begin', 'end"', *lines],
    "an open quote above others": lambda r, lines: ['GREETING="hi', *lines],
    "blank lines and comments": lambda r, lines: ["", "# a comment", *lines[:1], "", *lines[1:]],
    "export": lambda r, lines: _change(r, lines, lambda line: f"export {line}"),
}
ENDS = ("\n", "\n", "\r\n")


def _change(chance: random.Random, lines: Lines, how: Callable[[str], str]) -> Lines:
    at = chance.randrange(len(lines))
    return [how(line) if i == at and "=" in line else line for i, line in enumerate(lines)]


def broken(chance: random.Random) -> bytes:
    """Return the text of a `.env` with two to six faults, and secrets that nothing else holds."""
    lines = [f"{name}={chance.getrandbits(80):x}k" for name in NAMES]
    lines[1], lines[2] = "WORKERS=3", "SHOP_DEBUG=true"
    for fault in chance.sample(sorted(FAULTS), chance.randint(2, 6)):
        lines = FAULTS[fault](chance, lines)
    end = chance.choice(ENDS)
    text = end.join(lines) + chance.choice((end, ""))
    return (b"\xef\xbb\xbf" if chance.random() < 0.2 else b"") + text.encode()


def repair(project: Path, *only: str) -> list[dict[str, str]]:
    """Run `diagnose --fix --yes` and return the fixes that it ran."""
    done = run_toombos("diagnose", "--fix", "--yes", "--json", *only, cwd=project, timeout_s=240)
    assert done.returncode in (0, 1, 4), done.stderr
    fixes: list[dict[str, str]] = json.loads(done.stdout)["data"]["fixes"]
    return fixes


def check(project: Path, seed: int, *only: str) -> None:
    """Repair a broken `.env` twice: no name, value, line or file is lost, and the second time changes nothing."""
    chance = random.Random(seed)
    project.mkdir()
    (project / "toombos.toml").write_text(MANIFEST.format(port=free_port()))
    before = broken(chance)
    real = project / ("shared.env" if chance.random() < 0.2 else ".env")
    real.write_bytes(before)
    real.chmod(chance.choice((0o600, 0o600, 0o644)))
    if real.name != ".env":
        (project / ".env").symlink_to(real.name)
    (project / "notes.txt").write_text("mine")

    fixes = repair(project, *only)
    after = (project / ".env").read_bytes()
    assert all(fix["exit_code"] == 0 for fix in fixes), fixes
    assert (project / ".env").is_symlink() == (real.name != ".env")
    assert (project / "notes.txt").read_text() == "mine"
    old, new = (text.decode().replace("\r\n", "\n") for text in (before, after))
    assert not set(_ASSIGNED.findall(old)) - set(_ASSIGNED.findall(new)), (old, new)
    assert new.count("\n") >= old.count("\n")
    assert not [value for value in re.findall(r"[0-9a-f]{16,}k", old) if value not in new], (old, new)
    copies = [fix["backup"] for fix in fixes if fix["backup"]]
    assert len(set(copies)) == len(copies) == len(list(project.glob("*.bak-*")))
    assert not copies or Path(copies[0]).read_bytes() == before
    assert all(Path(copy).stat().st_mode & 0o777 == 0o600 for copy in copies)

    assert repair(project, *only) == []
    assert (project / ".env").read_bytes() == after


@pytest.mark.parametrize("seed", range(8))
def test_a_broken_env_is_mended_without_loss(tmp_path: Path, seed: int):
    check(tmp_path / "shop", seed, "--only", "config")


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 200))
def test_a_broken_env_of_a_system_that_is_started_is_mended_without_loss(tmp_path: Path, seed: int):
    project = tmp_path / "shop"
    try:
        check(project, seed)
    finally:
        run_toombos("stop", cwd=project)
