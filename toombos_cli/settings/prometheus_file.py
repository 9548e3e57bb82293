"""The Prometheus configuration of the manifest's monitoring service: where it is and what it scrapes."""

import re
from dataclasses import dataclass
from pathlib import Path

from toombos_cli.manifest.model import Manifest

_TARGET = re.compile(r"""(?<![\w/.-])(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):(\d{1,5})(?![\w:./])""")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusFile:
    """The configuration file; `targets` are the scraped `(host, port)` pairs, `problem` why it cannot be used."""

    path: Path
    exists: bool = True
    targets: frozenset[tuple[str, int]] = frozenset()
    problem: str | None = None
    problem_line: int | None = None


def read_prometheus_file(manifest: Manifest) -> PrometheusFile | None:
    """Return the file that a service's `--config.file=` names, or None if no service has that option."""
    path = _config_path(manifest)
    if path is None:
        return None
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return PrometheusFile(path=path, exists=False)
    except (OSError, UnicodeDecodeError) as error:
        return PrometheusFile(path=path, problem=f"cannot be read: {type(error).__name__}")
    for number, line in enumerate(text.splitlines(), start=1):
        if re.match(r" *\t", line):
            return PrometheusFile(path=path, problem="is indented with a tab, which YAML rejects", problem_line=number)
    is_used = any(service.metrics for service in manifest.services.values())
    if is_used and not re.search(r"(?m)^[\s{]*[\"']?scrape_config(?:s|_files)[\"']?\s*:", text):
        return PrometheusFile(path=path, problem="has no scrape_configs: nothing is measured")
    content = "\n".join(line.partition(" #")[0] for line in text.splitlines() if not line.lstrip().startswith("#"))
    targets = frozenset((host.strip("[]"), int(port)) for host, port in _TARGET.findall(content))
    return PrometheusFile(path=path, targets=targets)


def _config_path(manifest: Manifest) -> Path | None:
    for service in manifest.services.values():
        for word in service.command if Path(service.command[0]).name == "prometheus" else ():
            if word.startswith("--config.file="):
                return Path(service.cwd, word.partition("=")[2])
    return None
