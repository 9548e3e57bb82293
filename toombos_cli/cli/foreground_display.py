"""How `start --foreground` shows a run: the services' lines on stdout, everything else on stderr, a line a change."""

from toombos_cli.base.text import folded
from toombos_cli.cli.invocation import Invocation
from toombos_cli.project.state import Phase
from toombos_cli.render.line_printer import LinePrinter
from toombos_cli.supervisor.foreground import Display
from toombos_cli.supervisor.protocol import Progress
from toombos_cli.supervisor.reports import ChangeReport

_STYLES: dict[str, str] = {
    Phase.STARTING: "yellow",
    Phase.UNHEALTHY: "yellow",
    Phase.FAILED: "red",
    Phase.CRASH_LOOP: "red",
}
_WELL = frozenset({Phase.READY, Phase.STOPPED})


def make_display(invocation: Invocation) -> Display:
    """Return what prints a run. No line of a service is torn by another, because all is printed in one thread."""
    is_json = invocation.format == "json"
    printer = LinePrinter(invocation, tuple(invocation.manifest.services), as_json=is_json)

    def on_line(service: str, line: str) -> None:
        printer.show(service, line)
        printer.flush()

    def on_change(change: Progress) -> None:
        if change.detail or not (invocation.quiet and change.phase in _WELL):
            detail = f": {folded(invocation.redactor.text(change.detail))}" if change.detail else ""
            text = f"{change.service}: {change.phase}{detail}"
            invocation.stderr.print(text, style=_STYLES.get(change.phase, ""), soft_wrap=True)

    def on_ready(report: ChangeReport) -> None:
        if not is_json:
            from toombos_cli.render.text.change import show

            show(invocation.redacted(report, in_full=False), invocation.on_stderr(quiet=invocation.quiet))

    def on_interrupt() -> None:
        if not invocation.quiet:
            if invocation.stderr.is_terminal:
                invocation.stderr.print()  # after the ^C that it has printed
            invocation.stderr.print("stopping the services; another Ctrl-C kills them", style="dim", soft_wrap=True)

    return Display(on_line=on_line, on_change=on_change, on_ready=on_ready, on_interrupt=on_interrupt)
