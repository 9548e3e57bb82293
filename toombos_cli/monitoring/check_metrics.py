"""Checks that each metric that a rule or a panel reads is exported by each service it names."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from toombos_cli.base.errors import OperationError
from toombos_cli.base.fixes import toombos
from toombos_cli.base.results import Verdict
from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring.dashboards import dashboards
from toombos_cli.monitoring.exported import NotServedError, exported_metrics
from toombos_cli.monitoring.promql import metrics_of
from toombos_cli.monitoring.reports import CheckItem
from toombos_cli.monitoring.rules import alert_rules
from toombos_cli.monitoring.selectors import is_for_absent_services, scraped
from toombos_cli.probes.health import NOTHING, service_headers
from toombos_cli.project.commands import start_as_before
from toombos_cli.project.service_probe import settings_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Why metrics cannot be read; `not_served` is True where nothing listens."""

    problem: str
    not_served: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Exports:
    """What each service exports, or why that cannot be read; `causes` maps such a service to the item that says so."""

    metrics: Mapping[str, frozenset[str]]
    problems: Mapping[str, Unread]
    causes: Mapping[str, str]

    def able(self, services: Iterable[str], metrics: Iterable[str]) -> tuple[str, ...]:
        """Return those of the services that export all of the metrics, or whose metrics cannot be read."""
        read = frozenset(metrics)
        return tuple(name for name in services if name in self.problems or read <= self.metrics.get(name, frozenset()))

    def cause_for(self, services: Iterable[str]) -> str | None:
        """Return the item that explains why none of these services can be judged, or None if one of them lacks it."""
        found = [self.causes.get(name) for name in services]
        return found[0] if found and None not in found else None


def read_exports(manifest: Manifest) -> Exports:
    """Read the metrics of every service that exports some."""
    metrics: dict[str, frozenset[str]] = {}
    problems: dict[str, Unread] = {}
    headers = _headers_of_a_place(manifest)
    for service in scraped(manifest):
        try:
            metrics[service.name] = exported_metrics(service, headers.get(service.name))
        except OperationError as error:
            problems[service.name] = Unread(
                problem=error.problems[0].message, not_served=isinstance(error, NotServedError)
            )
    causes = {name: ", ".join(names) for names in _alike(manifest, problems) for name in names}
    return Exports(metrics=metrics, problems=problems, causes=causes)


def _headers_of_a_place(manifest: Manifest) -> dict[str, dict[str, str]]:
    """Return the headers with which a place wants its services to be asked."""
    if manifest.place is None:
        return {}
    settings = settings_of(manifest, manifest.services)
    services = manifest.services.items()
    return {name: service_headers(service, settings.get(name, NOTHING)) for name, service in services}


def _alike(manifest: Manifest, problems: Mapping[str, Unread]) -> list[list[str]]:
    """Group the services by cause and remedy: monitoring is started by another command than the rest."""
    alike: dict[tuple[Unread, bool], list[str]] = {}
    for name, unread in problems.items():
        alike.setdefault((unread, manifest.services[name].role == "monitoring"), []).append(name)
    return list(alike.values())


def judge_services(manifest: Manifest, exports: Exports) -> Iterator[CheckItem]:
    """Yield one item for each reason why metrics cannot be read."""
    watched = {service.name for service in scraped(manifest) if service.role != "monitoring"}
    for names in _alike(manifest, exports.problems):
        unread = exports.problems[names[0]]
        fix = toombos(manifest.project, "health", *names)
        if unread.not_served and manifest.services[names[0]].role == "monitoring":
            fix = toombos(manifest.project, "monitoring", "up")
        elif unread.not_served and watched == set(names):
            fix = start_as_before(manifest)
        yield CheckItem(
            group="services",
            name=", ".join(names),
            verdict=Verdict.ERROR,
            detail=f"metrics cannot be read: {unread.problem}",
            hint=fix.command,
        )


def judge_metrics(manifest: Manifest, exports: Exports) -> Iterator[CheckItem]:
    """Yield an item for each service whose metrics cannot be read, and for each rule and panel."""
    for service, unread in exports.problems.items():
        yield CheckItem(
            group="metrics",
            name=service,
            verdict=Verdict.ERROR,
            detail=f"its metrics cannot be read: {unread.problem}",
            hint=toombos(manifest.project, "health", service).command,
            explained_by=exports.causes[service],
        )
    for user, expr, services in _users(manifest):
        read = metrics_of(expr)
        lost = [
            f"{service} does not export {metric}" for metric in read for service in _lacking(services, metric, exports)
        ]
        unknown = [service for service in services if service in exports.problems] if read else []
        is_own = user in _own(manifest)
        wrong = Verdict.ERROR if unknown else Verdict.FAIL if lost and is_own else None
        yield CheckItem(
            group="metrics",
            name=user,
            verdict=wrong or (Verdict.SKIP if lost else Verdict.PASS),
            detail="; ".join(lost) or (f"not judged for {', '.join(unknown)}" if unknown else ""),
            hint="export the metric again, or correct the rule or panel in toombos.toml" if lost and is_own else None,
            explained_by=exports.cause_for(unknown) if not lost else None,
        )


def judge_left_out(manifest: Manifest) -> Iterator[CheckItem]:
    """Yield an item for each rule and panel of the manifest that is left out because its services do not exist."""
    own = [(f"rule {rule.name}", rule.services) for rule in manifest.monitoring.rules]
    own += [(f"panel {panel.title}", panel.services) for panel in manifest.monitoring.panels]
    for name, services in own:
        if is_for_absent_services(services, manifest):
            yield CheckItem(
                group="metrics",
                name=name,
                verdict=Verdict.WARN,
                detail=f"left out: {', '.join(services)} is not a service with metrics here",
            )


def _own(manifest: Manifest) -> set[str]:
    """Return the names of the rules and panels of the manifest, which name the services that they are about.

    The others are about every service that exports the usual metrics, and leave out one that does not.
    """
    own = {f"rule {rule.name}" for rule in manifest.monitoring.rules}
    return own | {f"panel {panel.title} ({panel.dashboard})" for panel in manifest.monitoring.panels}


def _users(manifest: Manifest) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield name, expression and services of everything that reads metrics."""
    for rule in alert_rules(manifest):
        yield f"rule {rule.name}", rule.expr, rule.services
    for dashboard in dashboards(manifest):
        for panel in dashboard.panels:
            yield panel.name_in(dashboard), panel.expr, panel.services


def _lacking(services: tuple[str, ...], metric: str, exports: Exports) -> Iterable[str]:
    """Return the services that lack the metric; if none is named, "no service" unless one has it."""
    if services:
        return [name for name in services if name in exports.metrics and metric not in exports.metrics[name]]
    return [] if any(metric in names for names in exports.metrics.values()) else ["no service"]
