"""A scenario file is read completely or refused with the file, the line and a hint."""

from pathlib import Path

import pytest

from tests.support.loading import target_at
from toombos_cli.base.errors import ConfigurationError
from toombos_cli.load.scenario import read_scenario
from toombos_cli.load.scenario_mix import scenario_mix

GOOD = '[[request]]\npath = "/"\n\n'
B = GOOD + '[[request]]\npath = "/b"\n'
U = GOOD + '[[user]]\nname = "u"\n'
# the mistake, the text, the reported line, the message, the hint
REFUSED = [
    ("a misspelt key", B + "wieght = 2\n", 6, "unknown key 'wieght'", "'weight'"),
    ("an unknown key", B + "zzz = 2\n", 6, "unknown key 'zzz'", "known keys: path"),
    ("a misspelt table", GOOD + '[[requests]]\npath = "/b"\n', 4, "unknown key 'requests'", "'request'"),
    ("an unknown table", GOOD + "[shop]\n", 4, "unknown key 'shop'", "[[request]]"),
    ("no requests at all", "# nothing\n", None, "no requests", "[[request]]"),
    ("a table instead of an array of tables", '[request]\npath = "/"\n', 1, "no requests", "[[request]]"),
    ("no path", GOOD + "[[request]]\nweight = 2\n", 4, "missing required field `path`", None),
    ("a wrong type", B + 'weight = "two"\n', 6, "weight: expected", None),
    ("a wrong header", B + "headers = { A = 1 }\n", 6, "headers: expected", None),
    ("a path without a slash", GOOD + '[[request]]\npath = "b"\n', 4, "path must begin with /", None),
    ("a weight of zero", B + "weight = 0\n", 4, "weight must be above 0", None),
    ("two bodies", B + 'body = ""\njson = 1\n', 4, "only one of json, body", None),
    ("a body and a form", B + 'body = "x"\nform = { a = 1 }\n', 4, "only one of", None),
    ("a misspelt condition", B + "expect = { stauts = 1 }\n", 6, "'stauts'", "'status'"),
    ("a status that none is", B + "expect = { status = 999 }\n", 4, "999", None),
    (
        "an unknown operator",
        B + "expect = { json = { a = { mim = 1 } } }\n",
        4,
        "'mim'",
        None,
    ),
    ("a wrong expression", B + 'expect = { text = "(" }\n', 4, "regular expression", None),
    (
        "JSON of a HEAD",
        GOOD + '[[request]]\npath = "/"\nmethod = "HEAD"\nexpect = { json = { a = 1 } }\n',
        4,
        "HEAD",
        None,
    ),
    ("a pause below zero", B + "think_s = -1\n", 4, "think_s must be", None),
    ("a pause without end", B + "think_s = inf\n", 4, "think_s must be", None),
    ("a pause that shrinks", B + "think_s = [2, 1]\n", 4, "think_s must be", None),
    ("no events", B + "events = 0\n", 4, "events must be", None),
    (
        "a capture that no step follows",
        B + 'capture = { a = "a" }\n',
        6,
        "later step",
        "[[user.step]]",
    ),
    ("a user without steps", U + "step = []\n", 4, "at least one", None),
    (
        "a step with a weight",
        U + '[[user.step]]\npath = "/"\nweight = 2\n',
        4,
        "no weight",
        None,
    ),
    (
        "a misspelt key of a step",
        U + '[[user.step]]\npath = "/"\nthink = 2\n',
        8,
        "'think'",
        "'think_s'",
    ),
    ("data of two kinds", GOOD + '[data.a]\nfile = "a.csv"\nbetween = [1, 2]\n', 4, "either `file` or `between`", None),
    ("data without an end", GOOD + "[data.a]\nbetween = [2, 1]\n", 4, "[least, greatest]", None),
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


def mix_of(tmp_path: Path, text: str, **files: str):
    """Return the plan's part of a scenario beside these files."""
    for name, content in files.items():
        (tmp_path / name.replace("_", ".")).write_text(content)
    (tmp_path / "mix.toml").write_text(text)
    scenario = read_scenario(tmp_path / "mix.toml")
    return scenario_mix(scenario, tmp_path / "mix.toml", target_at(80), (), keepalive=True, environment={"SET": "s"})


STEP = '[[user]]\nname = "u"\n[[user.step]]\npath = "/a"\ncapture = { a = "a" }\n[[user.step]]\n'
DATA = '[data.d]\nfile = "d.csv"\n[[request]]\npath = "/${d.x}"\n'
# the mistake, the text, the content of d.csv, the place, the message
UNKNOWN = [
    ("a misspelt variable", '[[request]]\npath = "/${conuter}"\n', "", "", "GET /${conuter}: ${conuter} has no value"),
    ("a capture of the same step", '[[request]]\npath = "/${a}"\n', "", "", "${a} has no value here"),
    ("a capture of a later step", STEP + 'path = "/b${b}"\ncapture = { b = "b" }\n', "", "", "${b} has no value here"),
    ("a variable in a condition", '[[request]]\npath = "/"\nexpect = { text = "${x}" }\n', "", "", "${x} has no value"),
    ("a table without a column", DATA.replace("d.x", "d"), "x\n1\n", "", "${d} has no value here"),
    ("a column that is missing", DATA, "y\n1\n", "d.csv:1", "has no column 'x'"),
    ("a file that is missing", DATA.replace('"d.csv"', '"none.csv"'), "", "none.csv", "cannot be read"),
    ("a file without lines", DATA, "x\n", "d.csv", "has no lines with data"),
    ("a line that is too short", DATA, "x,y\n1,2\n3\n", "d.csv:3", "1 values for 2 columns"),
    ("a file of another kind", DATA.replace('"d.csv"', '"mix.toml"'), "", "mix.toml", "ends with neither"),
]


@pytest.mark.parametrize(
    ("text", "content", "where", "message"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN]
)
def test_a_variable_without_a_value_is_refused_before_anything_is_sent(text, content, where, message, tmp_path: Path):
    with pytest.raises(ConfigurationError) as caught:
        mix_of(tmp_path, text, d_csv=content)
    (problem,) = caught.value.problems
    assert problem.where == str(tmp_path / (where or "mix.toml"))
    assert message in problem.message


def test_fixed_requests_need_no_script(tmp_path: Path):
    endpoints, users = mix_of(tmp_path, B + 'form = { a = [1, "x y"] }\n')
    assert users is None
    assert all(endpoint.script is None for endpoint in endpoints)
    assert endpoints[1].request.endswith(b"\r\n\r\na=1&a=x+y")


def test_a_variable_of_the_environment_is_filled_in_and_an_unset_one_leaves_its_header_out(tmp_path: Path):
    text = '[[request]]\npath = "/"\nheaders = { X-A = "${env.SET}", X-B = "${env.UNSET}" }\n'
    (endpoint,), users = mix_of(tmp_path, text)
    assert b"X-B" not in endpoint.request
    assert b"X-A: ${env.SET}" in endpoint.request, "the value is not where a report could show it"
    assert users is not None
    assert b"X-A: s" in endpoint.script.head.fill(users.constants)


def test_a_request_is_named_by_its_method_and_path_unless_it_has_a_name(tmp_path: Path):
    path = tmp_path / "mix.toml"
    order = '[[request]]\npath = "/orders"\njson = { item = "book" }\n'
    path.write_text(GOOD + order + order + 'name = "again"\nmethod = "PUT"\n')
    first, second, third = read_scenario(path).requests
    assert [(r.name, r.verb) for r in (first, second, third)] == [
        ("GET /", "GET"),
        ("POST /orders", "POST"),
        ("again", "PUT"),
    ]
    assert second.payload(tmp_path) == third.payload(tmp_path) == (b'{"item": "book"}', "application/json")
