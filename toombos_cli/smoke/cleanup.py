"""Removes what the steps created, in reverse order, whether or not the steps passed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toombos_cli.manifest.tables.conditions import read_condition, value_at
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import Reason, probe_http, read_json
from toombos_cli.smoke.variables import MissingVariableError, fill_path

_TIMEOUT_S = 10.0


class Cleanups:
    """The cleanups to send at the end. Which of them are allowed is checked before the first step."""

    def __init__(self, steps: tuple[SmokeStep, ...], services: Mapping[str, Service]) -> None:
        self._services = services
        self._forbidden = {step.name for step in steps if not _was_untouched(step, services)}
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._left: list[str] = []

    def add(self, step: SmokeStep, values: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Record the cleanup of a step that was sent, unless a capture is missing: then it created nothing."""
        cleanup = step.cleanup
        if cleanup is None:
            return
        try:
            url = self._services[step.service].url + fill_path(cleanup.path, values)
        except MissingVariableError:
            return
        if step.name in self._forbidden:
            self._left.append(f"{step.name}: its data in {step.service}, which already contained other data")
        else:
            self._pending[cleanup.method, url] = _Pending(step.name, cleanup.status, headers)

    def run(self) -> tuple[str, ...]:
        """Send the cleanups and return a description of each thing that is left behind."""
        for (method, url), pending in reversed(self._pending.items()):
            result = probe_http(url, method=method, headers=pending.headers, timeout_s=_TIMEOUT_S)
            if result.http_status not in pending.status:
                self._left.append(f"{pending.step}: {method} {url}: {result.detail or result.reason}")
        self._pending.clear()
        return tuple(dict.fromkeys(self._left))


@dataclass(frozen=True, slots=True)
class _Pending:
    step: str
    status: tuple[int, ...]
    headers: Mapping[str, str]


def _was_untouched(step: SmokeStep, services: Mapping[str, Service]) -> bool:
    condition = step.cleanup.if_at_start if step.cleanup else None
    if condition is None or step.service not in services:
        return True
    result = probe_http(services[step.service].url + condition.path, timeout_s=_TIMEOUT_S)
    if result.reason is not Reason.OK:
        return False
    try:
        document = read_json(result)
    except ValueError:
        return False
    return all(read_condition(demand).holds(value_at(document, path)) for path, demand in condition.json.items())
