"""The meaning of a step's conditions, and the manifests that are refused."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.base.errors import ConfigurationError, UsageError
from toombos_cli.base.untrusted import decode_untrusted, decode_untrusted_toml
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.manifest.tables.conditions import read_condition, value_at
from toombos_cli.smoke.plan import make_plan

GONE = msgspec.UNSET
# demand, values that meet it, values that do not
DEMANDS = {
    "a value": ("x", ["x"], ["y", None, GONE]),
    "true is not 1": (True, [True], [1, "true", False, GONE]),
    "0 is not false": (0, [0, 0.0], [False, None, GONE]),
    "a list": (["a", "b"], [["a", "b"]], [["b", "a"], "ab", GONE]),
    "one of": ({"one_of": ["a", 2]}, ["a", 2], ["b", True, GONE]),
    "min": ({"min": 2}, [2, 2.5], [1, True, "3", None, GONE]),
    "min and max": ({"min": 1, "max": 3}, [1, 3], [0, 4]),
    "min of text": ({"min": "b"}, ["b", "c"], ["a", 5]),
    "matches": ({"matches": "^v[0-9]"}, ["v2.1"], ["2", 2, None, GONE]),
    "contains": ({"contains": "b"}, ["abc", ["a", "b"], {"b": 1}], ["x", ["abc"], 3, GONE]),
    "length": ({"length": 2}, ["ab", [1, 2], {"a": 1, "b": 2}], ["a", 2, None, GONE]),
    "min length": ({"min_length": 1}, ["a", [0]], ["", [], None, GONE]),
    "type": ({"type": "number"}, [1, 1.5], [True, "1", None, GONE]),
    "null": ({"type": "null"}, [None], [0, "", GONE]),
    "present": ({"exists": True}, [None, 0, ""], [GONE]),
    "absent": ({"exists": False}, [GONE], [None, 0]),
    "a table": ({"equals": {"a": 1}}, [{"a": 1}], [{"a": 2}, GONE]),
}


@pytest.mark.parametrize(("demand", "good", "bad"), DEMANDS.values(), ids=DEMANDS)
def test_a_condition_holds_for_exactly_these_values(demand, good, bad):
    condition = read_condition(demand)
    assert [value for value in good if not condition.holds(value)] == []
    assert [value for value in bad if condition.holds(value)] == []
    assert str(condition)


# A condition as it is written in TOML, texts of JSON that meet it, texts that do not
DECIMALS = {
    "a decimal with a zero at its end": ("1.10", ["1.1", "1.10", "1.100", "11e-1"], ["1.11", "1", '"1.10"']),
    "a tenth": ("0.1", ["0.1", "0.10"], ["0.1000000000000000055511151231257827", "0.10000000000000001"]),
    "seventeen digits": ("0.30000000000000004", ["0.30000000000000004"], ["0.3", "0.30000000000000005"]),
    "an integer beyond a double": (
        "9007199254740993",
        ["9007199254740993"],
        ["9007199254740992", "9007199254740993.5"],
    ),
    "minus zero": ("-0.0", ["0", "-0", "-0.0", "0.0"], ["1e-300", "null"]),
    "zero": ("0", ["0", "-0", "-0.0", "0e9"], ["0.1", "false"]),
    "an exponent": ("1e3", ["1000", "1e3", "1000.0"], ["1000.1"]),
    "at least a decimal": ("{ min = 1.10 }", ["1.1", "1.10", "2"], ["1.09", "1.0999999999999999999"]),
    "at most minus zero": ("{ max = -0.0 }", ["0", "-0.0", "-1"], ["0.1"]),
}


@pytest.mark.parametrize(("written", "good", "bad"), DECIMALS.values(), ids=DECIMALS)
def test_numbers_are_compared_digit_for_digit(written, good, bad):
    condition = read_condition(decode_untrusted_toml(f"n = {written}")["n"])
    assert [text for text in good if not condition.holds(decode_untrusted(text, exact=True))] == []
    assert [text for text in bad if condition.holds(decode_untrusted(text, exact=True))] == []


def test_an_unknown_operator_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="unknown operator 'mtches'; did you mean 'matches'"):
        read_condition({"mtches": "x"})


DOCUMENT = {"a": {"b": [{"c": 1}, {"c": 2}]}, "null": None}
PATHS = {"$": DOCUMENT, "a.b[1].c": 2, "a.b[-1].c": 2, "a.b[2].c": GONE, "a.x": GONE, "null": None, "null.x": GONE}


@pytest.mark.parametrize(("path", "value"), PATHS.items(), ids=PATHS)
def test_a_path_finds_its_value(path, value):
    assert value_at(DOCUMENT, path) == value


@pytest.mark.parametrize("path", ["a..b", "a[x]", "", "a[", "[0"])
def test_an_invalid_path_is_refused(path):
    if path == "":
        assert value_at(DOCUMENT, "") == DOCUMENT
        return
    with pytest.raises(ValueError, match="is not a path"):
        value_at(DOCUMENT, path)


SERVICE = '[services.web]\ncommand = ["unused"]\nport = 1\n'
SERVICE += '[services.raw]\ncommand = ["unused"]\nport = 2\nscheme = "tcp"\n'
HEAD = 'name = "a"\nservice = "web"\n'
STEP = HEAD + 'path = "/"\n'
TCP = 'name = "a"\nservice = "raw"\nexpect = "x"\n'
WRONG_STEPS = {
    "no path": ('name = "a"\nservice = "web"', "set either a path, or loopback_only"),
    "a bad name": ('name = "a b"\nservice = "web"\npath = "/"', "use letters"),
    "a relative path": ('name = "a"\nservice = "web"\npath = "x"', "must begin with /"),
    "a bad status": ('name = "a"\nservice = "web"\npath = "/"\nstatus = "6xx"', "status '6xx' is not valid"),
    "an unknown operator": (
        'name = "a"\nservice = "web"\npath = "/"\njson = { x = { mn = 1 } }',
        "unknown operator 'mn'",
    ),
    "a bad expression": ('name = "a"\nservice = "web"\npath = "/"\njson = { x = { matches = "(" } }', "not a regular"),
    "a bad JSON path": ('name = "a"\nservice = "web"\npath = "/"\njson = { "x..y" = 1 }', "is not a path"),
    "a bad JSONPath query": (STEP + 'json = { "$.x." = 1 }', "is not a JSONPath query"),
    "a bad JSONPath query in a capture": (STEP + 'capture = { x = "$.x[" }', "is not a JSONPath query"),
    "a bad JSONPath query in a counter": (
        STEP + 'counters = [{ service = "web", path = "/", json = "$x", rises_by = 1 }]',
        "is not a JSONPath query",
    ),
    "a bad JSONPath query in if_at_start": (
        STEP + 'cleanup = { path = "/", if_at_start = { path = "/", json = { "$x" = 1 } } }',
        "is not a JSONPath query",
    ),
    "a fragment": (HEAD + 'path = "/x#y"', "the fragment of '/x#y' is not sent"),
    "a fragment in a counter": (
        STEP + 'counters = [{ service = "web", path = "/#a", json = "a", rises_by = 1 }]',
        "the fragment of '/#a' is not sent",
    ),
    "a fragment in a cleanup": (STEP + 'cleanup = { path = "/#a" }', "the fragment of '/#a' is not sent"),
    "a relative path in a cleanup": (STEP + 'cleanup = { path = "a" }', "must begin with /"),
    "two bodies": (STEP + 'body = 1\nraw = "x"', "body and raw exclude each other"),
    "a form and a text": (STEP + 'form = { a = 1 }\nraw = "x"', "form and raw exclude each other"),
    "files and JSON": (STEP + 'files = { a = { content = "" } }\nbody = 1', "files and body exclude each other"),
    "a form that is read": (STEP + "form = { a = 1 }", "form needs a method that sends a body"),
    "an upload without content": (STEP + 'files = { a = { name = "x" } }', "either `path` or `content`"),
    "an upload with two contents": (STEP + 'files = { a = { path = "x", content = "" } }', "either `path` or"),
    "a capture of nothing": (STEP + "capture = { x = {} }", "exactly one of"),
    "a capture of two things": (STEP + 'capture = { x = { header = "a", cookie = "b" } }', "exactly one of"),
    "a capture without a group": (STEP + 'capture = { x = { text = "a" } }', "must have one group"),
    "a capture with two groups": (STEP + 'capture = { x = { text = "(a)(b)" } }', "must have one group"),
    "a capture with a bad expression": (STEP + 'capture = { x = { text = "(" } }', "is not a regular expression"),
    "a capture in the place of the environment": (STEP + 'capture = { "env.A" = "a" }', "is not a name for a capture"),
    "a capture in the place of the run": (STEP + 'capture = { "run.id" = "a" }', "is not a name for a capture"),
    "a capture with a name that no step can use": (STEP + 'capture = { "a b" = "a" }', "is not a name for a capture"),
    "a bad expression in text": (STEP + 'text = "("', "is not a regular expression"),
    "a condition on a header that is none": (
        STEP + "response_headers = { X = { mn = 1 } }",
        "unknown operator 'mn'",
    ),
    "a condition on a cookie that is none": (STEP + 'response_cookies = { x = { matches = "(" } }', "not a regular"),
    "a text of the response to HEAD": (
        STEP + 'method = "HEAD"\ncapture = { a = { text = "(a)" } }',
        "the response to HEAD has none",
    ),
    "a body of the response to HEAD": (STEP + 'method = "HEAD"\njson = { a = 1 }', "the response to HEAD has none"),
    "until with a step that writes": (
        STEP + 'method = "POST"\nuntil = { timeout_s = 1 }',
        "for steps that do not write",
    ),
    "until without time": (STEP + "until = { timeout_s = 0 }", "must be above 0"),
    "a conversation over HTTP": (HEAD + 'expect = "x"', "are for services with scheme = 'tcp'"),
    "a path of a TCP service": ('name = "a"\nservice = "raw"\npath = "/"', "it has no paths: use send and expect"),
    "a path and a conversation": (TCP + 'path = "/"', "either a path, or loopback_only"),
    "a status of a conversation": (TCP + "status = 200", "status has no meaning for a conversation"),
    "JSON of a conversation": (TCP + "json = { a = 1 }", "json has no meaning for a conversation"),
    "a JSON capture of a conversation": (TCP + 'capture = { a = "a" }', "capture a from a conversation with"),
    "a bad expression of a conversation": (
        'name = "a"\nservice = "raw"\nexpect = "("',
        "is not a regular expression",
    ),
    "two things to send": (TCP + 'send = "a"\nsend_hex = "00"', "exclude each other"),
    "odd hexadecimal digits": (TCP + 'send_hex = "0"', "send_hex"),
    "headers of a look at sockets": (
        'name = "a"\nservice = "web"\nloopback_only = true\nheaders = { a = "b" }',
        "headers has no meaning for a look at sockets",
    ),
    "an unknown key": ('name = "a"\nservice = "web"\npath = "/"\nexpected = 200', "unknown key"),
    "an unknown service": ('name = "a"\nservice = "wbe"\npath = "/"', "no service is named 'wbe'"),
    "a variable that no step captures": (
        'name = "a"\nservice = "web"\npath = "/${id}"',
        "no earlier step captures ${id}",
    ),
    "a counter without json or metric": (
        'name = "a"\nservice = "web"\npath = "/"\ncounters = [{ service = "web", path = "/", rises_by = 1 }]',
        "either `json` or `metric`",
    ),
}


@pytest.mark.parametrize(("step", "words"), WRONG_STEPS.values(), ids=WRONG_STEPS)
def test_a_step_that_cannot_work_is_refused_before_anything_is_sent(tmp_path, step, words):
    (tmp_path / "toombos.toml").write_text(f"{SERVICE}[[smoke]]\n{step}\n")
    with pytest.raises(ConfigurationError) as refused:
        make_plan(load_manifest(tmp_path))
    assert words in " ".join(f"{p.message} {p.hint}" for p in refused.value.problems)
    assert len(refused.value.problems) == 1
    assert str(tmp_path / "toombos.toml") in refused.value.problems[0].where


UNCAPTURED = {
    "text": 'text = "${x}"',
    "part of a text": 'text = "a ${x} b"',
    "a header": 'headers = { A = "${x}" }',
    "the name of a header": 'headers = { "${x}" = "a" }',
    "a form": 'method = "POST"\nform = { a = "${x}" }',
    "a text body": 'raw = "${x}"',
    "a file": 'method = "POST"\nfiles = { a = { content = "${x}" } }',
    "an expression": 'json = { a = { matches = "${x}" } }',
    "a number": 'json = { a = { min = "${x}" } }',
    "a length": 'json = { a = { length = "${x}" } }',
    "a response header": 'response_headers = { A = "${x}" }',
    "a response cookie": 'response_cookies = { a = "${x}" }',
    "a metric": 'metrics = { a = "${x}" }',
    "a counter": 'counters = [{ service = "web", path = "/${x}", json = "a", rises_by = 1 }]',
    "the rise of a counter": 'counters = [{ service = "web", path = "/", json = "a", rises_by = "${x}" }]',
    "a cleanup": 'cleanup = { path = "/${x}" }',
    "if_at_start": 'cleanup = { path = "/", if_at_start = { path = "/${x}", json = {} } }',
    "a condition of if_at_start": 'cleanup = { path = "/", if_at_start = { path = "/", json = { a = "${x}" } } }',
    "the place of a capture": 'capture = { y = "a.${x}" }',
    "the step that captures it": 'text = "${x}"\ncapture = { x = "x" }',
    "a later step": 'text = "${x}"\n[[smoke]]\nname = "b"\nservice = "web"\npath = "/"\ncapture = { x = "x" }',
    "a proof, which runs before the step that captures it": (
        'capture = { x = "x" }\n[[smoke]]\nname = "b"\nservice = "web"\npath = "/${x}"\nproves_dry_run = true'
    ),
}


@pytest.mark.parametrize("field", UNCAPTURED.values(), ids=UNCAPTURED)
def test_a_variable_that_no_earlier_step_captures_is_refused_in(tmp_path, field):
    (tmp_path / "toombos.toml").write_text(f"{SERVICE}[[smoke]]\n{STEP}{field}\n")
    with pytest.raises(ConfigurationError) as refused:
        make_plan(load_manifest(tmp_path))
    assert "no earlier step captures ${x}" in refused.value.problems[0].message
    assert re.fullmatch(r".*/toombos\.toml:\d+", refused.value.problems[0].where)


STEPS = """
[[smoke]]
name = "dry"
service = "web"
path = "/health"
proves_dry_run = true
[[smoke]]
name = "create"
service = "web"
method = "POST"
path = "/items"
capture = { item = "id" }
[[smoke]]
name = "read"
service = "web"
path = "/items/${item}"
[[smoke]]
name = "other"
service = "web"
path = "/other"
"""


def test_only_selects_the_step_and_everything_that_it_needs(tmp_path):
    (tmp_path / "toombos.toml").write_text(SERVICE + STEPS)
    manifest = load_manifest(tmp_path)
    assert make_plan(manifest, ("read",)).names == ("health-web", "dry", "create", "read")
    assert make_plan(manifest, ("other",)).names == ("health-web", "other")
    assert make_plan(manifest).names == ("health-web", "health-raw", "dry", "create", "read", "other")


PAGES = """
[[smoke]]
name = "one"
service = "web"
path = "/items"
capture = { next = "next" }
[[smoke]]
name = "two"
service = "web"
path = "${next}"
capture = { next = "next" }
[[smoke]]
name = "three"
service = "web"
path = "${next}"
"""


def test_only_selects_the_step_that_captured_a_name_last(tmp_path):
    (tmp_path / "toombos.toml").write_text(SERVICE + PAGES)
    manifest = load_manifest(tmp_path)
    assert make_plan(manifest, ("two",)).names == ("health-web", "one", "two")
    assert make_plan(manifest, ("three",)).names == ("health-web", "one", "two", "three")


def test_only_with_an_unknown_step_suggests_the_nearest_name(tmp_path):
    (tmp_path / "toombos.toml").write_text(SERVICE + STEPS)
    with pytest.raises(UsageError) as refused:
        make_plan(load_manifest(tmp_path), ("creat",))
    assert refused.value.problems[0].hint == "did you mean 'create'?"


def test_the_packaged_steps_are_valid(tmp_path):
    names = make_plan(load_manifest(tmp_path)).names
    assert {"health-crm", "dry-run-generator", "generate", "isolation-sockets"} <= set(names)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
CONDITIONS = st.sampled_from([demand for demand, _, _ in DEMANDS.values()])


@given(value=JSON, demand=CONDITIONS)
def test_any_value_either_meets_a_condition_or_does_not(value, demand):
    assert read_condition(demand).holds(value) in (True, False)


@given(value=JSON)
def test_every_value_equals_itself(value):
    assert read_condition({"equals": value}).holds(value)
