"""The view of `start --preview`."""

from typing import TYPE_CHECKING

from toombos_cli.base.quoting import joined
from toombos_cli.render.formats import Output
from toombos_cli.render.problems import print_problems

if TYPE_CHECKING:
    from toombos_cli.supervisor.start_preview import StartPreview


def show(report: "StartPreview", output: Output) -> None:
    """Print the services in start order; commands are not wrapped, so that they can be pasted."""
    console = output.stdout
    if not report.services:
        console.print("there is no service to start")
        return
    count = sum(service.pid is None for service in report.services)
    mode = f" in {report.mode_text}" if report.mode_text else ""
    would = "Could not" if report.failures else "Would"
    console.print(
        f"{would} start {count} service{'s' * (count != 1)}{mode}, in this order; nothing was started.", soft_wrap=True
    )
    for number, service in enumerate(report.services, 1):
        runs = f", already running as pid {service.pid}" if service.pid else ""
        place = f" on {service.host}:{service.port}" if service.port else ""
        task = f", a task (run = {service.run})" if service.run else ""
        title = f"{number}. {service.name}{place}{task}{runs}"
        console.print()
        console.print(title, style="bold", soft_wrap=True)
        console.print(f"   command  {joined(service.command)}", soft_wrap=True)
        console.print(f"   cwd      {service.cwd}", soft_wrap=True)
        console.print(f"   log      {service.log}", soft_wrap=True)
        for name, condition in service.depends_on.items():
            console.print(f"   after    {name} is {condition}", soft_wrap=True)
        for name, value in service.environment.items():
            console.print(f"   env      {name}={value}", soft_wrap=True)
    print_problems(report.problems, output.stderr)
    for note in report.notes:
        output.stderr.print(f"note: {note}", style="yellow", soft_wrap=True)
