"""Every field of a step either holds variables or is named as one that does not, and a value means the same in all."""

import re
from urllib.parse import quote

import msgspec
import pytest

from toombos_cli.base.exact_numbers import encode_exact
from toombos_cli.base.untrusted import decode_untrusted
from toombos_cli.manifest.tables.conditions import read_condition
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import Capture, Cleanup, Counter, Untouched, Upload
from toombos_cli.probes.steps.variables import NOT_FILLED, MissingVariableError, fill, fill_step, sent_by, used_by

CONVERSATION = ("send", "send_hex", "expect")
EXAMPLES = {
    (SmokeStep, "path"): "/${x}",
    (SmokeStep, "headers"): {"X-A": "${x}"},
    (SmokeStep, "body"): {"a": [{"b": "${x}"}]},
    (SmokeStep, "raw"): "<a>${x}</a>",
    (SmokeStep, "form"): {"a": ["${x}"]},
    (SmokeStep, "files"): {"f": Upload(content="${x}")},
    (SmokeStep, "response_headers"): {"X-A": "${x}"},
    (SmokeStep, "response_cookies"): {"a": {"matches": "${x}"}},
    (SmokeStep, "json"): {"a": {"min": "${x}"}},
    (SmokeStep, "metrics"): {"a": "${x}"},
    (SmokeStep, "text"): "${x}",
    (SmokeStep, "send"): "${x}",
    (SmokeStep, "expect"): "${x}",
    (SmokeStep, "capture"): {"y": "a[${x}]"},
    (SmokeStep, "counters"): (Counter(service="s", path="/", json="a", rises_by="${x}"),),
    (SmokeStep, "cleanup"): Cleanup(path="/${x}"),
    (Counter, "path"): "/${x}",
    (Counter, "rises_by"): "${x}",
    (Counter, "json"): "a[${x}]",
    (Counter, "metric"): 'm{a="${x}"}',
    (Cleanup, "path"): "/${x}",
    (Cleanup, "if_at_start"): Untouched(path="/${x}", json={}),
    (Untouched, "path"): "/${x}",
    (Untouched, "json"): {"a": {"equals": "${x}"}},
    (Upload, "path"): "${x}",
    (Upload, "content"): "${x}",
    (Upload, "name"): "${x}",
    (Upload, "type"): "${x}",
    (Capture, "json"): "a[${x}]",
    (Capture, "header"): "${x}",
    (Capture, "cookie"): "${x}",
    (Capture, "text"): "(${x})",
}


def step(**fields):
    path = {} if fields.keys() & {"path", *CONVERSATION} else {"path": "/"}
    method = "POST" if fields.keys() & {"form", "files"} else "GET"
    return SmokeStep(name="a", service="s", method=method, **path, **fields)


def holding(table, field):
    """Return a step with the example in the field of the table."""
    example = EXAMPLES[table, field]
    if table is SmokeStep:
        return step(**{field: example})
    if table is Counter:
        place = {} if field in ("json", "metric") else {"json": "a"}
        return step(counters=(Counter(**{"service": "s", "path": "/", "rises_by": 1} | place | {field: example}),))
    if table is Upload:
        place = {} if field in ("path", "content") else {"content": ""}
        return step(files={"f": Upload(**place | {field: example})})
    if table is Capture:
        return step(capture={"y": Capture(**{field: example})})
    if table is Cleanup:
        return step(cleanup=Cleanup(**{"path": "/"} | {field: example}))
    return step(cleanup=Cleanup(path="/", if_at_start=Untouched(**{"path": "/", "json": {}} | {field: example})))


def test_every_field_holds_variables_or_is_named_as_one_that_does_not():
    fields = {(table, field) for table in NOT_FILLED for field in table.__struct_fields__}
    unfilled = {(table, field) for table, names in NOT_FILLED.items() for field in names}
    assert unfilled <= fields
    assert EXAMPLES.keys() == fields - unfilled


@pytest.mark.parametrize(("table", "field"), EXAMPLES, ids=[f"{t.__name__}.{f}" for t, f in EXAMPLES])
def test_a_variable_is_found_and_filled_in_every_field_that_holds_variables(table, field):
    example = holding(table, field)
    assert used_by(example) == ("x",)
    filled = fill(example, {"x": 7})
    assert "${x}" not in msgspec.json.encode(filled).decode()
    with pytest.raises(MissingVariableError, match="x"):
        fill(example, {})


VALUES = {
    "a text": ('"it"', "it"),
    "true": ("true", "true"),
    "null": ("null", "null"),
    "an integer": ("7", "7"),
    "an integer beyond 2^53": ("9007199254740993", "9007199254740993"),
    "a decimal with a zero at its end": ("1.10", "1.10"),
    "a decimal with many digits": ("0.1234567890123456789", "0.1234567890123456789"),
    "a number with an exponent": ("1E+2", "1E+2"),
    "a number beyond every float": ("1e400", "1e400"),
    "an object": ('{"a":[1.0,null]}', '{"a":[1.0,null]}'),
    "an array": ("[true]", "[true]"),
}


@pytest.mark.parametrize(("document", "text"), VALUES.values(), ids=VALUES)
def test_a_value_is_spelled_the_same_wherever_it_stands(document, text):
    value = decode_untrusted(document, exact=True)
    example = step(
        path="/p/${x}?q=${x}",
        headers={"X": "${x}"},
        form={"f": "${x}"},
        text="^${x}$",
        json={"a": "<${x}>", "b": "${x}"},
    )
    filled = fill_step(example, {"x": value})
    assert filled.path == f"/p/{quote(text, safe='')}?q={quote(text, safe='')}"
    assert filled.headers == {"X": text}
    assert filled.form == {"f": text}
    assert filled.json["a"] == f"<{text}>"
    assert encode_exact(read_condition(filled.json["b"]).equals) == document  # with its type
    assert re.search(filled.text, text)


def test_a_value_in_an_expression_is_a_literal():
    filled = fill_step(step(text="^${x}$", json={"a": {"matches": "${x}$"}}), {"x": "a.b (c)|*"})
    assert (filled.text, filled.json["a"]["matches"]) == (r"^a\.b\ \(c\)\|\*$", r"a\.b\ \(c\)\|\*$")


def test_a_cleanup_may_use_what_its_own_step_captures():
    example = step(capture={"id": "id"}, cleanup=Cleanup(path="/${id}"))
    assert fill_step(example, {}).cleanup == example.cleanup


def test_what_is_only_compared_is_not_sent():
    example = step(
        path="/${env.A}",
        json={"a": "${env.B}"},
        text="${env.C}",
        response_headers={"X": "${env.D}"},
        capture={"y": Capture(text="(${env.E})")},
        form={"a": "${env.F}"},
        counters=(Counter(service="t", path="/${env.G}", json="${env.H}", rises_by=1),),
        cleanup=Cleanup(path="/${env.I}", if_at_start=Untouched(path="/${env.J}", json={"a": "${env.K}"})),
    )
    assert sent_by(example) == {"s": ("A", "F", "I", "J"), "t": ("G",)}
