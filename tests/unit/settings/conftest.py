"""A project with a `.env`, and the findings of the rules about it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from toombos_cli.base.findings import Finding
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.reading.loader import load_manifest
from toombos_cli.project.configuration import gather_facts
from toombos_cli.settings.check import check_configuration
from toombos_cli.settings.facts import SettingsFacts

SAFE = "DRY_RUN_MODE=true\nUSE_MOCK_SERVICES=true\n"


class Project:
    """A project directory; every call reads its files again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = path / ".env"

    def write(self, text: str | bytes) -> "Project":
        self.env.write_bytes(text if isinstance(text, bytes) else text.encode())
        self.env.chmod(0o600)
        return self

    def facts(self, environ: Mapping[str, str] | None = None, *, mode: str | None = None) -> SettingsFacts:
        return gather_facts(load_manifest(self.path), mode=mode, environ=environ or {})

    def findings(
        self, environ: Mapping[str, str] | None = None, *, mode: str | None = None
    ) -> dict[str, list[Finding]]:
        found: dict[str, list[Finding]] = {}
        for finding in check_configuration(self.facts(environ, mode=mode)):
            found.setdefault(finding.id, []).append(finding)
        return found

    def wrong(self, environ: Mapping[str, str] | None = None, *, mode: str | None = None) -> list[Finding]:
        every = (f for found in self.findings(environ, mode=mode).values() for f in found)
        return [f for f in every if f.verdict not in (Verdict.PASS, Verdict.SKIP)]


@pytest.fixture
def configured(project: Path) -> Project:
    """Return the project with a `.env` that passes every rule."""
    return Project(project).write(SAFE)


Check = Callable[..., list[Finding]]
