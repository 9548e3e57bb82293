"""`toombos diagnose`."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.text import size
from toombos_cli.cli import options
from toombos_cli.cli.github import annotate
from toombos_cli.cli.invocation import Invocation, command
from toombos_cli.cli.output_files import STDOUT, give_stdout_away, prepare_output, write_output

if TYPE_CHECKING:
    from toombos_cli.base.fixes import Fix
    from toombos_cli.diagnose.report import FixOutcome
    from toombos_cli.diagnose.run import Diagnosis, FindingFilter

_REPORTS = "Other reports"
_MOST_FIXES = 40
"""In one run, in case each fix only moves the fault."""
_MORE_LOOKS = 3
"""How often it looks again for fixes if a diagnosis on a busy machine could not judge everything."""


@command
def diagnose(
    invocation: Invocation,
    context: typer.Context,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="GROUP|ID",
            autocompletion=options.complete("check"),
            help="Run only these checks; may be repeated.",
            show_default=False,
        ),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            metavar="SERVICE",
            autocompletion=options.complete("service"),
            help="Report only what concerns it; may be repeated.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[  # noqa: A002 (the option's name)
        Literal["text", "json", "junit", "markdown"] | None,
        typer.Option("--format", help="Output format.", show_default="text"),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Run the safe fixes, asking before each, then diagnose again.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write an HTML page.", show_default=False)
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="FILE",
            help="Also write all evidence to a tar.zst, without secrets.",
            show_default=False,
            rich_help_panel=_REPORTS,
        ),
    ] = None,
    saved: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="BUNDLE",
            help="Diagnose the system saved in a bundle.",
            show_default=False,
            rich_help_panel=_REPORTS,
        ),
    ] = None,
    issue: Annotated[bool, typer.Option("--issue", help="Print an issue to file.", rich_help_panel=_REPORTS)] = False,
    incident: Annotated[
        bool, typer.Option("--incident", help="Print a status update to send.", rich_help_panel=_REPORTS)
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="SERVICE",
            autocompletion=options.complete("service"),
            help="Show what a service is doing: its stacks and a flame graph (py-spy).",
            show_default=False,
            rich_help_panel=_REPORTS,
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds",
            min=1,
            max=600,
            metavar="SECONDS",
            help="How long --profile samples.",
            rich_help_panel=_REPORTS,
        ),
    ] = 10.0,
    at: options.At = None,
    hosts: options.Hosts = None,
    github: options.Github = None,
    strict: options.Strict = False,
) -> None:
    """Find problems, their causes, and the commands that fix them.

    Consequences are folded under their cause, so that one fault reads as one. No secret is printed.
    Exit 0 if there is no problem, or only warnings; exit 1 if something is wrong.
    """
    if hosts is not None:
        _on_hosts(invocation, context, hosts, bundle, strict=strict)
    if at is not None:
        _refuse_what_needs_this_machine(
            {
                "--fix": fix,
                "--bundle": bundle,
                "--from": saved,
                "--issue": issue,
                "--incident": incident,
                "--profile": profile,
            }
        )
        invocation.go_to(at)
    if profile is not None:
        _profile(invocation, profile, seconds)
    give_stdout_away(invocation, {"--html": html, "--bundle": bundle}, format=format)
    if bundle == STDOUT and sys.stdout.isatty():
        raise UsageError("--bundle - is binary, and stdout is a terminal", hint="give it a file")
    prepare_output("--html", html)
    prepare_output("--bundle", bundle)
    _refuse_contradictions(fix=fix, yes=yes, saved=saved, bundle=bundle, issue=issue, incident=incident)
    from toombos_cli.diagnose.run import FindingFilter

    if saved is not None:
        from toombos_cli.diagnose.bundle import diagnose_bundle

        found = diagnose_bundle(saved, FindingFilter(only=tuple(only or ()), services=tuple(service or ())))
    else:
        selection = FindingFilter(only=tuple(only or ()), services=invocation.service_names(service))
        found = _diagnose(invocation, selection)
        if fix:
            found = _fixed(invocation, found, selection, ask=not yes)
    _write_files(invocation, found, html=html, bundle=bundle)
    if issue or incident:
        from toombos_cli.diagnose.incident import make_incident
        from toombos_cli.diagnose.issue import make_issue

        invocation.finish(make_issue(found) if issue else make_incident(found))
    annotate(invocation, found.report, asked=github, format=format)
    invocation.finish(found.report, format=format, strict=strict)


def _refuse_contradictions(
    *, fix: bool, yes: bool, saved: Path | None, bundle: Path | None, issue: bool, incident: bool
) -> None:
    if saved is not None and (fix or bundle is not None):
        raise UsageError("--from reads a saved system: --fix and --bundle do not apply to it")
    if issue and incident:
        raise UsageError("--issue and --incident print different texts: give only one of them")
    if yes and not fix:
        raise UsageError("--yes goes with --fix")


def _on_hosts(
    invocation: Invocation, context: typer.Context, hosts: str, bundle: Path | None, *, strict: bool
) -> NoReturn:
    from toombos_cli.cli.on_hosts import finish_on_hosts

    if bundle == STDOUT:
        raise UsageError("--hosts writes a bundle for each host, and stdout is one", hint="give --bundle a file")
    prepare_output("--bundle", bundle)
    finish_on_hosts(invocation, context, hosts, passed_on=("only", "service", "strict"), strict=strict, bundle=bundle)


def _refuse_what_needs_this_machine(given: dict[str, object]) -> None:
    """Raise UsageError for an option that needs the processes, logs or files of the system."""
    for option, value in given.items():
        if value:
            raise UsageError(
                f"{option} needs the machine itself, and --at asks from here", hint="leave one of them out"
            )


def _diagnose(invocation: Invocation, selection: "FindingFilter") -> "Diagnosis":
    from toombos_cli.diagnose.run import run_diagnose

    start = Path.cwd() if invocation.options.project is None else invocation.project
    return run_diagnose(invocation.manifest, searched_from=start, selection=selection)


def _fixed(invocation: Invocation, found: "Diagnosis", selection: "FindingFilter", *, ask: bool) -> "Diagnosis":
    """Run the safe fixes one by one, diagnosing again after each, and return the last diagnosis.

    What one fix changes may be what the next one was planned for, so each plan serves for one fix alone.
    """
    from toombos_cli.diagnose.fixes import run_fix, runnable

    done: list[FixOutcome] = []
    seen: set[Fix] = set()
    patience = _MORE_LOOKS
    while len(seen) < _MOST_FIXES:
        left = [one for one in runnable(found.report, ask=ask) if one[1] not in seen]
        if not left and found.facts.late and patience:  # what could not be judged in time may have a fix
            patience -= 1
            found = _diagnose(invocation, selection)
            continue
        if not left:
            break
        root, fix = left[0]
        seen.add(fix)
        invocation.stderr.print(f"{root.id}: {root.reason}", soft_wrap=True)
        invocation.stderr.print(f"  {fix}", style="cyan", soft_wrap=True)
        if ask and not _agreed():
            continue
        done.append(run_fix(root, fix, invocation.project, found.redactor))
        word = "done" if done[-1].exit_code == 0 else f"failed (exit {done[-1].exit_code}): {done[-1].output.strip()}"
        invocation.stderr.print(f"  {word}", soft_wrap=True)
        if done[-1].undo:
            invocation.stderr.print(f"  to undo it: {done[-1].undo}", style="dim", soft_wrap=True)
        found = _diagnose(invocation, selection)
    return replace(found, report=replace(found.report, fixes=tuple(done)))


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise UsageError("--fix asks before each fix, and stdin is not a terminal", hint="--fix --yes")
    return typer.confirm("run it?", err=True)


def _write_files(invocation: Invocation, found: "Diagnosis", *, html: Path | None, bundle: Path | None) -> None:
    if html is not None:
        from toombos_cli.render.diagnose_html import document

        write_output(html, document(found.report).encode())
    if bundle is not None:
        from toombos_cli.diagnose.bundle import make_bundle
        from toombos_cli.render.diagnose_markdown import document as markdown

        content = make_bundle(found, markdown(found.report, verbose=True), str(bundle))
        write_output(bundle, content)
        named = "the bundle" if bundle == STDOUT else bundle
        invocation.stderr.print(f"{named}: {size(len(content))}, without secrets", soft_wrap=True)


def _profile(invocation: Invocation, service: str, seconds: float) -> None:
    from toombos_cli.diagnose.profile import run_profile

    name = invocation.service_name(service)
    invocation.finish(run_profile(invocation.manifest, name, duration_s=seconds))
