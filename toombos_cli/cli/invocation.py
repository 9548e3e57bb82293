"""One run of one command: what the user asked for, and how the result is printed."""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property, wraps
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import typer

from toombos_cli.base.errors import ToombosError, UsageError
from toombos_cli.base.fixes import name_project
from toombos_cli.base.results import Report
from toombos_cli.cli import options

if TYPE_CHECKING:
    from toombos_cli.base.redaction import Redactor
    from toombos_cli.manifest.model import Manifest
    from toombos_cli.render.console import PrintableConsole

R = TypeVar("R", bound=Report)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalOptions:
    """The options that may precede or follow the command's name; None and False mean "not given"."""

    project: Path | None = None
    json: bool = False
    no_color: bool = False
    verbose: bool = False
    quiet: bool = False

    def over(self, outer: "GlobalOptions") -> "GlobalOptions":
        """Return these options; those that are not given come from `outer`."""
        missing = {name: getattr(outer, name) for name in GlobalOptions.__slots__ if not getattr(self, name)}
        return replace(self, **missing)


@dataclass(frozen=True)
class Invocation:
    """What a command needs besides its own options: project, manifest, consoles, output format."""

    command: str
    options: GlobalOptions

    @cached_property
    def project(self) -> Path:
        """The project directory, absolute.

        Raises UsageError if there is none that this user may enter, NotTrustedError if it is another user's.
        """
        from toombos_cli.project.find import find_project, refuse_untrusted

        asked = self.options.project
        if asked is not None and not os.path.isdir(asked):  # noqa: PTH112 (Path.is_dir() may raise)
            raise UsageError("--project is not a directory", where=str(asked))
        try:
            project = find_project(Path.cwd()) if asked is None else asked.resolve()
        except FileNotFoundError:
            raise UsageError("the current directory was removed", hint="cd, or give --project DIR") from None
        if not os.access(project, os.X_OK):
            hint = "run it as the owner of the project, or give --project DIR"
            raise UsageError("this user may not enter the project directory", where=str(project), hint=hint)
        refuse_untrusted(project)
        if asked is not None and not _is_found_here(project):
            name_project(project)
        return project

    @cached_property
    def manifest(self) -> "Manifest":
        """The project's manifest; outside a project the packaged one, noted on stderr. Raises ConfigurationError."""
        from toombos_cli.manifest.reading.loader import load_manifest

        manifest = load_manifest(self.project)
        self.say_which_project()
        return manifest

    def go_to(self, place: str | None) -> None:
        """Make `manifest` that of a place, unless it is None. Raises UsageError for an unknown one."""
        if place is not None:
            from toombos_cli.manifest.place_view import at_place

            self.__dict__["manifest"] = at_place(self.manifest, place)

    def say_which_project(self) -> None:
        """Say on stderr that there is no project here, unless there is one; `manifest` does it already."""
        from toombos_cli.project.find import is_project

        if not (self.quiet or is_project(self.project)):
            searched = f"{self.project} was searched" if self.options.project else f"searched {self.project} and above"
            text = f"no project here ({searched}): using the packaged dry-run system"
            self.stderr.print(text, soft_wrap=True)

    @property
    def format(self) -> str:
        """The output format that the global options ask for: `text` or `json`."""
        return "json" if self.options.json else "text"

    @property
    def quiet(self) -> bool:
        """Whether to print only what is wrong."""
        return self.options.quiet

    @property
    def verbose(self) -> bool:
        """Whether to print more detail."""
        return self.options.verbose

    @cached_property
    def stdout(self) -> "PrintableConsole":
        """The console for the result, and nothing else."""
        from toombos_cli.render.console import make_console

        return make_console(sys.stdout, color=not self.options.no_color)

    @cached_property
    def document(self) -> IO[str]:
        """The stream of stdout, for a document that needs no console."""
        from toombos_cli.render.streams import output_stream

        return output_stream(sys.stdout)

    @cached_property
    def stderr(self) -> "PrintableConsole":
        """The console for progress, prompts, hints and errors."""
        from toombos_cli.render.console import make_console

        return make_console(sys.stderr, color=not self.options.no_color)

    def print_on_stderr(self) -> None:
        """Print the report on stderr, too: stdout is for something else."""
        self.__dict__["stdout"] = self.stderr

    def on_stderr(self, *, quiet: bool) -> "Invocation":
        """Return the same invocation with its results on stderr, and quiet or not."""
        other = replace(self, options=replace(self.options, quiet=quiet))
        other.__dict__.update(manifest=self.manifest, stdout=self.stderr, stderr=self.stderr)
        return other

    @cached_property
    def redactor(self) -> "Redactor":
        """The redactor for all output: it knows the project's secrets as far as the configuration can be read."""
        from toombos_cli.base.redaction import Redactor, is_secret_name
        from toombos_cli.manifest.reading.loader import load_manifest
        from toombos_cli.settings.env_files import read_env_files
        from toombos_cli.settings.known_secrets import project_redactor

        try:
            manifest = self.__dict__.get("manifest") or load_manifest(self.project)
            env_files = read_env_files(manifest)
        except ToombosError:  # goes by names and forms then
            return Redactor((name, value) for name, value in os.environ.items() if is_secret_name(name))
        return project_redactor(manifest, env_files, mode=None, environ=os.environ)

    def redacted(self, report: R, *, in_full: bool = True) -> R:
        """Return the report without secrets; `in_full` unless only the fields of the text are shown."""
        return self.redactor.value(report) if report.quotes_others(in_full=in_full) else report

    def service_names(self, asked: list[str] | None) -> tuple[str, ...]:
        """Return the services that names and groups stand for, in manifest order; () if none is given.

        Raises UsageError, which suggests the closest name for an unknown one.
        """
        from toombos_cli.cli.service_names import named_services

        known = self.manifest.services
        named = named_services(asked or (), known)
        return tuple(name for name in known if name in named)

    def service_name(self, asked: str) -> str:
        """Return the one service that a name stands for. Raises UsageError for none, or a group of several."""
        from toombos_cli.cli.service_names import one_service

        return one_service(asked, self.manifest.services)

    def finish(self, report: Report, *, format: str | None = None, strict: bool = False) -> NoReturn:  # noqa: A002 (the option's name)
        """Print the report on stdout in the chosen format and end the command with the report's exit code."""
        from toombos_cli.render.formats import render

        code = report.exit_code(strict=strict)
        report = self.redacted(report, in_full=(format or self.format) != "text" or self.verbose)
        raise typer.Exit(render(report, self, format=format or self.format, exit_code=code))


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Make `function(invocation, ...)` a Typer callback that also takes the global options.

    A parameter `Annotated[Record, {field: typer.Option(...), ...}]` stands for the fields of that dataclass: each
    becomes the option in the table, with the field's type and default, and the function gets the record. A parameter
    `context: typer.Context` is what Typer knows about this call.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    wants_context = any(p.annotation is typer.Context for p in own)
    own = [p for p in own if p.annotation is not typer.Context]
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
        invocation = Invocation(command=name, options=chosen)
        if wants_context:
            given["context"] = context
        try:
            function(invocation, **given)
        except ToombosError as error:
            error.problems = invocation.redactor.value(error.problems)
            raise

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


def _is_found_here(project: Path) -> bool:
    """Report whether a command without `--project`, pasted in the current directory, would be for this project."""
    from toombos_cli.project.find import find_project

    exported = os.environ.get("TOOMBOS_PROJECT")
    try:
        return (Path(exported).resolve() if exported else find_project(Path.cwd())) == project
    except OSError:
        return False


def _is_record(annotation: Any) -> bool:
    """Report whether it is a dataclass with a table of options for its fields."""
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
