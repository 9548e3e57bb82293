"""A client of the running Prometheus: targets, rules, queries (its HTTP API, v1)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.prometheus import PrometheusError, active_targets, prometheus_data, query

_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusTarget:
    """A scrape target; `last_error` is "" if the last scrape succeeded."""

    job: str
    url: str
    health: str
    last_error: str


class LoadedRule(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An alert rule that Prometheus has loaded; its state is inactive, pending or firing."""

    name: str
    state: str
    health: str
    last_error: str = ""


class _Group(msgspec.Struct):
    rules: tuple[LoadedRule, ...]


class _Rules(msgspec.Struct):
    groups: tuple[_Group, ...]


class PrometheusApi:
    """The API of one Prometheus. Each method raises OperationError if Prometheus does not respond as documented."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def targets(self) -> tuple[PrometheusTarget, ...]:
        """Return the active targets."""
        with self._as_documented():
            return tuple(
                PrometheusTarget(
                    job=target.labels.get("job", ""),
                    url=target.scrape_url,
                    health=target.health,
                    last_error=target.last_error,
                )
                for target in active_targets(self._service, timeout_s=_TIMEOUT_S)
            )

    def rules(self) -> tuple[LoadedRule, ...]:
        """Return the loaded alert rules."""
        with self._as_documented():
            found = prometheus_data(self._service, "/api/v1/rules?type=alert", _Rules, timeout_s=_TIMEOUT_S)
        return tuple(rule for group in found.groups for rule in group.rules)

    def count_series(self, expr: str) -> int:
        """Return the current number of series of the expression. The OperationError quotes Prometheus."""
        with self._as_documented():
            return len(query(self._service, expr, timeout_s=_TIMEOUT_S))

    @contextmanager
    def _as_documented(self) -> Iterator[None]:
        try:
            yield
        except PrometheusError as error:
            raise OperationError(
                f"Prometheus does not respond as expected: {error}",
                where=self._service.url,
                hint=here("monitoring", "up"),
            ) from None
