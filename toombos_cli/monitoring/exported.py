"""The metrics that a service exports, read from its live /metrics."""

from collections.abc import Mapping

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import here
from toombos_cli.base.text import size
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import Reason, endpoint_of, probe_http

_TIMEOUT_S = 10.0
_MAX_BODY_BYTES = 4 * 1024 * 1024
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("", "_count", "_sum"),
}


class NotServedError(OperationError):
    """Nothing listens at the service's address."""


def exported_metrics(service: Service, headers: Mapping[str, str] | None = None) -> frozenset[str]:
    """Return the names of the series that the service declares, including those without a value yet.

    Raise NotServedError if nothing listens, OperationError if there is no response, or it is not Prometheus text of at
    most 4 MiB.
    """
    from prometheus_client.parser import text_string_to_metric_families

    url = f"{service.url}{service.metrics}"
    answer = probe_http(
        url,
        headers=dict(headers or {}),
        timeout_s=_TIMEOUT_S,
        max_body_bytes=_MAX_BODY_BYTES,
        endpoint=endpoint_of(service),
    )
    if answer.reason is Reason.REFUSED:
        raise NotServedError("nothing listens there", where=url)
    if answer.reason is not Reason.OK:
        raise OperationError(answer.detail or answer.reason.value, where=url, hint=here("logs", service.name))
    if answer.truncated:
        raise OperationError(f"longer than {size(_MAX_BODY_BYTES)}", where=url)
    names: set[str] = set()
    try:
        for family in text_string_to_metric_families(answer.body.decode("utf-8")):
            names.update(family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",)))
            names.update(sample.name for sample in family.samples)
    except ValueError as error:
        raise OperationError(f"not in Prometheus' text format: {error}", where=url) from None
    return frozenset(names)
