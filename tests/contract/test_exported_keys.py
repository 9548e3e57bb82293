"""Every key of the manifest has a fate in each engine's files, and docs/many-machines.md shows it."""

from pathlib import Path

import msgspec
import pytest

from toombos_cli.export.fates import SECTIONS, SERVICE, Carried
from toombos_cli.export.model import ExportEngine
from toombos_cli.export.operations import ENGINES
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Limits, RestartTable, Service

PAGE = Path(__file__).parents[2] / "docs" / "many-machines.md"


def keys_of(table, prefix=""):
    return {f"{prefix}{field.name}" for field in msgspec.structs.fields(table)}


def test_every_key_of_a_service_has_a_fate():
    inner = keys_of(RestartTable, "restart.") | keys_of(Limits, "limits.")
    assert SERVICE.keys() == keys_of(Service) | inner


def test_every_section_of_the_manifest_has_a_fate():
    assert SECTIONS.keys() == keys_of(Manifest) - {"source"}


def test_every_engine_has_an_exporter():
    assert ENGINES.keys() == set(ExportEngine)


def row(key, fates):
    cells = (fates.of(engine) for engine in ExportEngine)
    said = (cell.to if isinstance(cell, Carried) else f"**no:** {cell.reason}" for cell in cells)
    return f"| `{key}` | {' | '.join(said)} |"


@pytest.mark.parametrize("table", [SERVICE, SECTIONS], ids=["services", "sections"])
def test_the_page_shows_the_fate_of_each_key(table):
    page = PAGE.read_text("utf-8")
    missing = [line for key, fates in table.items() if (line := row(key, fates)) not in page]
    assert missing == []
