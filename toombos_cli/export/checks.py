"""Lets the engines' own tools judge exported files, as far as they are installed here."""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from toombos_cli.base.programs import find_program
from toombos_cli.base.results import Verdict
from toombos_cli.export.model import ExportedFile, ExportEngine
from toombos_cli.export.reports import ToolCheck

_TIMEOUT_S = 120.0
_REQUIRED = re.compile(r"\$\{(\w+):\?")
"""A variable without which Compose does nothing; `.env` is not beside the files that are checked."""


def check_files(engine: ExportEngine, directory: Path, files: tuple[ExportedFile, ...]) -> tuple[ToolCheck, ...]:
    """Return the verdict of each tool about the files, which lie in the directory."""
    checks: Mapping[ExportEngine, Callable[[Path, tuple[ExportedFile, ...]], tuple[ToolCheck, ...]]] = {
        ExportEngine.SYSTEMD: _systemd,
        ExportEngine.COMPOSE: _compose,
        ExportEngine.KUBERNETES: _kubernetes,
    }
    return checks[engine](directory, files)


def _systemd(directory: Path, files: tuple[ExportedFile, ...]) -> tuple[ToolCheck, ...]:
    units = [str(directory / file.path) for file in files if file.path.endswith((".service", ".timer", ".target"))]
    return (_run("systemd-analyze", "verify", "--man=no", *units, directory=directory),)


def _compose(directory: Path, files: tuple[ExportedFile, ...]) -> tuple[ToolCheck, ...]:
    overrides = [word for file in files if file.path.startswith("compose.") for word in ("-f", file.path)]
    required = {name: "set" for file in files for name in _REQUIRED.findall(file.text)}
    for program in (("docker", "compose"), ("docker-compose",), ("podman-compose",)):
        if _run(*program, "version", directory=directory).verdict is Verdict.PASS:
            return (_run(*program, *overrides, "config", directory=directory, variables=required),)
    return (ToolCheck(tool="docker compose config", verdict=Verdict.SKIP, detail="not installed here"),)


def _kubernetes(directory: Path, files: tuple[ExportedFile, ...]) -> tuple[ToolCheck, ...]:
    try:
        import kubernetes_validate
    except ImportError:
        detail = "not installed here: pip install 'toombos[kubernetes]'"
        return (ToolCheck(tool="kubernetes-validate", verdict=Verdict.SKIP, detail=detail),)
    complaints = []
    for file in files:
        for document in file.documents:
            try:
                kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
            except kubernetes_validate.ValidationError as error:
                complaints.append(f"{file.path}: {document['kind']}: {error.message}")
    verdict = Verdict.FAIL if complaints else Verdict.PASS
    return (ToolCheck(tool="kubernetes-validate", verdict=verdict, detail="; ".join(complaints)),)


def _run(*argv: str, directory: Path, variables: Mapping[str, str] | None = None) -> ToolCheck:
    tool = " ".join(word for word in argv[:3] if not word.startswith(("/", "-")))
    program = find_program(argv[0])
    if program is None:
        return ToolCheck(tool=tool, verdict=Verdict.SKIP, detail="not installed here")
    try:
        done = subprocess.run(
            (program, *argv[1:]),
            cwd=directory,
            env={**os.environ, **(variables or {})},
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ToolCheck(tool=tool, verdict=Verdict.ERROR, detail=f"not done after {_TIMEOUT_S:g} s")
    said = " ".join(done.stderr.replace(f"{directory}/", "").split())
    complains = done.returncode != 0 or (said and argv[0] == "systemd-analyze")
    return ToolCheck(tool=tool, verdict=Verdict.FAIL if complains else Verdict.PASS, detail=said if complains else "")
