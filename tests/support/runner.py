"""The real `toombos`, as a separate process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

TOOMBOS = (sys.executable, "-P", "-m", "toombos_cli")

Toombos = Callable[..., subprocess.CompletedProcess[str]]
"""`run_toombos` in a directory that is given already."""

_OURS = (
    *("TOOMBOS_", "DRY_RUN", "USE_MOCK", "API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"),
    *("GITHUB_", "GITLAB_", "FORCE_COLOR", "CLICOLOR"),
)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without the variables that affect toombos or a service."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(_OURS)}


def begin_toombos(
    *args: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    through: Sequence[str] = (),
    **popen: Any,
) -> subprocess.Popen[str]:
    """Start `toombos ARGS` in `cwd` (by default, here) and return the process.

    Its output goes into pipes unless `popen` says otherwise. `env` is added to the clean environment; `through` is the
    start of the command line, as in `setpriv ... toombos`.
    """
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    argv = [*through, *TOOMBOS, *map(str, args)]
    return subprocess.Popen(argv, cwd=cwd, env=clean_environment() | dict(env or {}), text=True, **(pipes | popen))


def run_toombos(
    *args: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60,
    through: Sequence[str] = (),
    **popen: Any,
) -> subprocess.CompletedProcess[str]:
    """Run `toombos ARGS` in `cwd` to its end and return its exit code and output. See `begin_toombos`."""
    with begin_toombos(*args, cwd=cwd, env=env, through=through, **popen) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def data_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return `data` of the JSON document that a command printed."""
    assert done.stdout, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)["data"]
    return data
