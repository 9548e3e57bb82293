"""What a step of GitHub Actions shows of a report: annotations at the lines of toombos.toml, and the job's summary."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from toombos_cli.base.errors import ToombosError
from toombos_cli.cli.invocation import Invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from toombos_cli.base.results import Report
    from toombos_cli.render.github import Place


def annotate(invocation: Invocation, report: "Report", *, asked: bool | None, format: str | None = None) -> None:  # noqa: A002 (the option's name)
    """Write GitHub's commands if they are asked for or this is one of its steps.

    They go to stderr if stdout holds a document; GitHub reads both.
    """
    if asked is False or (asked is None and os.environ.get("GITHUB_ACTIONS") != "true"):
        return
    from toombos_cli.render.console import write_commands
    from toombos_cli.render.github import annotations, summary

    title = f"toombos {invocation.command}"
    report = invocation.redacted(report)
    console = invocation.stdout if (format or invocation.format) == "text" else invocation.stderr
    write_commands(console, annotations(report, title=title, places=manifest_places(invocation)))
    console.file.flush()
    if name := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(summary(report, title=title))


def manifest_places(invocation: Invocation) -> "Mapping[str, Place]":
    """Return where toombos.toml describes what each case is named after: a service, its health, or a smoke step."""
    from toombos_cli.manifest.reading.positions import key_lines

    try:
        manifest = invocation.manifest
        path = manifest.source.path
        lines = key_lines(path.read_text("utf-8")) if path else {}
    except (ToombosError, OSError, UnicodeDecodeError):
        return {}
    keys: dict[str, tuple[str | int, ...]] = {}
    for name in manifest.services:
        keys[name] = keys[f"health-{name}"] = ("services", name)
    keys |= {step.name: ("smoke", place) for place, step in enumerate(manifest.smoke)}
    return {name: (str(path), lines[key]) for name, key in keys.items() if key in lines}
