"""The meaning of a step's conditions, and the manifests that are refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toombos_cli.base.errors import ConfigurationError, UsageError
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
WRONG_STEPS = {
    "no path": ('name = "a"\nservice = "web"', "set either a path or loopback_only"),
    "a bad name": ('name = "a b"\nservice = "web"\npath = "/"', "use letters"),
    "a relative path": ('name = "a"\nservice = "web"\npath = "x"', "must begin with /"),
    "a bad status": ('name = "a"\nservice = "web"\npath = "/"\nstatus = "6xx"', "status '6xx' is not valid"),
    "an unknown operator": (
        'name = "a"\nservice = "web"\npath = "/"\njson = { x = { mn = 1 } }',
        "unknown operator 'mn'",
    ),
    "a bad expression": ('name = "a"\nservice = "web"\npath = "/"\njson = { x = { matches = "(" } }', "not a regular"),
    "a bad JSON path": ('name = "a"\nservice = "web"\npath = "/"\njson = { "x..y" = 1 }', "is not a path"),
    "an unknown key": ('name = "a"\nservice = "web"\npath = "/"\nexpect = 200', "unknown key"),
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
    assert str(tmp_path / "toombos.toml") in refused.value.problems[0].where


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
    assert make_plan(manifest).names == ("health-web", "dry", "create", "read", "other")


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
