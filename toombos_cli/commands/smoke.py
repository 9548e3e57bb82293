"""`toombos smoke`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toombos_cli.cli import options
from toombos_cli.cli.github import annotate, manifest_places
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.junit_file import junit_of_failure
from toombos_cli.cli.output_files import give_stdout_away, prepare_output, write_output

if TYPE_CHECKING:
    from toombos_cli.smoke.report import StepResult
    from toombos_cli.smoke.round import Notify


@command
def smoke(
    invocation: Invocation,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="STEP",
            autocompletion=options.complete("step"),
            help="Run only this step and those it needs; may be repeated.",
            show_default=False,
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
    github: options.Github = None,
    allow_live: Annotated[
        bool, typer.Option("--allow-live", help="On a system that is not in dry-run mode, run the read-only steps.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also fuzz each service by its OpenAPI document (needs schemathesis).")
    ] = False,
    at: options.At = None,
    strict: options.Strict = False,
) -> None:
    """Use the running system as a client would and verify what it did.

    The manifest defines the steps: requests, responses, counters, sockets.
    Nothing is written to a system that does not itself report that it is
    in dry-run mode, or to a place that does not allow it (exit 5). What the
    test creates is removed at the end.
    """
    from toombos_cli.smoke.environment import read_environment
    from toombos_cli.smoke.plan import make_plan
    from toombos_cli.smoke.run import run_smoke

    give_stdout_away(invocation, {"--junit": junit})
    prepare_output("--junit", junit)
    invocation.go_to(at)
    with junit_of_failure(invocation, junit):
        plan = make_plan(invocation.manifest, tuple(only or ()))
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

        write_output(junit, document(report, suite=invocation.command, places=manifest_places(invocation)).encode())
    annotate(invocation, report, asked=github)
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
