"""Rewriting `.env`: the given values change, every other byte stays."""

import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.base.errors import OperationError
from toombos_cli.config.rewrite import copy_beside, rewrite, with_values
from toombos_cli.settings.env_file import parse_env_text

PATH = Path(".env")
NEW = "enc:gAAAA-_b=="

ROWS = {
    "unquoted": ("A=1\n", "A=NEW\n"),
    "spaces around": ("  A = 1  \n", "  A = NEW  \n"),
    "a comment after": ("A=1 # why\n", "A=NEW # why\n"),
    "single quotes": ("A='1 # x' # why\n", "A=NEW # why\n"),
    "double quotes": ('export A="1\\" # x" # why\n', "export A=NEW # why\n"),
    "value of several lines": ('# a\n\nA="1\n2\n3"\nB=2\n', "# a\n\nA=NEW\nB=2\n"),
    "CR LF": ("A=1\r\nB=2\r\n", "A=NEW\r\nB=2\r\n"),
    "empty value": ("A=\nB=2\n", "A=NEW\nB=2\n"),
    "no newline at the end": ("B=2\nA=1", "B=2\nA=NEW"),
    "after an invalid line": ("B: 2\nA=1\nC\n", "B: 2\nA=NEW\nC\n"),
    "a hash in the value": ("A=1#2\n", "A=NEW\n"),
    "set twice": ("A=1\nA=2\n", "A=NEW\nA=NEW\n"),
}


@pytest.mark.parametrize(("before", "after"), ROWS.values(), ids=ROWS.keys())
def test_only_the_value_changes(before, after):
    env_file = parse_env_text(before, PATH)

    text = with_values(env_file, dict.fromkeys(env_file.bindings_of("A"), NEW))

    assert text == after.replace("NEW", NEW)


@given(st.text(alphabet="AB=:'\"\\\n\r\t #${}-x", max_size=60), st.sampled_from("AB"))
def test_all_other_lines_stay_byte_for_byte_in_any_file(text, name):
    env_file = parse_env_text(text, PATH)
    targets = env_file.bindings_of(name)

    changed = with_values(env_file, dict.fromkeys(targets, NEW))

    others = [b.original for b in env_file.bindings if b not in targets]
    assert [b.original for b in parse_env_text(changed, PATH).bindings if b.value != NEW] == others
    assert len(re.findall(re.escape(NEW), changed)) == len(targets)


def test_a_rewritten_file_is_private_and_leaves_no_partial_file(tmp_path):
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    path.chmod(0o644)

    rewrite(path, "A=2\n", old="A=1\n")

    assert path.read_text() == "A=2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_changed_in_the_meantime_is_left_alone(tmp_path):
    path = tmp_path / ".env"
    path.write_text("A=3\n")

    with pytest.raises(OperationError, match="changed in the meantime"):
        rewrite(path, "A=2\n", old="A=1\n")

    assert path.read_text() == "A=3\n"


def test_a_symbolic_link_stays_and_its_target_is_rewritten(tmp_path):
    target = tmp_path / "real"
    target.write_text("A=1\n")
    link = tmp_path / ".env"
    link.symlink_to(target)

    rewrite(link, "A=2\n", old="A=1\n")

    assert link.is_symlink()
    assert target.read_text() == "A=2\n"


def test_a_failed_write_leaves_the_old_file_and_no_partial_file(tmp_path, monkeypatch):
    path = tmp_path / ".env"
    path.write_text("A=1\n")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OperationError, match="No space left"):
        rewrite(path, "A=2\n", old="A=1\n")

    assert (path.read_text(), list(tmp_path.iterdir())) == ("A=1\n", [path])


def test_a_copy_is_private_and_replaces_an_older_one(tmp_path):
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    (tmp_path / ".env.bak").write_text("old")
    (tmp_path / ".env.bak").chmod(0o644)

    copy = copy_beside(path, ".env.bak", "A=1\n")

    assert (copy.read_text(), stat.S_IMODE(copy.stat().st_mode)) == ("A=1\n", 0o600)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_keeps_the_owner_of_the_file(tmp_path):
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    os.chown(path, 12345, 12345)

    rewrite(path, "A=2\n", old="A=1\n")

    assert path.stat().st_uid == 12345
