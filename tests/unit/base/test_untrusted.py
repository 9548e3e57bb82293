"""Decoding what others wrote: any odd text is one exception, and what is returned can be handled by anybody."""

import contextlib
import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.odd_texts import ODD_TEXTS
from toombos_cli.base.plain_files import StrangeFileError, read_plain
from toombos_cli.base.untrusted import (
    UntrustedError,
    decode_untrusted,
    decode_untrusted_toml,
)


class Item(msgspec.Struct):
    status: str
    parts: tuple[int, ...] = ()


@pytest.mark.parametrize("kind", [Any, Item, dict[str, Any]], ids=["any value", "a record", "any object"])
@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_an_odd_text_is_an_untrusted_error_or_a_value_that_can_be_encoded(text: bytes, kind: Any):
    for content in (text, text.decode("utf-8", "surrogateescape")):
        with contextlib.suppress(UntrustedError):
            msgspec.json.encode(decode_untrusted(content, kind))


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_as_python_writes_it_no_other_exception_is_raised(text: bytes):
    with contextlib.suppress(UntrustedError):
        json.dumps(decode_untrusted(text.decode("utf-8", "replace"), as_python=True))


REFUSED = {
    "one level too many": "[" * 101 + "]" * 101,
    "one level too many in objects": '{"a":' * 101 + "1" + "}" * 101,
    "more than may be read": " " * 101,
    "half of a surrogate pair": r'"\ud800"',
    "not a number": "NaN",
    "infinity": "Infinity",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_it_refuses(text: str):
    with pytest.raises(UntrustedError):
        decode_untrusted(text, most_bytes=100 if text.isspace() else 10_000)


TAKEN = {
    "a hundred levels": ("[" * 100 + "]" * 100, None),
    "many brackets that are not nested": ("[" + "[]," * 1000 + "[]]", None),
    "brackets in texts": ('{"a": "' + "[" * 1000 + '"}', {"a": "[" * 1000}),
    "a byte order mark": (b"\xef\xbb\xbf1", 1),
}


@pytest.mark.parametrize(("text", "value"), TAKEN.values(), ids=TAKEN)
def test_it_takes(text: str | bytes, value: Any):
    found = decode_untrusted(text)
    assert value is None or found == value


def test_the_form_of_python_is_taken_where_it_is_asked_for():
    text = '{"level": "INFO", "ratio": NaN, "name": "\\udcff"}'
    assert decode_untrusted(text, as_python=True)["level"] == "INFO"
    with pytest.raises(UntrustedError):
        decode_untrusted(text)


TOML = {
    "thousands of open brackets": ("a = " + "[" * 3000, None),
    "more levels than a reader can take": ("a" + ".a" * 200 + " = 1", None),
    "a number of 5000 digits": ("a = " + "9" * 5000, None),
    "a lone surrogate": ('b = 1\na = "\\ud800"', 2),
    "a half line": ("a = 1\n[b\n", 2),
    "an unclosed text": ('a = """\n\n', 2),
    "bytes that are not UTF-8": (b'a = 1\nb = "\xff"', 2),
}


@pytest.mark.parametrize(("text", "line"), TOML.values(), ids=TOML)
def test_odd_toml_is_an_untrusted_error_with_the_line_if_it_is_known(text: str | bytes, line: int | None):
    with pytest.raises(UntrustedError) as caught:
        decode_untrusted_toml(text)
    assert line is None or caught.value.line == line
    assert "at line" not in str(caught.value)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(64 << 30)


def _linked(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))
    path.with_name("elsewhere").write_text('{"status": "ok"}')


FILES: dict[str, Callable[[Path], object]] = {
    "is a pipe that nobody writes": os.mkfifo,
    "is a directory": Path.mkdir,
    "has 64 GiB": _sparse,
    "is a link": _linked,
    "is missing": lambda path: None,
    "is empty": Path.touch,
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_a_file_cannot_be_decoded_that(make: Callable[[Path], object], tmp_path: Path):
    path = tmp_path / "state.json"
    make(path)
    with pytest.raises((OSError, UntrustedError)):
        decode_untrusted(read_plain(path), Item)


def test_a_link_is_followed_where_the_user_named_the_file(tmp_path: Path):
    _linked(tmp_path / "named.json")
    assert decode_untrusted(read_plain(tmp_path / "named.json", follows_link=True), Item).status == "ok"


def test_a_file_that_is_too_long_is_not_read_whole(tmp_path: Path):
    (tmp_path / "long").write_bytes(b"x" * 101)
    assert read_plain(tmp_path / "long", 101) == b"x" * 101
    with pytest.raises(OSError, match="longer than 100 bytes"):
        read_plain(tmp_path / "long", 100)
    with pytest.raises(StrangeFileError):
        read_plain(Path("/dev/zero"), 100)


def test_the_hint_about_a_strange_file_can_be_pasted_whatever_its_directory_is_called(tmp_path: Path):
    link = tmp_path / "my shop" / "state.json"
    link.parent.mkdir()
    link.symlink_to("elsewhere")
    with pytest.raises(StrangeFileError) as caught:
        read_plain(link)
    (problem,) = caught.value.problems
    assert shlex.split(problem.hint or "") == ["ls", "-l", str(link)]
