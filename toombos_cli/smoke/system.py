"""The system under test, and what a round of the smoke test has learned about it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toombos_cli.manifest.tables.expectations import ProbeSetting, filled_headers
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.steps.variables import ENVIRONMENT, value_of
from toombos_cli.smoke.links import path_of_link


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedSystem:
    """The system under test: the services of a project, and the variables of each service."""

    project: Path
    services: Mapping[str, Service]
    environment: Mapping[str, Mapping[str, str]]
    has_dry_run: bool
    """Whether the manifest describes the mode dry_run."""
    allowed_targets: Collection[str] = ()
    """The hosts beyond this machine that may receive variables of the environment."""
    place: str = ""
    """The place that is tested, "" for this machine."""
    may_write: bool = True
    """Whether writing steps may run: a place has to allow it."""
    settings: Mapping[str, ProbeSetting] = field(default_factory=dict)
    """What the health probes of some services need."""

    def headers(self, service: Service, own: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the headers of a request: the service's, replaced by those of the same name in any case in `own`.

        A header of the service whose variable is not set is left out.
        """
        filled, _ = filled_headers(service.headers, dict(self.environment.get(service.name, {})))
        replaced = {name.lower() for name in own or {}}
        return {name: value for name, value in filled.items() if name.lower() not in replaced} | dict(own or {})


class Known:
    """The variables of a round: those of the environment, and the values that its steps have captured."""

    def __init__(self, system: TestedSystem, run_id: Mapping[str, str]) -> None:
        self.system = system
        self.captured: dict[str, Any] = dict(run_id)
        self._found_at: dict[str, str] = {}

    def values(self, service: str) -> Mapping[str, Any]:
        """Return the variables that a step of this service may use now."""
        environment = self.system.environment.get(service, {})
        return self.captured | {ENVIRONMENT + name: value for name, value in environment.items()}

    def capture(self, name: str, value: Any, *, found_at: str) -> None:
        """Take a value, and the URL of the response that held it: a link is relative to that."""
        self.captured[name], self._found_at[name] = value, found_at

    def path(self, path: str, service: Service, *, headers: Mapping[str, str], user: str) -> str:
        """Return the path of a filled request of the service `user`; a path that is one variable is a link.

        Raises MissingVariableError, and ValueError for a link that leads elsewhere.
        """
        link = value_of(path, self.values(user))
        if link is None:
            return path
        name, value = link
        return path_of_link(value, found_at=self._found_at.get(name, ""), service=service, headers=headers)
