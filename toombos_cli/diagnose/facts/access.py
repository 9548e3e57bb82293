"""Whether services enforce their access key: one read-only request with no key, a wrong key and the right key."""

import secrets
from collections.abc import Iterator

import msgspec

from toombos_cli.diagnose.facts.configuration import SETTINGS
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Fact, Facts
from toombos_cli.probes import is_this_machine, probe_http
from toombos_cli.project.own_requests import OwnRequests

_TIMEOUT_S = 1.5


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
            key = settings.service_clear(used).values.get(name, "")
            # A route that only reads and takes no parameters: asking it changes nothing.
            routes = [o.path for o in probes[used].operations if o.method == "GET" and o.secured and "{" not in o.path]
            if not routes:
                continue
            service = facts.manifest.services[used]
            if not is_this_machine(service.host):  # a key does not leave the machine to find out whether it works
                continue
            url = service.url + routes[0]
            yield AccessFacts(
                service=used,
                variable=name,
                url=url,
                key_set=bool(key),
                without=_status(url, None, request_id),
                wrong=_status(url, f"wrong-{secrets.token_hex(8)}", request_id),
                right=_status(url, key, request_id) if key else None,
            )


def _status(url: str, key: str | None, request_id: str) -> int | None:
    headers = {"X-Request-ID": request_id} | ({"X-API-Key": key} if key else {})
    try:
        return probe_http(url, headers=headers, timeout_s=_TIMEOUT_S).http_status
    except ValueError:  # the key cannot be sent in a header
        return None


ACCESS: Fact[tuple[AccessFacts, ...]] = Fact("access", tuple[AccessFacts, ...], _gather)
