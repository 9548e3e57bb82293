"""A scenario file is read completely or refused with the file, the line and a hint."""

from pathlib import Path

import pytest

from toombos_cli.base.errors import ConfigurationError
from toombos_cli.load.scenario import read_scenario

GOOD = '[[request]]\npath = "/"\n\n'
# the mistake, the text, the reported line, the message, the hint
REFUSED = [
    ("a misspelt key", GOOD + '[[request]]\npath = "/b"\nwieght = 2\n', 6, "unknown key 'wieght'", "'weight'"),
    ("an unknown key", GOOD + '[[request]]\npath = "/b"\nzzz = 2\n', 6, "unknown key 'zzz'", "known keys: path"),
    ("a misspelt table", GOOD + '[[requests]]\npath = "/b"\n', 4, "unknown key 'requests'", "'request'"),
    ("an unknown table", GOOD + "[shop]\n", 4, "unknown key 'shop'", "[[request]]"),
    ("no requests at all", "# nothing\n", None, "no requests", "[[request]]"),
    ("a table instead of an array of tables", '[request]\npath = "/"\n', 1, "no requests", "[[request]]"),
    ("no path", GOOD + "[[request]]\nweight = 2\n", 4, "missing required field `path`", None),
    ("a wrong type", GOOD + '[[request]]\npath = "/b"\nweight = "two"\n', 6, "weight: expected", None),
    ("a wrong header", GOOD + '[[request]]\npath = "/b"\nheaders = { A = 1 }\n', 6, "headers: expected", None),
    ("a path without a slash", GOOD + '[[request]]\npath = "b"\n', 4, "path must begin with /", None),
    ("a weight of zero", GOOD + '[[request]]\npath = "/b"\nweight = 0\n', 4, "weight must be above 0", None),
    ("two bodies", GOOD + '[[request]]\npath = "/b"\nbody = ""\njson = 1\n', 4, "only one of json, body", None),
    ("two requests with one name", GOOD + GOOD, 4, "two requests are named 'GET /'", "give each a unique name"),
    ("a file that is not TOML", "[[request]\n", 1, "not valid TOML", "[[request]]"),
]


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_mistake_is_reported_with_its_line(text, line, message, hint, tmp_path: Path):
    path = tmp_path / "mix.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        read_scenario(path)
    (problem,) = caught.value.problems
    assert problem.where == (f"{path}:{line}" if line else str(path))
    assert message in problem.message
    assert hint is None or hint in problem.hint


def test_a_request_is_named_by_its_method_and_path_unless_it_has_a_name(tmp_path: Path):
    path = tmp_path / "mix.toml"
    order = '[[request]]\npath = "/orders"\njson = { item = "book" }\n'
    path.write_text(GOOD + order + order + 'name = "again"\nmethod = "PUT"\n')
    first, second, third = read_scenario(path)
    assert [(r.name, r.verb) for r in (first, second, third)] == [
        ("GET /", "GET"),
        ("POST /orders", "POST"),
        ("again", "PUT"),
    ]
    assert second.payload(tmp_path) == third.payload(tmp_path) == (b'{"item": "book"}', "application/json")
