"""Asks a running Prometheus through its HTTP API, v1."""

from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from toombos_cli.base.text import one_line
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes.endpoint import endpoint_of
from toombos_cli.probes.http import probe_http

T = TypeVar("T")
_MAX_BODY_BYTES = 16 * 1024 * 1024


class PrometheusError(Exception):
    """Prometheus did not respond as its API documents. The message says what it answered."""


class ActiveTarget(msgspec.Struct, frozen=True, rename="camel"):
    """A scrape target; `last_error` is "" if the last scrape succeeded."""

    scrape_url: str
    health: str = "unknown"
    last_error: str = ""
    labels: dict[str, str] = {}


class _Targets(msgspec.Struct, rename="camel"):
    active_targets: tuple[ActiveTarget, ...]


class _Result(msgspec.Struct):
    result: tuple[Any, ...]


class _Response(msgspec.Struct):
    status: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""


def active_targets(prometheus: Service, *, timeout_s: float) -> tuple[ActiveTarget, ...]:
    """Return the active targets. Raise PrometheusError."""
    return prometheus_data(prometheus, "/api/v1/targets?state=active", _Targets, timeout_s=timeout_s).active_targets


def query(prometheus: Service, expression: str, *, timeout_s: float) -> tuple[Any, ...]:
    """Return the series of an expression. Raise PrometheusError."""
    path = f"/api/v1/query?query={quote(expression)}"
    return prometheus_data(prometheus, path, _Result, timeout_s=timeout_s).result


def prometheus_data(prometheus: Service, path: str, kind: type[T], *, timeout_s: float) -> T:
    """Return the data of a successful response. Raise PrometheusError."""
    found = probe_http(
        prometheus.url + path,
        timeout_s=timeout_s,
        max_body_bytes=_MAX_BODY_BYTES,
        endpoint=endpoint_of(prometheus),
    )
    try:
        response = decode_untrusted(found.body, _Response)
        if response.status == "success":
            return decode_untrusted(bytes(response.data), kind)
    except UntrustedError as error:
        raise PrometheusError(found.detail or one_line(str(error))) from None
    raise PrometheusError(one_line(response.error) or found.detail or f"HTTP {found.http_status}")
