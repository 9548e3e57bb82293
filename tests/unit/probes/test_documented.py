"""The page on probes names every reason and cause."""

from pathlib import Path

import pytest

from toombos_cli.probes import Cause, Reason

PAGE = (Path(__file__).parents[3] / "docs" / "probes.md").read_text("utf-8")


@pytest.mark.parametrize("value", [*Reason, *Cause])
def test_each_reason_and_cause_is_documented(value):
    assert f"`{value}`" in PAGE
