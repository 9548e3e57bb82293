"""Removes what the steps created, in reverse order, whether or not the steps passed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toombos_cli.manifest.tables.conditions import read_condition, value_at
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes import Reason, probe_http
from toombos_cli.probes.endpoint import endpoint_of
from toombos_cli.probes.steps.response import StepResponse
from toombos_cli.probes.steps.variables import MissingVariableError, fill, is_fixed, used_at_start
from toombos_cli.smoke.system import Known

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 10.0


class Cleanups:
    """The cleanups to send at the end. Which of them are allowed is checked before the first step."""

    def __init__(self, steps: tuple[SmokeStep, ...], known: Known) -> None:
        self._known = known
        self._forbidden: set[str] = set()
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._left: list[str] = []
        for step in steps:
            if all(map(is_fixed, used_at_start(step))):
                self._check(step)

    def before(self, step: SmokeStep) -> None:
        """Check the condition of a cleanup that uses captured values, which were unknown at the start."""
        if not all(map(is_fixed, used_at_start(step))):
            self._check(step)

    def add(self, step: SmokeStep, headers: Mapping[str, str], cookies: "httpx.Cookies | None") -> None:
        """Record the cleanup of a step that was sent, unless a capture is missing: then it created nothing."""
        if step.cleanup is None:
            return
        service = self._known.system.services[step.service]
        try:
            cleanup = fill(step.cleanup, self._known.values(step.service))
            path = self._known.path(cleanup.path, service, headers=headers, user=step.service)
        except MissingVariableError:
            return
        except ValueError as error:
            self._left.append(f"{step.name}: {error}")
            return
        if step.name in self._forbidden:
            self._left.append(f"{step.name}: its data in {step.service}, which already contained other data")
        else:
            pending = _Pending(step.name, service, cleanup.status, headers, cookies)
            self._pending[cleanup.method, service.url + path] = pending

    def run(self) -> tuple[str, ...]:
        """Send the cleanups and return a description of each thing that is left behind."""
        for (method, url), pending in reversed(self._pending.items()):
            result = probe_http(
                url,
                method=method,
                headers=pending.headers,
                timeout_s=_TIMEOUT_S,
                endpoint=endpoint_of(pending.service),
                cookies=pending.cookies,
            )
            if result.http_status not in pending.status:
                self._left.append(f"{pending.step}: {method} {url}: {result.detail or result.reason}")
        self._pending.clear()
        return tuple(dict.fromkeys(self._left))

    def _check(self, step: SmokeStep) -> None:
        if not self._was_untouched(step):
            self._forbidden.add(step.name)

    def _was_untouched(self, step: SmokeStep) -> bool:
        written = step.cleanup.if_at_start if step.cleanup else None
        system = self._known.system
        if written is None or step.service not in system.services:
            return True
        service, condition = system.services[step.service], fill(written, self._known.values(step.service))
        headers = system.headers(service)
        path = self._known.path(condition.path, service, headers=headers, user=step.service)
        result = probe_http(service.url + path, headers=headers, timeout_s=_TIMEOUT_S, endpoint=endpoint_of(service))
        response = StepResponse(result=result)
        if result.reason is not Reason.OK or response.not_json:
            return False
        return all(read_condition(want).holds(value_at(response.json, path)) for path, want in condition.json.items())


@dataclass(frozen=True, slots=True)
class _Pending:
    step: str
    service: Service
    status: tuple[int, ...]
    headers: Mapping[str, str]
    cookies: "httpx.Cookies | None"
