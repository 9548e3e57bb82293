"""The configuration rules and the function that runs them, for both `config check` and `diagnose`."""

from collections.abc import Callable, Iterable

from toombos_cli.base.findings import Check, Finding
from toombos_cli.settings.facts import SettingsFacts
from toombos_cli.settings.rules import backups, file, lines, names, ports, publishing, secrets, values

# The rules that explain a wrong value: the file cannot be read, or the line is lost.
_UNREAD = ("not_found", "mode", "load")
_LOST = (*_UNREAD, "parse", "extra")
_LINES = ("parse", "spaces", "duplicates", "portability", "extra", "pydantic_v1")
_VALUES = ("types", "missing", "shadow", "dryrun", "live", "publisher", "secret_set", "mock", "client_urls", "dsn")


def _rule(
    name: str, title: str, run: Callable[[SettingsFacts], Iterable[Finding]], *follows: str
) -> Check[SettingsFacts]:
    return Check(id=name, title=title, group="config", run=run, follows=follows)


def _each_file(run: Callable[[SettingsFacts], Iterable[Finding]]) -> Callable[[SettingsFacts], Iterable[Finding]]:
    """Return a rule about one env file as a rule about all of them."""
    return lambda facts: (finding for view in facts.each_file() for finding in run(view))


# Causes come before their consequences.
RULES: tuple[Check[SettingsFacts], ...] = (
    _rule("not_found", ".env is found", file.not_found),
    _rule("mode", "only the owner can read .env", _each_file(file.mode)),
    _rule("owner", ".env belongs to the user", _each_file(file.owner)),
    _rule("writers", "only this user can write the project", file.writers),
    _rule("load", ".env can be loaded", file.load, "not_found", "mode"),
    _rule("parse", "every line of .env is read", _each_file(lines.parse)),
    _rule("spaces", "no spaces around =", _each_file(lines.spaces)),
    _rule("duplicates", "every name is set once", _each_file(lines.duplicates)),
    _rule("portability", "shells read the same values", _each_file(lines.portability)),
    _rule("extra", "every name is known", names.extra),
    _rule("pydantic_v1", "settings classes work with pydantic 2", names.pydantic_v1),
    _rule("shadow", "the environment agrees with .env", values.shadow),
    _rule("types", "every value fits its type", values.types, "parse"),
    _rule("missing", "required settings are set", names.missing, *_LOST, "shadow"),
    _rule("dryrun", "dry-run mode is consistent", publishing.dryrun, *_LOST, "types", "shadow"),
    _rule("live", "live mode has its required settings", publishing.live, *_LOST, "types", "shadow", "dryrun"),
    _rule("provenance", "where values come from", values.provenance),
    _rule("secret_set", "secrets are strong", secrets.secret_set, "shadow", "dryrun"),
    _rule("security", "nothing is exposed", secrets.security),
    _rule("dryrun_auth", "dry-run mode is closed to strangers", secrets.dryrun_auth),
    _rule("publisher", "publishers are configured completely", publishing.publisher, "parse", "extra", "live"),
    _rule("mock", "the mocks simulate no faults", publishing.mock),
    _rule("dsn", "the database can be reached by its URL", values.database),
    _rule("port_clash", "ports are used once", ports.port_clash),
    _rule("client_urls", "callers use the right ports", ports.client_urls, "port_clash", "types"),
    _rule("ports", "ports can be opened", ports.ports, "port_clash"),
    _rule("prometheus", "Prometheus scrapes every service", ports.prometheus, "port_clash"),
    _rule("excludes", "exclude patterns match something", backups.excludes),
    _rule("example_diff", ".env.example is up to date", names.example_diff, *_LOST),
    _rule("backup_gaps", "a backup holds what it should", backups.gaps),
    # An error in .env was written after the start: once it is fixed, the file may equal what the services have.
    _rule("stale", "running services have these settings", values.stale, "not_found", "load", *_LINES, *_VALUES),
)


def check_configuration(facts: SettingsFacts) -> tuple[Finding, ...]:
    """Return the findings of every rule in the order of RULES, at least one each, without secrets."""
    findings = (finding for rule in RULES for finding in rule.findings(facts))
    return tuple(facts.redactor.value(finding) for finding in findings)
