"""Certificates: valid now and for a while, and the ones that services serve are those of their files."""

from collections.abc import Iterator
from datetime import UTC, datetime

from toombos_cli.base.findings import Check, Evidence, Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.diagnose.facts.certificates import CERTIFICATES, CertificateFacts
from toombos_cli.diagnose.facts.source import Facts

_GROUP = "network"
_DAY_S = 86_400.0
_SOON_S = 14 * _DAY_S
_SHORT_LIFE_RATIO = 0.1
"""A certificate of a few days is renewed late in its life."""


def dates(facts: Facts) -> Iterator[Finding]:
    """Certificates that have expired, soon will, or are not valid yet."""
    found = facts.get(CERTIFICATES)
    if not found:
        yield skip("no service has a certificate")
    for one in found:
        what = f"the certificate in {one.path}" if one.path else f"the certificate that {one.service} serves"
        at = Evidence(source=one.path or one.service, text=f"{one.subject}, until {_day(one.ends_at)}")
        restart = toombos(facts.manifest.project, "restart", one.service)
        renew = advice(f"renew it, then: {restart}")
        left_s = one.ends_at - facts.now
        if left_s < 0:
            reason = f"{what} expired on {_day(one.ends_at)}"
            yield fail(reason, at, service=one.service, cause="clients that verify it refuse to connect", fix=renew)
        elif one.begins_at > facts.now:
            yield fail(
                f"{what} is valid only from {_day(one.begins_at)}",
                at,
                service=one.service,
                cause="the clock of this machine, or of the one that issued it, is wrong",
                fix=advice(f"compare the clock: date -u; if it is right, renew the certificate, then: {restart}"),
            )
        elif left_s < min(_SOON_S, _SHORT_LIFE_RATIO * (one.ends_at - one.begins_at)):
            reason = f"{what} expires on {_day(one.ends_at)}"
            yield warn(reason, at, service=one.service, cause="its renewal is overdue", fix=renew)
        elif newer := _newer_on_disk(one, found):
            yield warn(
                f"{what} is older than the one in {newer.path}",
                at,
                service=one.service,
                cause="it read the file before the certificate was renewed",
                fix=restart,
            )
        else:
            yield ok(f"{what} is valid until {_day(one.ends_at)}", service=one.service)


def _newer_on_disk(one: CertificateFacts, found: tuple[CertificateFacts, ...]) -> CertificateFacts | None:
    """Return the certificate of the same name that the service's command names and that has replaced the served one."""
    if one.path:
        return None
    alike = [o for o in found if o.path and (o.service, o.subject) == (one.service, one.subject)]
    is_served = any(other.serial == one.serial for other in alike)
    return next((other for other in alike if not is_served and other.begins_at > one.begins_at), None)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


CHECKS = (Check(id="tls.dates", title="certificates are valid", group=_GROUP, run=dates),)
