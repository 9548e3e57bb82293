"""The smoke test's variables, metrics, schemas and annotations."""

import pytest

from toombos_cli.base.results import Verdict
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import Cleanup
from toombos_cli.probes.steps.metrics import metric_value
from toombos_cli.probes.steps.variables import MissingVariableError, fill, fill_step
from toombos_cli.render.github import annotations, summary
from toombos_cli.smoke.report import SmokeReport, StepResult

VALUES = {"id": "a/b ?", "n": 3, "env.KEY": "k"}


def test_a_lone_variable_keeps_its_type_and_becomes_text_inside_a_text():
    step = SmokeStep(name="a", service="s", path="/", body={"a": "${n}", "b": ["x${n}", 1, None]})
    assert fill_step(step, VALUES).body == {"a": 3, "b": ["x3", 1, None]}


def test_a_value_in_a_path_cannot_lead_to_another_path():
    assert fill(Cleanup(path="/items/${id}"), VALUES).path == "/items/a%2Fb%20%3F"


def test_an_unset_environment_variable_is_empty_and_any_other_unset_variable_is_an_error():
    assert fill("<${env.OTHER}>", VALUES) == "<>"
    with pytest.raises(MissingVariableError, match="other"):
        fill("${other}", VALUES)


METRICS = """# TYPE hits counter
hits_total{path="/a",code="200"} 2
hits_total{path="/b",code="500"} 3
# TYPE up gauge
up 1
"""
METRIC_CASES = {
    "up": 1,
    "hits_total": 5,
    'hits_total{code="500"}': 3,
    'hits_total{code="200", path="/a"}': 2,
    'hits_total{code="404"}': None,
    "absent": None,
}


@pytest.mark.parametrize(("metric", "value"), METRIC_CASES.items(), ids=METRIC_CASES)
def test_a_metric_is_the_sum_of_its_matching_samples(metric, value):
    assert metric_value(METRICS, metric) == value


@pytest.mark.parametrize("metric", ["1x", "a{b=c}", "a{b", "a b"])
def test_an_invalid_metric_is_refused(metric):
    with pytest.raises(ValueError, match=r"is not a metric|cannot be read"):
        metric_value(METRICS, metric)


def test_a_result_cannot_inject_a_workflow_command_or_markup():
    step = StepResult(
        name="a", service="s", verdict=Verdict.FAIL, expected="x\n::set-env name=a::b", got="100 %, | <b>"
    )
    report = SmokeReport(steps=(step,), duration_s=1)
    (line,) = annotations(report, title="toombos smoke").splitlines()
    assert line == ("::error title=toombos smoke%3A a::expected: x ::set-env name=a::b%0Agot: 100 %25, | <b>")
    row = next(line for line in summary(report, title="toombos smoke").splitlines() if line.startswith("| FAIL"))
    assert row.count("\\|") == 1
    assert "\\<b\\>" in row
