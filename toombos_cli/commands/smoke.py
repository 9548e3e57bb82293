"""`toombos smoke`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toombos_cli.cli import options
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.output_files import prepare_output, write_output

if TYPE_CHECKING:
    from toombos_cli.smoke.report import SmokeReport, StepResult
    from toombos_cli.smoke.round import Notify


@command
def smoke(
    invocation: Invocation,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="STEP", help="Run only this step and those it needs; may be repeated.", show_default=False
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait this long for the services to be ready.")
    ] = 0,
    repeat: Annotated[
        int, typer.Option("--repeat", min=1, metavar="N", help="Run it N times and report flaky steps.")
    ] = 1,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML.", show_default=False)
    ] = None,
    github: Annotated[bool, typer.Option("--github", help="Annotate failures for GitHub Actions.")] = False,
    allow_live: Annotated[
        bool, typer.Option("--allow-live", help="On a system that is not in dry-run mode, run the read-only steps.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also fuzz each service by its OpenAPI document (needs schemathesis).")
    ] = False,
    strict: options.Strict = False,
) -> None:
    """Use the running system as a client would and verify what it did.

    The manifest defines the steps: requests, responses, counters, sockets.
    Nothing is written to a system that does not itself report that it is
    in dry-run mode (exit 5). What the test creates is removed at the end.
    """
    from toombos_cli.smoke.environment import read_environment
    from toombos_cli.smoke.plan import make_plan
    from toombos_cli.smoke.run import run_smoke

    plan = make_plan(invocation.manifest, tuple(only or ()))
    prepare_output("--junit", junit)
    if deep:
        from toombos_cli.smoke.deep import find_schemathesis

        find_schemathesis()
    with _progress(invocation, total=len(plan.names) * repeat) as notify:
        report = run_smoke(
            invocation.manifest,
            plan,
            environment=read_environment(invocation.manifest),
            allow_live=allow_live,
            rounds=repeat,
            wait_s=wait,
            deep=deep,
            notify=notify,
        )
    report = invocation.redacted(report)
    if junit:
        from toombos_cli.render.junit import document

        write_output(junit, document(report, suite=invocation.command).encode())
    if github:
        _annotate(invocation, report)
    invocation.finish(report, strict=strict)


@contextmanager
def _progress(invocation: Invocation, *, total: int) -> Iterator["Notify"]:
    """Show the step that has just ended in a line on stderr, on a terminal."""
    if not invocation.stderr.is_terminal or invocation.quiet:
        yield lambda result: None
        return
    done = 0
    with invocation.stderr.status("smoke test ...") as status:

        def notify(result: "StepResult") -> None:
            nonlocal done
            done += 1
            status.update(f"{done} of {total}: {result.name}")

        yield notify


def _annotate(invocation: Invocation, report: "SmokeReport") -> None:
    """Write GitHub's workflow commands: to stderr if stdout holds a JSON document, as GitHub reads both."""
    from toombos_cli.render.console import write_commands
    from toombos_cli.render.github import annotations, summary

    console = invocation.stderr if invocation.options.json else invocation.stdout
    write_commands(console, annotations(report, title=f"toombos {invocation.command}"))
    console.file.flush()
    if name := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(summary(report, title=f"toombos {invocation.command}"))
