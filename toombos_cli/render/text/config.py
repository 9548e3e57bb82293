"""Views of the `config` commands."""

import json
from typing import TYPE_CHECKING

from toombos_cli.base.fixes import here
from toombos_cli.base.pages import page_path
from toombos_cli.render.console import write_document
from toombos_cli.render.formats import Output
from toombos_cli.render.table import Column, print_table

if TYPE_CHECKING:
    from toombos_cli.config.reports import (
        ExampleReport,
        ImportReport,
        SchemaReport,
        SettingsChangeReport,
        ShownValue,
        ShowReport,
        TrustReport,
    )

_DONE = {"encrypt": "encrypted in", "rotate-key": "under a new key in"}


def show_change(report: "SettingsChangeReport", output: Output) -> None:
    """Print the changed names; hints go to stderr."""
    names = ", ".join(report.names)
    if report.action == "init":
        output.stdout.print(f"wrote {report.path}" + (f", with {names}" if names else ""), soft_wrap=True)
        output.stderr.print(f"hint: {here('config', 'check')}", style="cyan", soft_wrap=True)
        return
    if report.action == "init-manifest":
        output.stdout.print(f"wrote {report.path}, with the service {names}: change it to yours", soft_wrap=True)
        output.stderr.print(f"every key: {page_path('manifest.md')}", soft_wrap=True)
        for name in report.to_take_over:
            command = here("config", "init", "--from", name, "--force")
            output.stderr.print(f"{name} is here; to take its services over instead: {command}", soft_wrap=True)
        output.stderr.print(f"hint: {here('start', '--preview')}", style="cyan", soft_wrap=True)
        return
    if not names:
        output.stdout.print(f"nothing to do: {report.path} contains no secret in clear text", soft_wrap=True)
        return
    paths = ", ".join(map(str, (report.path, *report.further)))
    output.stdout.print(f"{_DONE[report.action]} {paths}: {names}", soft_wrap=True)
    if report.backup is not None:
        copies = [report.backup, *(path.with_name(f"{path.name}{report.backup.suffix}") for path in report.further)]
        old = f"The old file is {copies[0]}" if len(copies) == 1 else f"The old files are {', '.join(map(str, copies))}"
        remove = "remove it" if len(copies) == 1 else "remove them"
        output.stderr.print(f"{old}; {remove} once the services run with the new key.", soft_wrap=True)
    if report.restart_needed:
        output.stderr.print(f"hint: {here('restart')}", style="cyan", soft_wrap=True)


def show_import(report: "ImportReport", output: Output) -> None:
    """Print what was written; on stderr, what a person has to do."""
    services = ", ".join(report.services)
    output.stdout.print(f"wrote {report.path} from {report.source}, with {services}", soft_wrap=True)
    if report.env_file is not None:
        output.stdout.print(f"wrote {report.env_file} (mode 0600): {', '.join(report.secrets)}", soft_wrap=True)
    lines = [f"{name}: left out of the start until its comment is followed" for name in report.left_out]
    lines += [f"{task.service}: {task.text}" for task in report.open_tasks]
    lines += [f"{item.service}: the program {item.program} is not on this machine" for item in report.missing_programs]
    if report.env_file_is_open:
        lines.append(f".env can be read by other users: chmod 600 {report.path.with_name('.env')}")
    if lines:
        output.stderr.print("to do:", soft_wrap=True)
    for line in lines:
        output.stderr.print(f"  {line}", soft_wrap=True)
    if report.backup is not None:
        output.stderr.print(f"The toombos.toml from before is {report.backup}.", soft_wrap=True)
    output.stderr.print(f"hint: {here('start', '--preview')}", style="cyan", soft_wrap=True)


def show_schema(report: "SchemaReport", output: Output) -> None:
    """Print the schema as JSON, ready to be redirected into a file."""
    write_document(output.stdout, json.dumps(report.schema, indent=2, ensure_ascii=False))


def show_example(report: "ExampleReport", output: Output) -> None:
    """Print the text of `.env.example` without wrapping, ready to be redirected into the file."""
    write_document(output.stdout, report.text)


def show_trust(report: "TrustReport", output: Output) -> None:
    """Print what was changed, or the list."""
    if report.directory is None:
        if report.directories:
            print_table(output.stdout, (Column(name="DIRECTORY"),), [(directory,) for directory in report.directories])
        else:
            output.stdout.print("no directory is trusted beyond those of this user and root")
        return
    verb = "no longer trusted" if report.removed else "trusted"
    already = "" if report.changed else "nothing to do: "
    output.stdout.print(f"{already}{verb}: {report.directory}", soft_wrap=True)


def show_values(report: "ShowReport", output: Output) -> None:
    """Print one line per setting: name, masked value, source; with --quiet only those that are set."""
    if not report.values:
        output.stdout.print("the manifest describes no variables")
        output.stderr.print("hint: add [environment.NAME] tables to toombos.toml", style="cyan", soft_wrap=True)
        return
    from rich.text import Text

    rows = []
    for value in report.values:
        if value.value is not None or not output.quiet:
            style = "" if value.source not in ("default", "unset") else "dim"
            shown = "-" if value.value is None else value.value
            rows.append((value.name, Text(shown, style=style), Text(_source(value), style=style)))
    columns = (Column(name="NAME"), Column(name="VALUE", fold=True), Column(name="SOURCE", fold=True))
    print_table(output.stdout, columns, rows)


def _source(value: "ShownValue") -> str:
    source = f"{value.source} {value.service}".rstrip() if value.line is None else f"{value.source}:{value.line}"
    return source if value.overrides_line is None else f"{source} (over {value.overrides_file}:{value.overrides_line})"
