"""The shop, exported once for each engine."""

from pathlib import Path

import pytest

from tests.support.exported_shop import write_shop
from toombos_cli.export.model import ExportEngine
from toombos_cli.export.operations import run_export
from toombos_cli.manifest.reading.loader import load_manifest


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shop(tmp_path_factory.mktemp("export") / "shop")


@pytest.fixture(scope="session")
def exported(shop: Path):
    """The report of each engine; its files are in `out/ENGINE`."""
    manifest = load_manifest(shop)
    return {engine: run_export(manifest, engine, output=shop / "out" / engine, check=False) for engine in ExportEngine}
