"""Reads Alertmanager's webhook, version 4, which any user of this machine can send."""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from toombos_cli.base.text import one_line
from toombos_cli.base.untrusted import decode_untrusted
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.alert_spool import AlertEvent

MAX_BODY_BYTES = 4 * 1024 * 1024
_NAME_CHARS, _TEXT_CHARS = 200, 1000
_FIELD = re.compile(r"\\\{\\\{.*?\\\}\\\}")
"""A template's `{{ $labels.service }}`, escaped for a regular expression."""
_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.:/-]*"


class _WebhookAlert(msgspec.Struct, rename="camel"):
    labels: dict[str, str]
    status: Literal["firing", "resolved"]
    annotations: dict[str, str] | None = None
    starts_at: str = ""


class _Webhook(msgspec.Struct):
    alerts: tuple[_WebhookAlert, ...]


def events_of(body: bytes, *, place: str = "", commands: Mapping[str, str] | None = None) -> tuple[AlertEvent, ...]:
    """Return the alerts of a webhook; `place` is added to each. Raise UntrustedError.

    `commands` maps the names of the rules to the templates of their commands. Only such a command is passed on as the
    next one to type, and only with words for its labels: anybody can send an alert.
    """
    webhook = decode_untrusted(body, _Webhook, most_bytes=MAX_BODY_BYTES)
    return tuple(_event(alert, place, commands or {}) for alert in webhook.alerts)


def _event(alert: _WebhookAlert, place: str, commands: Mapping[str, str]) -> AlertEvent:
    labels, annotations = alert.labels, alert.annotations or {}
    name = one_line(labels.get("alertname", "alert"), limit=_NAME_CHARS)
    identity = hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:12]
    severity = labels.get("severity")
    resolved = alert.status == "resolved"
    command = annotations.get("command", "")
    is_own = _is_made_from(commands.get(name, ""), command)
    details = (
        ("", annotations.get("description")),
        ("service: ", labels.get("service")),
        ("instance: ", labels.get("instance")),
        ("since: ", _whole_seconds(alert.starts_at)),
        ("on: ", place),
        ("next: ", command if is_own and not resolved else ""),
        ("runbook: ", annotations.get("runbook") if is_own else ""),
    )
    summary = one_line(annotations.get("summary", ""), limit=_TEXT_CHARS)
    return AlertEvent(
        key=f"{name}:{identity}",
        source="alertmanager",
        episode=one_line(alert.starts_at),
        severity=Severity(severity) if severity in set(Severity) else Severity.P2,
        title=f"{name}: {summary}" if summary else name,
        body="\n".join(one_line(prefix + text, limit=_TEXT_CHARS) for prefix, text in details if text),
        resolved=resolved,
    )


def _is_made_from(template: str, command: str) -> bool:
    """Report whether filling a template with words gives the command."""
    pattern = _FIELD.sub(lambda _: _WORD, re.escape(template))
    return bool(template) and re.fullmatch(pattern, command) is not None


def _whole_seconds(moment: str) -> str:
    """Return Alertmanager's time without fractions of a second, unchanged if it does not parse."""
    try:
        return datetime.fromisoformat(moment).isoformat(sep=" ", timespec="seconds")
    except ValueError:
        return moment
