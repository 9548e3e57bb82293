"""The configuration rules, and running them: `config check` and `diagnose` give the same answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from toombos_cli.base.findings import Answer, Finding, run_check
from toombos_cli.settings.facts import Facts
from toombos_cli.settings.rules import file, lines, names, ports, publishing, secrets, values


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a function of facts that says what is wrong, or nothing."""

    id: str
    title: str
    check: Callable[[Facts], Iterable[Answer]]


RULES: tuple[Rule, ...] = (
    Rule("not_found", ".env is found", file.not_found),
    Rule("load", ".env can be loaded", file.load),
    Rule("mode", "only its owner can read .env", file.mode),
    Rule("owner", ".env belongs to the user", file.owner),
    Rule("parse", "every line of .env is read", lines.parse),
    Rule("spaces", "no blanks around =", lines.spaces),
    Rule("duplicates", "every name is set once", lines.duplicates),
    Rule("portability", "shells read the same values", lines.portability),
    Rule("extra", "every name is known", names.extra),
    Rule("missing", "what is required is set", names.missing),
    Rule("types", "every value fits its type", values.types),
    Rule("provenance", "where values come from", values.provenance),
    Rule("shadow", "the environment agrees with .env", values.shadow),
    Rule("stale", "running services have these settings", values.stale),
    Rule("secret_set", "secrets are strong", secrets.secret_set),
    Rule("security", "nothing is exposed", secrets.security),
    Rule("dryrun", "dry-run mode is consistent", publishing.dryrun),
    Rule("dryrun_auth", "dry-run mode is closed to strangers", secrets.dryrun_auth),
    Rule("live", "live mode has what it requires", publishing.live),
    Rule("publisher", "publishers are configured whole", publishing.publisher),
    Rule("mock", "the mocks simulate no faults", publishing.mock),
    Rule("dsn", "the database can be reached by its URL", values.database),
    Rule("port_clash", "ports are used once", ports.port_clash),
    Rule("client_urls", "callers know the right ports", ports.client_urls),
    Rule("ports", "ports can be had", ports.ports),
    Rule("prometheus", "Prometheus scrapes every service", ports.prometheus),
    Rule("example_diff", ".env.example is up to date", names.example_diff),
    Rule("pydantic_v1", "settings classes suit pydantic 2", names.pydantic_v1),
)


def check_configuration(facts: Facts) -> tuple[Finding, ...]:
    """The findings of every rule in the order of RULES, at least one of each; no secret is in them."""
    findings = (f for rule in RULES for f in run_check(rule.id, rule.title, partial(rule.check, facts)))
    return tuple(facts.redactor.value(finding) for finding in findings)
