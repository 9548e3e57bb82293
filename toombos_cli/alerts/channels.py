"""The channels of a manifest: their URLs with the secrets filled in, and one attempt to send through each."""

import logging
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toombos_cli.alerts.ledger import Message
from toombos_cli.base.errors import ConfigurationError, Problem
from toombos_cli.base.redaction import Redactor, is_secret_name
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.alerts import Severity
from toombos_cli.project.mode import mode_now
from toombos_cli.settings.values import clear_values, read_env_file

INSTALL = "pip install 'toombos[alerts]'"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_KINDS = {"problem": "failure", "recovery": "success", "summary": "warning", "test": "info"}


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to reach people. `attempt` is the only place where something leaves this machine, without secrets."""

    name: str
    severities: frozenset[Severity]
    plugin: Any
    timeout_s: float
    redactor: Redactor

    def attempt(self, system: str, message: Message) -> str | None:
        """Sends once; None when the receiver took it, else why not, without secrets. Bounded in time."""
        outcome: list[str | None] = []

        def send() -> None:
            with _Reasons() as reasons:
                try:
                    sent = self.plugin.notify(
                        title=self.redactor.text(f"[{message.severity}] {system}: {message.title}"),
                        body=self.redactor.text(message.body or message.title),
                        notify_type=_KINDS[message.kind],
                    )
                except Exception as error:  # a plugin of any quality must not end the sender
                    outcome.append(f"{type(error).__name__}: {error}")
                else:
                    outcome.append(None if sent else reasons.last or "the receiver did not take it")

        # Abandoned when it overruns: a receiver that sends a byte a second defeats timeouts between bytes.
        worker = threading.Thread(target=send, name=f"alert to {self.name}", daemon=True)
        worker.start()
        worker.join(self.timeout_s + self.plugin.request_rate_per_sec)
        if not outcome:
            return f"no answer within {self.timeout_s:g} s"
        return None if outcome[0] is None else self.redactor.text(outcome[0])


def channels(manifest: Manifest) -> tuple[Channel, ...]:
    """Every channel of the manifest, ready to be used. Raises ConfigurationError when one of them cannot be."""
    found, unusable = usable_channels(manifest)
    if unusable:
        raise ConfigurationError("an alert channel is invalid", problems=tuple(unusable.values()))
    return found


def usable_channels(manifest: Manifest) -> tuple[tuple[Channel, ...], dict[str, Problem]]:
    """The channels that are ready, and by name what is wrong with each other one.

    apprise is not installed, a variable of a URL is not set, or a URL is of no known service.
    """
    if not manifest.alerts.channels:
        return (), {}
    try:
        import apprise
    except ImportError:
        problem = Problem(message="alert channels need the package apprise", hint=INSTALL)
        return (), dict.fromkeys(manifest.alerts.channels, problem)
    values = clear_values(manifest, None, read_env_file(manifest.project), mode=mode_now(manifest)).values
    secrets = [(name, value) for name, value in values.items() if is_secret_name(name)]
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
                message="its url is of no service that apprise knows", where=place, hint="apprise --details"
            )
            continue
        plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout_s
        redactor = Redactor(
            [*secrets, *((part, values[part]) for part in _VARIABLE.findall(channel.url)), (place, url)]
        )
        found.append(Channel(name, frozenset(channel.severities), plugin, timeout_s, redactor))
    return tuple(found), unusable


def _filled(url: str, values: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The URL with `${NAME}` replaced, and the names that have no value."""
    missing = tuple(name for name in _VARIABLE.findall(url) if not values.get(name))
    return _VARIABLE.sub(lambda match: values.get(match[1], ""), url), missing


class _Reasons(logging.Handler):
    """Catches what apprise logs in this thread while it sends: its only way of saying why it failed."""

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
