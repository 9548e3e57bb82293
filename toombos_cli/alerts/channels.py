"""The alert channels of a manifest: their URLs with the secrets filled in, and one attempt to send through each."""

import logging
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toombos_cli.alerts.ledger import Message
from toombos_cli.base.errors import ConfigurationError, Problem
from toombos_cli.base.redaction import Redactor
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.mode import mode_now
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.known_secrets import known_secrets
from toombos_cli.settings.values import clear_values

INSTALL = "pip install 'toombos[alerts]'"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KINDS = {"problem": "failure", "recovery": "success", "summary": "warning", "test": "info"}


@dataclass(frozen=True, slots=True)
class AlertChannel:
    """One way to reach people. Alerts leave this machine only through `attempt`, with secrets redacted."""

    name: str
    severities: frozenset[Severity]
    plugin: Any
    timeout_s: float
    redactor: Redactor

    def attempt(self, system: str, message: Message) -> str | None:
        """Send once. Return None if the receiver accepted it, else the reason without secrets. Bounded in time."""
        outcome: list[str | None] = []

        def send() -> None:
            with _Reasons() as reasons:
                try:
                    sent = self.plugin.notify(
                        title=self.redactor.text(f"[{message.severity}] {system}: {message.title}"),
                        body=self.redactor.text(message.body or message.title),
                        notify_type=_KINDS[message.kind],
                    )
                except Exception as error:  # a faulty plugin must not end the sender
                    outcome.append(f"{type(error).__name__}: {error}")
                else:
                    outcome.append(None if sent else reasons.last or "the receiver did not accept it")

        # A thread, to abandon an attempt that overruns: a receiver sending a byte a second defeats read timeouts.
        worker = threading.Thread(target=send, name=f"alert to {self.name}", daemon=True)
        worker.start()
        worker.join(self.timeout_s + self.plugin.request_rate_per_sec)
        if not outcome:
            return f"no response within {self.timeout_s:g} s"
        return None if outcome[0] is None else self.redactor.text(outcome[0])


def channels(manifest: Manifest) -> tuple[AlertChannel, ...]:
    """Return every channel of the manifest. Raise ConfigurationError if one of them is unusable."""
    found, unusable = usable_channels(manifest)
    if unusable:
        raise ConfigurationError("an alert channel is invalid", problems=tuple(unusable.values()))
    return found


def usable_channels(manifest: Manifest) -> tuple[tuple[AlertChannel, ...], dict[str, Problem]]:
    """Return the usable channels, and the problem of each unusable one by name.

    Unusable means: apprise is not installed, a variable in the URL is not set, or apprise does not know the URL.
    """
    if not manifest.alerts.channels:
        return (), {}
    try:
        import apprise
    except ImportError:
        problem = Problem(message="alert channels need the package apprise", hint=INSTALL)
        return (), dict.fromkeys(manifest.alerts.channels, problem)
    env_files, mode = read_env_files(manifest), mode_now(manifest)
    values = clear_values(manifest, None, env_files, mode=mode).values
    secrets = tuple(known_secrets(manifest, env_files, mode=mode, environ=os.environ))
    timeout_s = manifest.alerts.delivery.timeout_s
    found, unusable = [], {}
    for name, channel in manifest.alerts.channels.items():
        place = f"alerts.channels.{name}"
        url, missing = _filled(channel.url, values)
        if missing:
            message = f"{', '.join(missing)} is not set, or cannot be decrypted"
            unusable[name] = Problem(message=message, where=place, hint="set it in .env")
            continue
        asset = apprise.AppriseAsset(async_mode=False, app_id="toombos", app_desc="toombos")
        plugin = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if plugin is None:
            unusable[name] = Problem(
                message="apprise does not know the service in its url", where=place, hint="apprise --details"
            )
            continue
        plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_s
        redactor = Redactor(
            [*secrets, *((part, values[part]) for part in _VARIABLE.findall(channel.url)), (place, url)]
        )
        found.append(AlertChannel(name, frozenset(channel.severities), plugin, timeout_s, redactor))
    return tuple(found), unusable


def _filled(url: str, values: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Return the URL with each `${NAME}` replaced, and the names that have no value."""
    missing = tuple(name for name in _VARIABLE.findall(url) if not values.get(name))
    return _VARIABLE.sub(lambda match: values.get(match[1], ""), url), missing


class _Reasons(logging.Handler):
    """Collects what apprise logs in this thread while it sends: apprise reports a reason in no other way."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._thread = threading.get_ident()
        self._logger = logging.getLogger("apprise")

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.last = record.getMessage()

    def __enter__(self) -> "_Reasons":
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
