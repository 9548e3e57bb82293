"""Checks, before a service starts, that it can run as the user that the manifest names."""

import os
import subprocess

from toombos_cli.base.accounts import Account, UnknownAccountError, find_account
from toombos_cli.base.trust import user_name
from toombos_cli.manifest.tables.service import Service
from toombos_cli.project.state import FailureKind
from toombos_cli.supervisor.protocol import ServiceFailure

_MAY_NOT_ENTER, _MAY_NOT_RUN = 3, 4
# The shell asks the kernel, which also knows access control lists.
_LOOK = f'cd -- "$1" || exit {_MAY_NOT_ENTER}; test -x "$2" || exit {_MAY_NOT_RUN}'
_LOOK_S = 5.0


def account_failure(service: Service, program: str) -> ServiceFailure | None:
    """Return why the service's user cannot run a program in its directory, or None if it can."""
    if not service.user:
        return None
    try:
        account = find_account(service.user, service.group)
    except UnknownAccountError as error:
        return _failure(service, f"its user cannot be chosen: {error}", error.hint)
    if account.is_this_user:
        return None
    if os.geteuid() != 0:
        message = f"only root can run it as {account.name}, and toombos runs as {user_name(os.geteuid())}"
        return _failure(service, message, "run toombos as root, or remove `user` in toombos.toml")
    exit_code = _look(account, service.cwd, program)
    if exit_code == _MAY_NOT_ENTER:
        message, place = f"its user {account.name} may not enter its directory {service.cwd}", service.cwd
    elif exit_code == _MAY_NOT_RUN:
        message, place = f"its user {account.name} may not run {program}", program
    else:
        return None
    return _failure(service, message, f"namei -l {place}")


def _look(account: Account, directory: str, program: str) -> int:
    argv = ["/bin/sh", "-c", _LOOK, "sh", directory, program]
    null = subprocess.DEVNULL
    try:
        done = subprocess.run(
            argv,
            cwd="/",
            env={},
            stdin=null,
            stdout=null,
            stderr=null,
            timeout=_LOOK_S,
            check=False,
            **account.as_child(),
        )
    except (OSError, subprocess.SubprocessError):
        return 0  # the start itself reports what is wrong
    return done.returncode


def _failure(service: Service, message: str, hint: str) -> ServiceFailure:
    return ServiceFailure(service=service.name, kind=FailureKind.USER, message=message, hint=hint)
