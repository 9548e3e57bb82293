"""`toombos load` on the running dry-run system: its counts agree with those of the generator."""

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.support.runner import Toombos
from toombos_cli.manifest.reading.loader import load_manifest


@pytest.fixture
def generator(toombos: Toombos, project: Path) -> str:
    """The URL of the generator in a running dry-run system."""
    started = toombos("start", "--dry-run", timeout_s=120)
    assert started.returncode == 0, started.stderr
    return load_manifest(project).services["generator"].url


def answered(generator: str) -> float:
    """Return how many generation requests succeeded according to the generator."""
    with urllib.request.urlopen(f"{generator}/metrics") as response:
        metrics = response.read().decode()
    row = re.search(r'http_requests_total\{method="POST",path="/api/v2/generate-content",status="200"\} (\S+)', metrics)
    assert row, metrics
    return float(row[1])


def test_the_default_run_agrees_with_the_metric_of_the_generator(toombos: Toombos, generator: str):
    done = toombos("--json", "load")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)["data"]
    assert answered(generator) == data["counts"]["ok"] == data["counts"]["scheduled"] == 100
    server, *behind = data["server"]
    assert server["name"] == "generator"
    assert [other["name"] for other in behind] == ["crm", "platform"], "what it depends on"
    assert server["cpu_ms_per_request"] > 0
    assert server["rss_max_bytes"] > 20_000_000
