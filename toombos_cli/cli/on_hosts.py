"""`--hosts`: the same command on hosts of the manifest, with the options that make sense there."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from toombos_cli.base.errors import UsageError
from toombos_cli.cli.invocation import GlobalOptions, Invocation

if TYPE_CHECKING:
    import typer

    from toombos_cli.hosts.report import HostAnswer
    from toombos_cli.hosts.run import HostReply

_HERE = (*GlobalOptions.__slots__, "hosts")
"""The options that are about this machine and its terminal."""


def finish_on_hosts(
    invocation: Invocation,
    context: "typer.Context",
    hosts: str,
    *,
    passed_on: tuple[str, ...],
    strict: bool = False,
    bundle: Path | None = None,
    takes_any_time: bool = False,
) -> NoReturn:
    """Run the command of this context on the hosts, print one report and end with its exit code.

    `passed_on` are the parameters that go with it. `bundle` is the file beside which each host's bundle is written.
    Raises UsageError for an unknown host, or another option.
    """
    from toombos_cli.hosts.report import HostsReport
    from toombos_cli.hosts.run import RemoteCommand, chosen_hosts, run_on_hosts

    chosen = chosen_hosts(invocation.manifest, hosts)
    what = RemoteCommand(
        name=invocation.command,
        words=(*invocation.command.split(), *words_of(context, passed_on, (*_HERE, "bundle"))),
        with_bundle=bundle is not None,
        takes_any_time=takes_any_time,
    )
    heard = run_on_hosts(invocation.manifest, chosen, what)
    answers = tuple(one.answer for one in heard)
    if bundle is not None:
        answers = tuple(_with_bundle(one, bundle) for one in heard)
    said = {one.answer.host: one.said for one in heard if one.said is not None}
    invocation.finish(HostsReport(asked=what.name, hosts=answers, said=said), strict=strict)


def _with_bundle(heard: "HostReply", path: Path) -> "HostAnswer":
    """Write the bundle of a host beside the given file: `case.tar.zst` becomes `case.web1.tar.zst`."""
    from toombos_cli.cli.output_files import write_output

    if not heard.bundle:
        return heard.answer
    stem, dot, suffix = path.name.partition(".")
    own = path.with_name(f"{stem}.{heard.answer.host}{dot}{suffix}")
    write_output(own, heard.bundle)
    return replace(heard.answer, bundle=str(own))


def words_of(context: "typer.Context", passed_on: Iterable[str], left_out: Iterable[str]) -> tuple[str, ...]:
    """Return the words of a command line that gives these parameters the values of this one.

    Raises UsageError for a parameter that was given and is in neither list.
    """
    allowed, ignored = frozenset(passed_on), frozenset(left_out)
    options: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if name in ignored or source is None or source.name != "COMMANDLINE":
            continue
        if name not in allowed:
            raise UsageError(f"{parameter.opts[0]} does not go with --hosts", hint="leave one of them out")
        words = [*_words(parameter, context.params[name])]
        if parameter.param_type_name == "argument":
            arguments += words
        else:
            options += words
    return (*options, "--", *arguments) if arguments else tuple(options)


def _words(parameter: Any, value: Any) -> Iterator[str]:
    option = next((name for name in parameter.opts if name.startswith("--")), "")
    for one in value if isinstance(value, list | tuple) else (value,):
        if parameter.param_type_name == "argument":
            yield str(one)
        elif getattr(parameter, "is_flag", False):
            yield option if one else parameter.secondary_opts[0]
        else:
            yield f"{option}={one}"
