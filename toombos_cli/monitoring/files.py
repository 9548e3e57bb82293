"""Writes the files of Prometheus, Alertmanager and Grafana to run/monitoring: private, each one atomically."""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from toombos_cli.base.directories import make_private_directory
from toombos_cli.base.errors import ConfigurationError, OperationError, Problem
from toombos_cli.base.files import replace_file
from toombos_cli.base.programs import find_program
from toombos_cli.manifest.model import Manifest
from toombos_cli.monitoring import compose, grafana
from toombos_cli.monitoring.dashboards import dashboard_json, dashboards
from toombos_cli.monitoring.prometheus_config import alertmanager_document, prometheus_document
from toombos_cli.monitoring.promql import metrics_of
from toombos_cli.monitoring.rules import alert_rules, rules_document

COMPOSE_FILE = "compose.yml"
_CHECKED = frozenset({"prometheus.yml", "rules.yml"})
_PROMTOOL_TIMEOUT_S = 30.0


def directory_of(project: Path) -> Path:
    """Return the directory of the generated files."""
    return project / "run" / "monitoring"


def without(manifest: Manifest, names: frozenset[str]) -> Manifest:
    """Return the manifest without these services: nothing scrapes them, no rule expects their metrics."""
    kept = {name: service for name, service in manifest.services.items() if name not in names}
    return msgspec.structs.replace(manifest, services=kept)


def generate(manifest: Manifest) -> dict[str, str]:
    """Return the text of every file, by its path below the directory.

    Raise ConfigurationError if the manifest has no Prometheus, or an expression in it is not valid PromQL.
    """
    _check(manifest)
    directory = directory_of(manifest.project)
    files = {
        "prometheus.yml": _yaml(prometheus_document(manifest)),
        "rules.yml": _yaml(rules_document(manifest)),
        COMPOSE_FILE: _yaml(compose.compose_document(manifest, directory)),
    }
    if "alertmanager" in manifest.services:
        files["alertmanager.yml"] = _yaml(alertmanager_document(manifest))
    for spec in dashboards(manifest):
        files[f"grafana/dashboards/{spec.uid}.json"] = dashboard_json(spec)
    if "grafana" in manifest.services:
        provisioning = "grafana/provisioning"
        files["grafana.ini"] = grafana.settings_ini(manifest, directory)
        files[f"{provisioning}/datasources/prometheus.yml"] = _yaml(grafana.datasource_document(manifest))
        files[f"{provisioning}/dashboards/toombos.yml"] = _yaml(grafana.provider_document(directory))
    return files


def write_files(manifest: Manifest) -> tuple[Path, ...]:
    """Write every generated file and return those whose content changed.

    A configuration that promtool, if installed, refuses does not replace a working one: Prometheus would not start
    with it. Raise ConfigurationError, OperationError.
    """
    directory = directory_of(manifest.project)
    changed = []
    try:
        texts = generate(manifest)
        news = {name: text for name, text in texts.items() if content_of(directory / name) != text}
        if _CHECKED.intersection(news):
            _check_with_promtool(texts)
        for name, text in news.items():
            replace_file(directory / name, text.encode(), durable=True)
            changed.append(directory / name)
        for data in ("prometheus", "alertmanager", "grafana"):
            make_private_directory(manifest.project / "data" / data)
        if "grafana" in manifest.services:
            grafana.ensure_password(manifest.project)
    except OSError as error:
        raise OperationError(
            f"the monitoring files cannot be written: {error.strerror}", where=str(error.filename or directory)
        ) from None
    return tuple(changed)


def promtool_complaint(directory: Path) -> str | None:
    """Return what `promtool check config` reports about the files, "" if nothing, None if there is no promtool."""
    promtool = find_program("promtool")
    if promtool is None:
        return None
    argv = (promtool, "check", "config", str(directory / "prometheus.yml"))
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PROMTOOL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"promtool did not finish within {_PROMTOOL_TIMEOUT_S:g} s"
    return " ".join((done.stderr or done.stdout).split()) if done.returncode else ""


def _check_with_promtool(texts: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="toombos-") as name:
        for file in _CHECKED:
            (Path(name) / file).write_text(texts[file], "utf-8")
        complaint = promtool_complaint(Path(name))
    if complaint:
        said = complaint.replace(f"{name}/", "").removeprefix("FAILED: ")
        raise ConfigurationError(
            f"Prometheus would refuse the configuration, so nothing was changed: {said}",
            hint="correct the rule under [[monitoring.rules]] in toombos.toml",
        )


def content_of(path: Path) -> str | None:
    """Return the text of a file, or None if it cannot be read."""
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        return None


def _check(manifest: Manifest) -> None:
    if "prometheus" not in manifest.services:
        raise ConfigurationError(
            "the manifest has no service named prometheus", hint='start toombos.toml with: extends = "monitoring"'
        )
    named = [(f"alert rule {rule.name}", rule.expr) for rule in alert_rules(manifest)]
    named += [(f"panel {panel.title!r}", panel.expr) for spec in dashboards(manifest) for panel in spec.panels]
    problems = []
    for name, expr in named:
        try:
            metrics_of(expr)
        except ValueError as error:
            problems.append(Problem(message=f"the expression of {name} is not valid PromQL: {error}", where=expr))
    if problems:
        raise ConfigurationError("invalid PromQL", problems=tuple(problems))


def _yaml(document: dict[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, width=100_000, allow_unicode=True)
    return "# Generated by `toombos monitoring up` from toombos.toml: changes are overwritten.\n" + text
