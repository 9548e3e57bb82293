"""The generator's database is removed while it runs: all still works, and all of it would be lost with the process."""

import json
import urllib.request

from tests.faults.diagnose.conftest import DryRun
from tests.faults.diagnose.test_fifteen_faults import generate


def stored(system: DryRun) -> list[str]:
    url = f"http://127.0.0.1:{system.ports['generator']}/api/v2/generations?limit=100"
    request = urllib.request.Request(url, headers={"X-API-Key": system.api_key})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [item["content_id"] for item in json.load(answer)["generations"]]


def test_a_database_that_was_removed_in_use_is_found_and_the_fix_brings_all_of_it_back(system: DryRun):
    assert generate(system) == 200
    kept = stored(system)
    assert kept
    for path in (system.project / "data").glob("generator.db*"):
        path.unlink()
    root = system.diagnose().only_root("db.ping", "generator")
    assert "removed while the service uses it" in root["reason"]
    system.paste(root["fix"])
    system.wait_until_well()
    assert stored(system) == kept
