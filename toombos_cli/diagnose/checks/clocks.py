"""Clocks: that of this machine against those of others, against the times of its own files, and time zones of logs."""

from collections.abc import Iterator

from toombos_cli.base.addresses import is_loopback
from toombos_cli.base.findings import Check, Evidence, Finding, ok, skip, warn
from toombos_cli.base.fixes import advice
from toombos_cli.base.text import duration
from toombos_cli.diagnose.facts.logs import LOGS
from toombos_cli.diagnose.facts.probes import PROBES
from toombos_cli.diagnose.facts.source import Facts
from toombos_cli.diagnose.facts.system import SYSTEM

_GROUP = "resources"
_DIFFERS_S = 60.0
_SET = "see which time is right (date -u; timedatectl), and let every machine follow a time server (chrony, timesyncd)"


def others(facts: Facts) -> Iterator[Finding]:
    """The `Date` of each service's responses is that of this machine's clock."""
    asked = {name: found.health for name, found in facts.get(PROBES).items() if found.health.ahead_s is not None}
    if not asked:
        yield skip("no response of a service has a date")
    for name, probe in asked.items():
        ahead_s = probe.ahead_s or 0.0
        if abs(ahead_s) < _DIFFERS_S:
            continue
        is_here = is_loopback(facts.manifest.services[name].host)
        yield warn(
            f"the clock of {name} is {_apart(ahead_s)} this machine's",
            Evidence(source=probe.url, text="Date"),
            service=name,
            cause="its process is given another time (faketime)"
            if is_here
            else "one of the two has the wrong time: signatures, certificates and sessions expire early or late",
            fix=advice(f"start it with the time of the machine: command and env in [services.{name}] of toombos.toml")
            if is_here
            else advice(_SET),
        )


def own(facts: Facts) -> Iterator[Finding]:
    """Nothing that was written or started here has a time that is still to come."""
    logs, system = facts.get(LOGS), facts.get(SYSTEM)
    times = {log.path: log.modified_at for log in logs.values()}
    times |= {f"start of {name}": found.started_at for name, found in system.services.items() if found.runs}
    to_come = {what: at - facts.now for what, at in times.items() if at - facts.now > _DIFFERS_S}
    if to_come:
        what, ahead_s = max(to_come.items(), key=lambda item: item[1])
        yield warn(
            f"the time of {what} is still to come: this machine's clock was set back by {duration(ahead_s)} or more",
            *(Evidence(source=one, text=f"in {duration(later_s)}") for one, later_s in list(to_come.items())[:3]),
            cause="until then, ages, timeouts and the order of log lines are wrong",
            fix=advice(_SET),
        )
    for name, log in logs.items():
        if log.ahead_s:
            yield ok(f"{name} logs a time zone that is {_apart(-log.ahead_s)} this machine's", service=name)


def _apart(ahead_s: float) -> str:
    return f"{duration(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'}"


CHECKS = (
    Check(id="clock.others", title="clocks agree", group=_GROUP, run=others),
    Check(id="clock.own", title="no time is still to come", group=_GROUP, run=own),
)
