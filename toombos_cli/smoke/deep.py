"""Fuzzes services from their OpenAPI documents with schemathesis, in a separate process (extra `deep`)."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Verdict
from toombos_cli.base.text import one_line
from toombos_cli.manifest.tables.expectations import filled_headers
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.smoke import SmokeStep
from toombos_cli.probes.steps.variables import ENVIRONMENT, credentials
from toombos_cli.smoke.report import StepResult

PREFIX = "deep-"
_CHECKS = "status_code_conformance,content_type_conformance,response_schema_conformance"
_PLAIN = ("--generation-database", "none", "--request-timeout", "10", "--suppress-health-check", "all", "--no-color")
_FUZZ_S = 45.0
_TIME_LIMIT_S = 2 * _FUZZ_S
_FOUND_FAILURES = 1
_DETAIL_CHARS = 2000


def find_schemathesis() -> str:
    """Return the program's path. Raises UsageError with the command that installs it."""
    beside = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("schemathesis")
    if found is None:
        raise UsageError("--deep needs schemathesis, which is not installed", hint="pip install 'toombos[deep]'")
    return found


def run_deep(service: Service, steps: tuple[SmokeStep, ...], environment: Mapping[str, str]) -> StepResult:
    """Check that each response to generated requests, valid and invalid, conforms to the service's OpenAPI document.

    The headers are the service's own, and step headers that consist of a single environment variable. Variables are
    passed to schemathesis in its environment, so that no process list shows them.
    """
    url = f"{service.url}{service.openapi}"
    base = StepResult(name=PREFIX + service.name, service=service.name, verdict=Verdict.PASS, request=f"fuzz {url}")
    started = time.monotonic()
    with TemporaryDirectory(prefix="toombos-deep-") as directory:
        config = Path(directory) / "schemathesis.toml"
        config.write_text(_config(service, steps, environment), "utf-8")
        argv = (find_schemathesis(), "--config-file", str(config), "run", url)
        only_there = ("--origin", service.url, "--max-redirects", "0")  # a key goes to the service and nowhere else
        options = ("--checks", _CHECKS, "--phases", "examples,coverage,fuzzing", "--max-time", f"{_FUZZ_S:g}")
        try:
            done = subprocess.run(
                (*argv, *only_there, *options, *_PLAIN),
                cwd=directory,
                env=os.environ | environment | {"NO_COLOR": "1", "NO_PROXY": "*", "no_proxy": "*"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_TIME_LIMIT_S,
                check=False,
            )
            output, code = done.stdout.decode("utf-8", "replace"), done.returncode
        except subprocess.TimeoutExpired:
            output, code = f"it did not end within {_TIME_LIMIT_S:g} s", -1
    verdict = {0: Verdict.PASS, _FOUND_FAILURES: Verdict.FAIL}.get(code, Verdict.ERROR)
    good = verdict is Verdict.PASS
    return StepResult(
        name=base.name,
        service=base.service,
        verdict=verdict,
        duration_ms=round((time.monotonic() - started) * 1000, 3),
        request=base.request,
        expected="every response conforms to the OpenAPI document",
        got="" if good else _failures(output),
        detail="",
    )


def _config(service: Service, steps: tuple[SmokeStep, ...], environment: Mapping[str, str]) -> str:
    """Return the text of schemathesis.toml. Its strings are quoted as JSON, which is valid TOML here."""
    kept, _ = filled_headers(service.headers, dict(environment))
    own = {name: service.headers[name] for name in kept}
    headers = own | credentials(steps, service.name, environment)
    lines = [
        f"{json.dumps(name)} = {json.dumps(text.replace('${' + ENVIRONMENT, '${'))}" for name, text in headers.items()
    ]
    return "\n".join(["[headers]", *lines, ""])


def _failures(output: str) -> str:
    """Return the failures that schemathesis found, without its banners."""
    _, marker, found = output.partition(" FAILURES ")
    text = found if marker else output[-_DETAIL_CHARS:]
    return one_line(" ".join(line.strip("=_- ") for line in text.splitlines()), limit=_DETAIL_CHARS)
