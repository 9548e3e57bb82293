"""What a `config` command changed, and what to do next."""

from typing import TYPE_CHECKING

from toombos_cli.base.pages import page_path
from toombos_cli.render.formats import Output

if TYPE_CHECKING:
    from toombos_cli.config.reports import ChangeReport

_DONE = {"encrypt": "encrypted in", "rotate-key": "under a new key in"}


def show(report: "ChangeReport", output: Output) -> None:
    """Prints the changed names; hints go to stderr."""
    names = ", ".join(report.names)
    if report.action == "init":
        output.stdout.print(f"{report.path} is written" + (f", with {names}" if names else ""), soft_wrap=True)
        output.stderr.print("hint: toombos config check", style="cyan", soft_wrap=True)
        return
    if report.action == "init-manifest":
        output.stdout.print(f"{report.path} is written, with the service {names} to change to yours", soft_wrap=True)
        output.stderr.print(f"every key: {page_path('manifest.md')}", soft_wrap=True)
        output.stderr.print("hint: toombos start --preview", style="cyan", soft_wrap=True)
        return
    if not names:
        output.stdout.print(f"nothing to do: {report.path} holds no secret in clear", soft_wrap=True)
        return
    output.stdout.print(f"{_DONE[report.action]} {report.path}: {names}", soft_wrap=True)
    if report.backup is not None:
        output.stderr.print(
            f"The old file is {report.backup}; remove it once the services run with the new key.", soft_wrap=True
        )
    if report.restart_needed:
        output.stderr.print("hint: toombos restart", style="cyan", soft_wrap=True)
