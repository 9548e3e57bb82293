"""The alert rules of a manifest: the built-in ones, with the guide's thresholds and severities, and its own."""

from typing import Any

from msgspec.structs import replace

from toombos_cli.base.pages import page_path
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.monitoring import AlertRule
from toombos_cli.monitoring.selectors import (
    is_for_absent_services,
)
from toombos_cli.monitoring.service_rules import service_rules
from toombos_cli.monitoring.watching_rules import watching_rules

RUNBOOK = "monitoring-runbook.md"


def alert_rules(manifest: Manifest) -> tuple[AlertRule, ...]:
    """Return every rule of the manifest: the built-in ones that apply to its services, then its own."""
    own = (
        replace(rule, expr=manifest.monitoring.expand(rule.expr))
        for rule in manifest.monitoring.rules
        if not is_for_absent_services(rule.services, manifest)
    )
    return (*service_rules(manifest), *watching_rules(manifest), *own)


def rules_document(manifest: Manifest) -> dict[str, Any]:
    """Return the content of Prometheus' rule file."""
    runbook = page_path(RUNBOOK)
    rules = [
        {
            "alert": rule.name,
            "expr": rule.expr,
            "for": f"{rule.for_s}s",
            "labels": {"severity": rule.severity.value},
            "annotations": {
                "summary": rule.summary,
                "command": rule.command,
                "runbook": f"{runbook}#{rule.name.lower()}",
            },
        }
        for rule in alert_rules(manifest)
    ]
    return {"groups": [{"name": "toombos", "rules": rules}]}
