"""A system of foreign programs, whose services are all stopped at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.foreign import ForeignSystem


@pytest.fixture
def system(tmp_path: Path) -> Iterator[ForeignSystem]:
    """An empty project for one test."""
    made = ForeignSystem(tmp_path)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForeignSystem]:
    """An empty project for all the tests of a module, which break nothing in it."""
    made = ForeignSystem(tmp_path_factory.mktemp("shared"))
    yield made
    made.stop()
