"""Runs the programs that the manifest names for a backup: `before`, `after`, and the backup commands of services."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from toombos_cli.base.accounts import ChildIdentity, UnknownAccountError, child_identity
from toombos_cli.base.errors import OperationError
from toombos_cli.base.redaction import Redactor, secrets_of
from toombos_cli.base.text import one_line
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.mode import mode_now
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.values import clear_values

_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A program of the manifest: `label` is its key, `values` its environment."""

    label: str
    argv: tuple[str, ...]
    cwd: Path
    values: Mapping[str, str] = field(repr=False)
    identity: ChildIdentity = field(default_factory=lambda: ChildIdentity())

    def run(self, timeout_s: float, output: BinaryIO | None = None) -> None:
        """Run it to its end, with its output in `output` or on our stderr.

        Raise OperationError if it cannot be started, fails, or takes longer than `timeout_s`; it is then killed.
        """
        try:
            child = subprocess.Popen(
                self.argv,
                cwd=self.cwd,
                env=dict(self.values),
                stdin=subprocess.DEVNULL,
                stdout=output or 2,
                stderr=subprocess.PIPE,
                start_new_session=True,
                **self.identity,
            )
        except (OSError, subprocess.SubprocessError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OperationError(f"{self.argv[0]} could not be started: {reason}", where=self.label) from None
        try:
            _, complaint = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise OperationError(f"{self.argv[0]} did not end within {timeout_s:g} s", where=self.label) from None
        finally:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if child.returncode:
            ended = f"exit code {child.returncode}" if child.returncode > 0 else f"signal {-child.returncode}"
            raise OperationError(f"{self.argv[0]} failed with {ended}{self._last_line(complaint)}", where=self.label)

    def _last_line(self, complaint: bytes) -> str:
        lines = [line for line in complaint.decode("utf-8", "replace").splitlines() if line.strip()]
        return f": {one_line(Redactor(secrets_of(self.values)).text(lines[-1]))[:_SHOWN_CHARS]}" if lines else ""


def backup_hook(manifest: Manifest, key: str, argv: tuple[str, ...]) -> Hook:
    """Return `[backup] before` or `after`: it runs in the project, with the variables that all services share."""
    return Hook(label=f"[backup] {key}", argv=argv, cwd=manifest.project, values=_values(manifest, None))


def service_hook(manifest: Manifest, service: Service) -> Hook:
    """Return the backup command of a service, which runs with its directory, variables and user."""
    label = f"[services.{service.name}.backup] command"
    try:
        identity = child_identity(service.user, service.group)
    except UnknownAccountError as error:
        raise OperationError(str(error), where=label, hint=error.hint) from None
    values = _values(manifest, service)
    return Hook(label=label, argv=service.backup.command, cwd=Path(service.cwd), values=values, identity=identity)


def _values(manifest: Manifest, service: Service | None) -> dict[str, str]:
    return dict(clear_values(manifest, service, read_env_files(manifest), mode=mode_now(manifest)).values)
