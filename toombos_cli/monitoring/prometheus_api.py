"""A client of the running Prometheus: targets, rules, queries (its HTTP API, v1)."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import probe_http

_TIMEOUT_S = 10.0
_MAX_BODY_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusTarget:
    """A scrape target; `last_error` is "" if the last scrape succeeded."""

    job: str
    url: str
    health: str
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRule:
    """An alert rule that Prometheus has loaded; its state is inactive, pending or firing."""

    name: str
    state: str
    health: str
    last_error: str


class PrometheusApi:
    """The API of one Prometheus. Each method raises OperationError if Prometheus does not respond as documented."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def targets(self) -> tuple[PrometheusTarget, ...]:
        """Return the active targets."""
        data = self._get("/api/v1/targets?state=active")
        return tuple(
            PrometheusTarget(
                job=target["labels"].get("job", ""),
                url=target["scrapeUrl"],
                health=target["health"],
                last_error=target["lastError"],
            )
            for target in data["activeTargets"]
        )

    def rules(self) -> tuple[LoadedRule, ...]:
        """Return the loaded alert rules."""
        groups = self._get("/api/v1/rules?type=alert")["groups"]
        return tuple(
            LoadedRule(
                name=rule["name"], state=rule["state"], health=rule["health"], last_error=rule.get("lastError", "")
            )
            for group in groups
            for rule in group["rules"]
        )

    def count_series(self, expr: str) -> int:
        """Return the current number of series of the expression. The OperationError quotes Prometheus."""
        return len(self._get(f"/api/v1/query?query={quote(expr)}")["result"])

    def _get(self, path: str) -> Any:
        url = self._service.url + path
        response = probe_http(url, timeout_s=_TIMEOUT_S, max_body_bytes=_MAX_BODY_BYTES)
        try:
            body = msgspec.json.decode(response.body)
        except msgspec.DecodeError:
            body = None
        if isinstance(body, dict) and body.get("status") == "success":
            return body["data"]
        reason = body.get("error") if isinstance(body, dict) else None
        raise OperationError(
            f"Prometheus does not respond as expected: {reason or response.detail or response.http_status}",
            where=self._service.url,
            hint=here("monitoring", "up"),
        )
