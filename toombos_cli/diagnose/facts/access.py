"""Whether services enforce their access key: one read-only request with no key, a wrong key and the right key."""

import secrets
from collections.abc import Iterator, Mapping
from functools import partial

import msgspec

from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.manifest.tables.expectations import filled_headers
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import endpoint_of, probe_http
from toombos_cli.probes.reach import may_receive
from toombos_cli.project.own_requests import OwnRequests

_TIMEOUT_S = 1.5
_KEY = "X-API-Key"


class AccessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """HTTP statuses of one service's route, None without a response; `right` is also None if no key is set."""

    service: str
    variable: str
    url: str
    key_set: bool
    without: int | None = None
    wrong: int | None = None
    right: int | None = None


def _gather(facts: Facts) -> tuple[AccessFacts, ...]:
    return tuple(_ask_all(facts))


def _ask_all(facts: Facts) -> Iterator[AccessFacts]:
    settings, probes = facts.get(SETTINGS), facts.get(PROBES)
    request_id = OwnRequests.of(facts.manifest.project).new_id("diagnose-access")
    for name, variable in settings.with_role("access_key").items():
        for used in variable.used_by:
            if used not in probes:
                continue
            values = settings.service_clear(used).values
            key = values.get(name, "")
            # A route that only reads and takes no parameters: asking it changes nothing.
            routes = [o.path for o in probes[used].operations if o.method == "GET" and o.secured and "{" not in o.path]
            if not routes:
                continue
            service = facts.manifest.services[used]
            # A key does not leave the machine to find out whether it works.
            if not may_receive(service, is_allowed=False):
                continue
            headers = {**filled_headers(service.headers, dict(values))[0], "X-Request-ID": request_id}
            ask = partial(_status, service, routes[0], headers=headers)
            yield AccessFacts(
                service=used,
                variable=name,
                url=service.url + routes[0],
                key_set=bool(key),
                without=ask(None),
                wrong=ask(f"wrong-{secrets.token_hex(8)}"),
                right=ask(key) if key else None,
            )


def _status(service: Service, path: str, key: str | None, headers: Mapping[str, str]) -> int | None:
    """Return the status of a request with this key and none besides, even if the service's own headers hold one."""
    sent = {name: value for name, value in headers.items() if name.lower() != _KEY.lower()}
    sent |= {_KEY: key} if key else {}
    try:
        return probe_http(
            service.url + path, headers=sent, timeout_s=_TIMEOUT_S, endpoint=endpoint_of(service)
        ).http_status
    except ValueError:  # the key cannot be sent in a header
        return None


ACCESS: Fact[tuple[AccessFacts, ...]] = Fact("access", tuple[AccessFacts, ...], _gather)
