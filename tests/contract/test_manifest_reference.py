"""docs/manifest.md and docs/smoke.md list every key of toombos.toml with its default."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toombos_cli.manifest.model import Logs, Manifest, Mode
from toombos_cli.manifest.tables.alerts import Alerts, ChannelTable, ContactTable, DeliveryTable
from toombos_cli.manifest.tables.backup import BackupScope, Retention, ServiceBackup
from toombos_cli.manifest.tables.conditions import Condition
from toombos_cli.manifest.tables.environment import Variable
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.health_words import CLASSES, HealthWords, dictionary
from toombos_cli.manifest.tables.hosts import HostTable
from toombos_cli.manifest.tables.known import KnownLine
from toombos_cli.manifest.tables.load import LoadDefaults
from toombos_cli.manifest.tables.monitoring import AlertRule, Monitoring, Panel, Patience, Thresholds
from toombos_cli.manifest.tables.places import PlaceAddress, PlaceTable
from toombos_cli.manifest.tables.schedule import Job
from toombos_cli.manifest.tables.service import Limits, RestartTable, Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.manifest.tables.smoke_parts import Capture, Cleanup, Counter, Until, Untouched, Upload
from toombos_cli.manifest.tables.watch import WatchTable

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "manifest.md").read_text()
TABLES: dict[str, type[msgspec.Struct]] = {
    "[services.NAME]": Service,
    "[services.NAME.health], ready and live": Expectation,
    "[services.NAME.restart]": RestartTable,
    "[services.NAME.limits]": Limits,
    "[services.NAME.backup]": ServiceBackup,
    "[services.NAME.watch]": WatchTable,
    "[health_words]": HealthWords,
    "[modes.NAME]": Mode,
    "[environment.NAME]": Variable,
    "[logs]": Logs,
    "[load]": LoadDefaults,
    "[backup]": BackupScope,
    "[backup.retention]": Retention,
    "[alerts]": Alerts,
    "[monitoring]": Monitoring,
    "[[monitoring.rules]]": AlertRule,
    "[[monitoring.panels]]": Panel,
    "[[diagnose.known]]": KnownLine,
    "[schedule.NAME]": Job,
    "[places.NAME]": PlaceTable,
    "[places.NAME.services.SERVICE]": PlaceAddress,
    "[hosts.NAME]": HostTable,
}
ELSEWHERE = {("[services.NAME]", "name"), ("[services.NAME]", "restart"), ("[services.NAME]", "limits")}
ELSEWHERE |= {("[services.NAME]", "backup")}
ELSEWHERE |= {("[backup]", "retention")}


def section(heading: str) -> str:
    return re.split(r"^#+ ", REFERENCE.partition(f" {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(heading: str) -> dict[str, str]:
    """Return the text in the default column of each key."""
    return dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\| ", section(heading), flags=re.MULTILINE))


@pytest.mark.parametrize("heading", TABLES)
def test_the_reference_lists_exactly_the_keys_of_a_table(heading):
    keys = [f.name for f in msgspec.structs.fields(TABLES[heading]) if (heading, f.name) not in ELSEWHERE]
    assert sorted(rows(heading)) == sorted(keys)


def plain(default: Any) -> bool:
    return isinstance(default, bool | int | float | str)


@pytest.mark.parametrize("heading", TABLES)
def test_the_reference_shows_the_actual_default(heading):
    shown = rows(heading)
    for field in msgspec.structs.fields(TABLES[heading]):
        if (heading, field.name) in ELSEWHERE:
            continue
        if field.required:
            assert shown[field.name] == "required", field.name
        elif plain(field.default):
            wanted = msgspec.json.encode(field.default).decode().removesuffix(".0")
            assert shown[field.name] == f"`{wanted}`", field.name


@pytest.mark.parametrize(("heading", "table"), [("thresholds", Thresholds), ("patience", Patience)])
def test_the_row_of_a_monitoring_table_lists_all_keys_and_defaults(heading, table):
    (line,) = re.findall(rf"^\| `{heading}` .*$", section("[monitoring]"), flags=re.MULTILINE)
    assert dict(re.findall(r"`(\w+)` ([0-9.]+)", line)) == {
        f.name: f"{f.default:g}" for f in msgspec.structs.fields(table)
    }


@pytest.mark.parametrize("table", [ContactTable, ChannelTable, DeliveryTable])
def test_the_section_on_alerts_names_the_keys_of_its_small_tables(table):
    for field in msgspec.structs.fields(table):
        assert re.search(rf"\b{field.name}\b", section("[alerts]")), field.name


def test_every_section_of_the_manifest_has_a_heading():
    sections = {f.name for f in msgspec.structs.fields(Manifest)} - {"name", "schema_version", "source", "env_files"}
    assert {re.match(r"\[*(\w+)", h)[1] for h in re.findall(r"^## (\[.*)$", REFERENCE, flags=re.MULTILINE)} == sections


@pytest.mark.parametrize("table", [SmokeStep, Counter, Cleanup, Untouched, Upload, Capture, Until, Condition])
def test_the_page_on_smoke_steps_names_every_key(table):
    page = (DOCS / "smoke.md").read_text()
    for field in msgspec.structs.fields(table):
        assert re.search(rf"`[^`\n]*\b{field.name}\b", page), field.name


def test_every_link_in_the_documents_points_to_a_file():
    root = DOCS.parent
    for page in (root / "README.md", *DOCS.rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_the_page_about_health_lists_every_word():
    page = (DOCS / "health.md").read_text()
    listed = {}
    for name in CLASSES:
        paragraph = page.partition(f"**{name}:**")[2].partition("\n\n")[0]
        listed |= dict.fromkeys(re.findall(r"`([^`]+)`", " ".join(paragraph.split())), name)
    assert listed == dictionary()
