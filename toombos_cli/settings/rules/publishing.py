"""Rules about where content is sent: dry-run mode, the mocks, the live publishers."""

from collections.abc import Iterator

from toombos_cli.base.addresses import is_loopback, url_address
from toombos_cli.base.findings import Finding, fail, ok, skip, warn
from toombos_cli.base.fixes import advice, toombos
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules.env_edits import fresh_secret, switch_on, unset, where_set
from toombos_cli.settings.strength import is_placeholder
from toombos_cli.settings.types import type_error
from toombos_cli.settings.values import is_true


def dryrun(facts: SettingsFacts) -> Iterator[Finding]:
    """Dry-run mode requires the mocks, and the mocks must be on this machine."""
    switches, mocks = facts.with_role("dry_run"), facts.with_role("use_mocks")
    if not switches:
        yield skip("the manifest documents no dry-run mode")
        return
    dry, mocked = facts.is_on("dry_run"), facts.is_on("use_mocks")
    switch, mock = next(iter(switches)), next(iter(mocks), "")
    if dry and mocks and not mocked:
        yield fail(
            f"{switch} is on and {mock} is off",
            where_set(facts, switch),
            where_set(facts, mock),
            cause=f"code that checks only {mock} would call the live systems",
            fix=switch_on(facts, mock),
            explained_by=facts.lost.get(mock, ""),
        )
    if mocked and not dry:
        yield warn(
            f"{mock} is on and {switch} is off",
            where_set(facts, mock),
            where_set(facts, switch),
            cause="nothing is published, but other requests to the network are not blocked",
            fix=switch_on(facts, switch),
            explained_by=facts.lost.get(switch, ""),
        )
    if dry:
        yield from _live_in_dry_run(facts, switch)
    if dry and (mocked or not mocks):
        yield ok("dry-run is on")
    elif not dry:
        yield ok(f"dry-run is OFF: {toombos(facts.manifest.project, 'start')} starts the live system")


def _live_in_dry_run(facts: SettingsFacts, switch: str) -> Iterator[Finding]:
    texts = (facts.clear.get(name, "") for name in facts.with_role("egress_hosts"))
    allowed = {host.strip().rstrip(".").lower() for text in texts for host in text.split(",")}
    for name in facts.with_role("mock_url"):
        url = facts.clear.get(name, "")
        if _is_remote(facts, name, url) and url_address(url)[0] not in allowed:
            yield fail(
                f"{name} is not on this machine",
                where_set(facts, name),
                cause="dry-run mode blocks requests to other hosts",
                fix=unset(facts, name) or advice("use a loopback address"),
            )
    for name in facts.with_role("live_url"):
        url = facts.clear.get(name, "")
        if _is_remote(facts, name, url):
            yield warn(
                f"{name} is a live address in dry-run mode",
                where_set(facts, name),
                cause=f"it is unused while {switch} is on; if that line is ever lost, content is published there",
                fix=unset(facts, name),
            )


def _is_remote(facts: SettingsFacts, name: str, url: str) -> bool:
    return bool(url) and not type_error(facts.variables[name], url) and not is_loopback(url_address(url)[0])


def live(facts: SettingsFacts) -> Iterator[Finding]:
    """Settings that live mode requires: without them the services refuse to start."""
    if not facts.with_role("dry_run"):
        yield skip("the manifest documents no dry-run mode")
    elif not facts.is_live:
        yield skip("dry-run is on")
    else:
        for name, variable in facts.variables.items():
            if variable.required_in_live and not facts.clear.get(name) and name not in facts.undecryptable:
                yield fail(
                    f"{name} is required in live mode but not set",
                    where_set(facts, name, f"{name} is not set"),
                    cause=variable.description,
                    fix=(fresh_secret(facts, name) if variable.generate else None)
                    or advice(f"add {name}=... to {facts.env_file.path}, or switch dry-run mode on"),
                    explained_by=facts.lost.get(name) or _why_live(facts),
                )
        mocks = {_place(facts, name) for name in facts.with_role("mock_url")} - {None}
        for name in facts.with_role("live_url"):
            place = _place(facts, name)
            if place in mocks or is_placeholder(facts.clear.get(name, "")):
                yield fail(
                    f"{name} is the address of a mock" if place in mocks else f"{name} is a placeholder",
                    where_set(facts, name),
                    cause="the generator refuses to start in live mode",
                    fix=advice(f"set {name} to the address of the live system, or switch dry-run mode on"),
                )


def _why_live(facts: SettingsFacts) -> str:
    """Return the rule that reports a dry-run switch without effect in `.env`, "" if live mode was chosen."""
    return next((facts.lost[name] for name in facts.with_role("dry_run") if name in facts.lost), "")


def _place(facts: SettingsFacts, name: str) -> tuple[str, int | None] | None:
    """Return host and port of a URL, with one name for all loopback hosts, or None if it is not a URL."""
    url = facts.clear.get(name, "")
    if not url or type_error(facts.variables[name], url):
        return None
    host, port = url_address(url)
    return ("loopback" if is_loopback(host) else host, port)


def publisher(facts: SettingsFacts) -> Iterator[Finding]:
    """The variables of a publisher must be set together."""
    channels = dict.fromkeys(v.channel for v in facts.variables.values() if v.channel)
    for channel in channels:
        members = {name: bool(facts.clear.get(name)) for name, v in facts.variables.items() if v.channel == channel}
        present = [name for name, is_set in members.items() if is_set]
        absent = [name for name, is_set in members.items() if not is_set]
        if present and absent and not facts.is_live:  # in live mode the rule `live` names what is missing
            yield warn(
                f"{', '.join(present)} set without {', '.join(absent)}",
                *(where_set(facts, name) for name in present),
                cause=f"the live publisher {channel} needs all of them",
                fix=advice(f"set {', '.join(absent)} too, or remove {', '.join(present)}"),
            )


def mock(facts: SettingsFacts) -> Iterator[Finding]:
    """Simulated faults that are switched on: their consequences are not faults of the system."""
    for name, variable in facts.with_role("simulation").items():
        value = facts.clear.get(name, "")
        if not value or value == variable.default or type_error(variable, value):
            continue
        if variable.type == "bool" and not is_true(value):
            continue
        if variable.type in ("int", "float") and float(value) == float(variable.default or 0):
            continue
        yield warn(
            f"{name} is set: the mocks simulate faults",
            where_set(facts, name),
            cause=variable.description,
            fix=unset(facts, name),
        )
