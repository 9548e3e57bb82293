"""The bytes of a request are those that were given: every header, in order, and nothing that was not asked for."""

import os
from pathlib import Path

import pytest

from tests.support.loading import target_at
from toombos_cli.base.errors import UsageError
from toombos_cli.load.build_plan import request_mix
from toombos_cli.load.engine.request_bytes import parse_header
from toombos_cli.load.options import LoadOptions
from toombos_cli.load.plan import LoadRequest
from toombos_cli.load.scenario import read_scenario
from toombos_cli.manifest.model import Manifest, Source
from toombos_cli.manifest.tables.load import LoadDefaults
from toombos_cli.manifest.tables.service import Service

SHOP = Service(name="shop", command=("shop",), port=8123)


def the_request(tmp_path: Path, *, headers=(), manifest=None, scenario="", **more) -> LoadRequest:
    """Return the only request of a plan, with -H and manifest headers."""
    file = tmp_path / "mix.toml"
    file.write_text(f'[[request]]\npath = "/"\n{scenario}\n')
    load = LoadDefaults(service="shop", headers=manifest or {})
    options = LoadOptions(headers=list(headers), scenario=file if scenario else None, **more)
    known = Manifest(name="shop", services={"shop": SHOP}, source=Source(path=None, project=tmp_path), load=load)
    read = read_scenario(file) if scenario else None
    (found,), users = request_mix(options, known, {}, target_at(8123), is_default=True, scenario=read)
    assert users is None, "fixed requests need no users"
    return found


def sent(request: LoadRequest, name: str) -> list[bytes]:
    """Return the values of a header as they are on the wire."""
    lines = request.request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    pairs = (line.split(b": ", 1) for line in lines)
    return [value for key, value in pairs if key.lower() == name.lower().encode()]


REPEATED = {
    "two of one name are both sent, in order": ({"headers": ["X-Tag: a", "X-Tag: b"]}, "x-tag", [b"a", b"b"]),
    "two that differ in case are both sent": ({"headers": ["X-Tag: a", "x-tag: b"]}, "x-tag", [b"a", b"b"]),
    "two cookies are both sent": ({"headers": ["Cookie: a=1", "Cookie: b=2"]}, "cookie", [b"a=1", b"b=2"]),
    "two of the manifest that differ in case": ({"manifest": {"X-A": "1", "x-a": "2"}}, "x-a", [b"1", b"2"]),
    "a list in the manifest": ({"manifest": {"X-A": ("1", "2")}}, "x-a", [b"1", b"2"]),
    "two of a scenario that differ in case": ({"scenario": 'headers = { X-A = "1", x-a = "2" }'}, "x-a", [b"1", b"2"]),
    "a list in a scenario": ({"scenario": 'headers = { X-A = ["1", "2"] }'}, "x-a", [b"1", b"2"]),
    "-H replaces those of the manifest": (
        {"headers": ["x-a: 3", "x-a: 4"], "manifest": {"X-A": ("1", "2")}},
        "x-a",
        [b"3", b"4"],
    ),
    "those of a scenario replace -H": ({"headers": ["x-a: 3"], "scenario": 'headers = { X-A = "1" }'}, "x-a", [b"1"]),
    "-H replaces a default": ({"headers": ["user-agent: me"]}, "user-agent", [b"me"]),
    "-H replaces the host": ({"headers": ["Host: shop.test"]}, "host", [b"shop.test"]),
    "a value keeps its colons and quotes": ({"headers": ['ETag: W/"a:b"']}, "etag", [b'W/"a:b"']),
    "a value that is empty is sent": ({"headers": ["X-Empty:"]}, "x-empty", [b""]),
    "a value beyond ASCII is sent as it was typed": ({"headers": ["X-Name: café 日"]}, "x-name", ["café 日".encode()]),
    "bytes that are not UTF-8 are sent as they were typed": (
        {"headers": [os.fsdecode(b"X-Name: caf\xe9")]},
        "x-name",
        [b"caf\xe9"],
    ),
    "a content type replaces the one of the body": (
        {"data": "{}", "content_type": 'multipart/form-data; boundary="x y"'},
        "content-type",
        [b'multipart/form-data; boundary="x y"'],
    ),
}


@pytest.mark.parametrize(("given", "name", "expected"), REPEATED.values(), ids=REPEATED)
def test_headers_are_sent_as_given(given, name, expected, tmp_path: Path):
    assert sent(the_request(tmp_path, **given), name) == expected


BODIES = {
    "text": ("é", "é".encode()),
    "bytes that are not UTF-8": (os.fsdecode(b"caf\xe9"), b"caf\xe9"),
    "line breaks": ("a\r\n\r\nb", b"a\r\n\r\nb"),
}


@pytest.mark.parametrize(("typed", "expected"), BODIES.values(), ids=BODIES)
def test_a_body_is_sent_as_given(typed, expected, tmp_path: Path):
    request = the_request(tmp_path, data=typed)
    assert request.request.partition(b"\r\n\r\n")[2] == expected
    assert sent(request, "content-length") == [str(len(expected)).encode()]


WRONG = {
    "a content type with a line break": {"data": "{}", "content_type": "text/plain\r\nX-Evil: 1"},
    "a content type without a subtype": {"data": "{}", "content_type": "json"},
    "an empty content type": {"data": "{}", "content_type": ""},
    "a content type of a scenario with a line break": {"scenario": 'body = "x"\ncontent_type = "a/b\\r\\nX: 1"'},
    "a header of a scenario with a line break": {"scenario": 'headers = { X = "1\\nY: 2" }'},
}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_what_would_change_the_request_is_refused(given, tmp_path: Path):
    with pytest.raises(UsageError):
        the_request(tmp_path, **given)


@pytest.mark.parametrize("text", ["no colon", "b ad: x", "X: a\nb", "X: a\0b", "Content-Length: 1", ": x"])
def test_what_is_no_header_is_refused(text):
    with pytest.raises(UsageError):
        parse_header(text)
