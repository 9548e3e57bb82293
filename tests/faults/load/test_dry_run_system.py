"""`toombos load` without a word, on the running dry-run system: what it counts is what the generator counted."""

import json
import re
import urllib.request
from pathlib import Path

from tests.conftest import Toombos
from toombos_cli.manifest.loader import load_manifest


def test_the_default_run_agrees_with_the_generators_own_metric(toombos: Toombos, project: Path):
    started = toombos("start", "--dry-run", timeout_s=120)
    assert started.returncode == 0, started.stderr
    done = toombos("--json", "load")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)["data"]
    generator = load_manifest(project).services["generator"]
    with urllib.request.urlopen(f"{generator.url}/metrics") as answer:
        metrics = answer.read().decode()
    row = re.search(r'http_requests_total\{method="POST",path="/api/v2/generate-content",status="200"\} (\S+)', metrics)
    assert row
    assert float(row[1]) == data["counts"]["ok"] == data["counts"]["scheduled"] == 100
    (server,) = data["server"]
    assert server["name"] == "generator"
    assert server["cpu_ms_per_request"] > 0
    assert server["rss_max_bytes"] > 20_000_000
