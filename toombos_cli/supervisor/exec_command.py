"""`exec`: a command with the environment, the directory and the user of a service, in place of this process."""

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from toombos_cli.base.accounts import ChildIdentity, child_identity
from toombos_cli.base.errors import OperationError
from toombos_cli.base.executables import executable_of, why_exec_failed, why_not_run
from toombos_cli.manifest.model import Manifest
from toombos_cli.processes import TAG
from toombos_cli.settings.env_files import read_env_files
from toombos_cli.settings.values import Origin, decrypted, effective_values
from toombos_cli.supervisor.account_check import account_failure

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCommand:
    """A command that can be run. `environment` is in clear text."""

    program: str
    argv: tuple[str, ...]
    directory: str
    environment: dict[str, str] = field(repr=False)
    identity: ChildIdentity


def prepare(manifest: Manifest, name: str, argv: tuple[str, ...], *, mode: str | None) -> ServiceCommand:
    """Return a command as a service would run it in `mode`, with its encrypted variables in clear text.

    Raises OperationError if it cannot be run, ConfigurationError for an env file that cannot be read or a variable
    that cannot be decrypted.
    """
    service = manifest.services[name]
    env_files = read_env_files(manifest)
    values = effective_values(manifest, service, env_files, mode=mode)
    set_by_someone = {name: value for name, value in values.items() if value.origin is not Origin.DEFAULT}
    clear = decrypted(manifest, set_by_someone)
    clear.require(set_by_someone, env_files)
    environment = {name: value for name, value in clear.values.items() if name != TAG}  # it is no part of the service
    if not Path(service.cwd).is_dir():
        raise OperationError(f"its directory {service.cwd} does not exist", where=name)
    path = environment.get("PATH")
    flaw = why_not_run(argv[0], directory=service.cwd, path=path)
    program = executable_of(argv[0], directory=service.cwd, path=path)
    if flaw is not None or program is None:
        why, hint = (flaw.why, flaw.hint) if flaw else ("was not found", "")
        raise OperationError(f"the program {argv[0]!r} {why}", where=name, hint=hint or "correct the name or PATH")
    failure = account_failure(service, program)
    if failure is not None:
        raise OperationError(failure.message, where=name, hint=failure.hint)
    identity = child_identity(service.user, service.group)
    return ServiceCommand(program=program, argv=argv, directory=service.cwd, environment=environment, identity=identity)


def become(command: ServiceCommand) -> NoReturn:
    """Replace this process by the command, which so has the terminal, gets the signals and sets the exit code.

    Raises OperationError if the system refuses to run it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for number in _IGNORED_BY_PYTHON:  # a program would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        if identity := command.identity:
            os.setgroups(identity["extra_groups"])
            os.setgid(identity["group"])
            os.setuid(identity["user"])
        os.chdir(command.directory)
        os.execve(command.program, command.argv, command.environment)  # noqa: S606  (what the command is for)
    except OSError as error:
        flaw = why_exec_failed(command.program, error)
        raise OperationError(f"{command.argv[0]!r} {flaw.why}", where=command.directory, hint=flaw.hint) from None
