"""One run of one command: what the user asked for, and how the answer reaches them."""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, get_args, get_origin, get_type_hints

import typer

from toombos_cli.base.errors import UsageError
from toombos_cli.base.results import Report
from toombos_cli.cli import options

if TYPE_CHECKING:
    from rich.console import Console

    from toombos_cli.manifest.model import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """The options that stand before or behind the command's name; None and False mean "not given"."""

    project: Path | None = None
    json: bool = False
    no_color: bool = False
    verbose: bool = False
    quiet: bool = False

    def over(self, outer: "GlobalOptions") -> "GlobalOptions":
        """These options, with those that are not given taken from `outer`."""
        missing = {name: getattr(outer, name) for name in GlobalOptions.__slots__ if not getattr(self, name)}
        return replace(self, **missing)


@dataclass(frozen=True)
class Invocation:
    """What a command needs besides its own options: project, manifest, consoles, output format."""

    command: str
    options: GlobalOptions

    @cached_property
    def project(self) -> Path:
        """The project directory, absolute. Raises UsageError when there is none that this user may enter."""
        from toombos_cli.project.find import find_project

        asked = self.options.project
        if asked is not None and not os.path.isdir(asked):  # noqa: PTH112 (Path.is_dir() may raise)
            raise UsageError("--project names no directory", where=str(asked))
        try:
            project = find_project(Path.cwd()) if asked is None else asked.resolve()
        except FileNotFoundError:
            raise UsageError("the current directory was removed", hint="cd, or give --project DIR") from None
        if not os.access(project, os.X_OK):
            hint = "run it as the user whose project it is, or give --project DIR"
            raise UsageError("this user may not enter the project directory", where=str(project), hint=hint)
        return project

    @cached_property
    def manifest(self) -> "Manifest":
        """The project's manifest; outside a project the packaged one, which is said. Raises ConfigurationError."""
        from toombos_cli.manifest.reading.loader import load_manifest

        manifest = load_manifest(self.project)
        self.say_which_project()
        return manifest

    def say_which_project(self) -> None:
        """Say on stderr that there is no project here, unless there is one; `manifest` does it already."""
        from toombos_cli.project.find import is_project

        if not (self.quiet or is_project(self.project)):
            searched = f"{self.project} was searched" if self.options.project else f"searched {self.project} and above"
            text = f"no project here ({searched}): this is about the packaged dry-run system"
            self.stderr.print(text, soft_wrap=True)

    @property
    def format(self) -> str:
        """The output format that the global options ask for: `text` or `json`."""
        return "json" if self.options.json else "text"

    @property
    def quiet(self) -> bool:
        """Whether to say only what is wrong."""
        return self.options.quiet

    @property
    def verbose(self) -> bool:
        """Whether to say more."""
        return self.options.verbose

    @cached_property
    def stdout(self) -> "Console":
        """For the result alone."""
        from toombos_cli.render.console import make_console

        return make_console(sys.stdout, color=not self.options.no_color)

    @cached_property
    def stderr(self) -> "Console":
        """For progress, prompts, hints and errors."""
        from toombos_cli.render.console import make_console

        return make_console(sys.stderr, color=not self.options.no_color)

    def service_names(self, asked: list[str] | None) -> tuple[str, ...]:
        """The asked names, checked and without repetitions, in manifest order; () when none was asked for.

        Raises UsageError that gives the nearest name of an unknown one.
        """
        from toombos_cli.base.spelling import did_you_mean

        known = self.manifest.services
        for name in asked or ():
            if name not in known:
                hint = did_you_mean(name, known, f"services: {', '.join(known)}")
                raise UsageError(f"no service is named {name!r}", hint=hint)
        return tuple(name for name in known if name in (asked or ()))

    def finish(self, report: Report, *, format: str | None = None, strict: bool = False) -> NoReturn:  # noqa: A002 (the option's name)
        """Prints the report on stdout in the asked format and ends the command with its exit code."""
        from toombos_cli.render.formats import render

        code = report.exit_code(strict=strict)
        raise typer.Exit(render(report, self, format=format or self.format, exit_code=code))


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Makes `function(invocation, ...)` a Typer callback that also takes the global options.

    A parameter `Annotated[Record, {field: typer.Option(...), ...}]` stands for the fields of that dataclass: each is
    asked for as the table says, with the field's type and default, and the function gets the record.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    records = {p.name: p.annotation for p in own if _is_record(p.annotation)}
    shared = {
        "project": (options.Project, None),
        "json": (options.Json, False),
        "no_color": (options.NoColor, False),
        "verbose": (options.Verbose, False),
        "quiet": (options.Quiet, False),
    }

    @wraps(function)
    def callback(context: typer.Context, **given: Any) -> None:
        outer = context.find_object(GlobalOptions) or GlobalOptions()
        chosen = GlobalOptions(**{name: given.pop(name) for name in shared}).over(outer)
        name = context.command_path.partition(" ")[2]
        for parameter, annotation in records.items():
            record, table = get_args(annotation)
            given[parameter] = record(**{field: given.pop(field) for field in table})
        function(Invocation(command=name, options=chosen), **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("context", keyword, annotation=typer.Context)]
    for p in own:
        parameters += _fields_of(p.annotation) if p.name in records else [p.replace(kind=keyword)]
    parameters += [
        inspect.Parameter(name, keyword, annotation=annotation, default=default)
        for name, (annotation, default) in shared.items()
    ]
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect.signature
    callback.__annotations__ = {p.name: p.annotation for p in parameters}
    return callback


def _is_record(annotation: Any) -> bool:
    """Whether it is a dataclass with a table of how its fields are asked for."""
    return get_origin(annotation) is Annotated and is_dataclass(get_args(annotation)[0])


def _fields_of(annotation: Any) -> list[inspect.Parameter]:
    """Return a parameter for each field of the record, in its order. Raises KeyError for a field without an option."""
    record, table = get_args(annotation)
    types = get_type_hints(record)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[types[field.name], table[field.name]],
            default=field.default,
        )
        for field in fields(record)
    ]
