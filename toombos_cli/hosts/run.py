"""Asks several hosts at once; each verdict is that of its host alone."""

import secrets
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from toombos_cli import __version__
from toombos_cli.base.errors import UsageError
from toombos_cli.base.fixes import command
from toombos_cli.base.quoting import for_any_shell
from toombos_cli.base.results import WRONG, Verdict
from toombos_cli.base.spelling import did_you_mean
from toombos_cli.base.text import one_line, seconds
from toombos_cli.base.untrusted import UntrustedError
from toombos_cli.hosts.answers import Answer, Envelope, read_envelope
from toombos_cli.hosts.report import HostAnswer, HostState
from toombos_cli.hosts.ssh import FAILED, SshConnection, SshRun, socket_directory, ssh_program
from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.hosts import HostTable
from toombos_cli.manifest.tables.table import ALL

_NO_DIRECTORY, _NO_PROJECT, _NO_FILE, _NOT_FOUND, _NOT_EXECUTABLE = 121, 122, 123, 127, 126
_ENTER = (
    f'mark=$1; cd -- "$2" || exit {_NO_DIRECTORY}; shift 2; [ -e toombos.toml ] || [ -e .env ] || exit {_NO_PROJECT}; '
    'PATH="$PATH:$HOME/.local/bin"; export PATH; printf "%s\\n" "$mark"; '
)
_RUN = _ENTER + 'exec "$@"'
_RUN_WITH_BUNDLE = _ENTER + (
    f"f=$(mktemp) || exit {_NO_FILE}; trap 'rm -f \"$f\"' EXIT HUP INT TERM; "
    '"$@" --bundle "$f"; code=$?; cat "$f"; exit "$code"'
)
"""Scripts of sh. The output of toombos begins after the mark: a login shell may greet before it. `pipx` and `uv`
install to ~/.local/bin, which is not in the PATH of a command over SSH."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_CONNECT_S = 2.0
_MOST_AT_ONCE = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteCommand:
    """A command of toombos for hosts: its name in the JSON document, and its words.

    `with_bundle`: the evidence is fetched too. `takes_any_time`: it is not a look, and has no time limit.
    """

    name: str
    words: tuple[str, ...]
    with_bundle: bool = False
    takes_any_time: bool = False


def chosen_hosts(manifest: Manifest, asked: str) -> dict[str, HostTable]:
    """Return the hosts that `--hosts` names, in the order of the manifest. Raise UsageError, with the nearest name."""
    known = manifest.hosts
    names = [name for part in asked.split(",") if (name := part.strip())]
    for name in names:
        if name != ALL and name not in known:
            listed = f"hosts: {', '.join(known)}" if known else "describe it: [hosts.NAME]"
            raise UsageError(f"no host is named {name!r}", hint=did_you_mean(name, known, listed))
    found = {name: host for name, host in known.items() if name in names or ALL in names}
    if not found:
        raise UsageError("there is no host to ask", where="--hosts", hint="describe one: [hosts.NAME]")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReply:
    """What one host sent: its answer for the report, what is read of it, and its bundle, b"" if there is none."""

    answer: HostAnswer
    said: Answer | None = None
    bundle: bytes = b""


def run_on_hosts(manifest: Manifest, hosts: Mapping[str, HostTable], what: RemoteCommand) -> tuple[HostReply, ...]:
    """Return what each host sent. It takes as long as the slowest host.

    Raise OperationError if there is no ssh here.
    """
    ssh_program()
    sockets = socket_directory()
    connections = [SshConnection(name, host, manifest.project, sockets) for name, host in hosts.items()]
    with ThreadPoolExecutor(max_workers=min(len(connections), _MOST_AT_ONCE)) as pool:
        try:
            return tuple(pool.map(partial(_ask, what=what), connections))
        except KeyboardInterrupt:
            for connection in connections:
                connection.stop()
            raise


def _ask(connection: SshConnection, *, what: RemoteCommand) -> HostReply:
    host = connection.host
    script = _RUN_WITH_BUNDLE if what.with_bundle else _RUN
    words = (*host.command, "--project", ".", "--json", *what.words)
    mark = secrets.token_hex(16)
    line = for_any_shell(("exec", "sh", "-c", script, "sh", mark, host.directory, *words))
    begun = time.monotonic()
    ran = connection.run(line, limit_s=None if what.takes_any_time else host.timeout_s)
    problem = _problem(connection, ran)
    heard = HostReply(answer=problem) if problem is not None else _read(connection, ran, what, mark)
    return replace(heard, answer=replace(heard.answer, took_s=round(time.monotonic() - begun, 3)))


def _problem(connection: SshConnection, ran: SshRun) -> HostAnswer | None:
    """Return why the command did not run there to its end, or None if it did."""
    said = _last_line(ran.stderr)
    if ran.said_too_much:
        return _not_judged(connection, "it sent more than can be an answer")
    if ran.exit_code is None:
        limit = seconds(connection.host.timeout_s)
        return _not_judged(connection, f"no answer within {limit} (timeout_s in [hosts.{connection.name}])")
    if ran.exit_code == FAILED:
        return _unconnected(connection, said)
    if ran.exit_code in (_NOT_FOUND, _NOT_EXECUTABLE):
        return _without_toombos(connection, said)
    problem = _PROBLEMS.get(ran.exit_code)
    return _not_judged(connection, problem.format(directory=connection.host.directory)) if problem else None


def _read(connection: SshConnection, ran: SshRun, what: RemoteCommand, mark: str) -> HostReply:
    """Return what a host sent, as far as it is what the command prints."""
    _, _, output = ran.stdout.partition(f"{mark}\n".encode())
    document, _, bundle = output.partition(b"\n")
    try:
        envelope, said = read_envelope(document, what.name, ran.exit_code or 0)
    except UntrustedError as error:
        complaint = _last_line(ran.stderr)
        why = f"its answer cannot be used: {one_line(str(error))}"
        return HostReply(answer=_not_judged(connection, f"{why}; it said: {complaint}" if complaint else why))
    has_bundle = bundle.startswith(_ZSTD)
    if what.with_bundle and said is not None and not has_bundle:
        return HostReply(answer=_not_judged(connection, "it sent no bundle"))
    return HostReply(answer=_answered(connection, envelope), said=said, bundle=bundle if has_bundle else b"")


def _answered(connection: SshConnection, envelope: Envelope) -> HostAnswer:
    told = envelope.errors[0] if envelope.errors and envelope.verdict in WRONG else None
    detail = "" if told is None else one_line(f"{told.where}: {told.message}" if told.where else told.message)
    return replace(
        _not_judged(connection, detail),
        state=HostState.ANSWERED,
        verdict=envelope.verdict,
        exit_code=envelope.exit_code,
        data=envelope.data,
    )


def _not_judged(connection: SshConnection, detail: str) -> HostAnswer:
    return HostAnswer(
        host=connection.name,
        address=connection.host.address,
        state=HostState.NOT_JUDGED,
        verdict=Verdict.ERROR,
        detail=detail,
        data={},
    )


def _without_toombos(connection: SshConnection, said: str) -> HostAnswer:
    program = connection.host.command[0]
    answer = _not_judged(connection, f"{program} cannot be run there: {said or 'it is not installed'}")
    package = f"toombos=={__version__}"
    install = command(*connection.login, f"pipx install {package} || uv tool install {package}")
    return replace(answer, fix=install)


def _unconnected(connection: SshConnection, said: str) -> HostAnswer:
    """Return why ssh failed: a host whose address accepts connections is there, and was not judged."""
    answer = _not_judged(connection, said or "ssh failed and did not say why")
    how = connection.resolved()
    is_direct = all(how.get(key, "none") == "none" for key in ("proxycommand", "proxyjump"))
    if is_direct and not _accepts(how.get("hostname", connection.host.address), int(how.get("port", "22"))):
        return replace(answer, state=HostState.UNREACHABLE, verdict=Verdict.FAIL)
    return replace(answer, fix=command(*connection.login, "true"))


def _last_line(stderr: bytes) -> str:
    """Return the last line, which says how it ended; a warning of ssh about a key fills the lines before it."""
    lines = stderr.decode(errors="replace").split("\n")
    return one_line(next((line for line in reversed(lines) if line.strip()), ""))


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except (OSError, UnicodeError):
        return False
    return True


_PROBLEMS = {
    _NO_DIRECTORY: "there is no directory {directory} there that its user may enter",
    _NO_PROJECT: "there is no project in {directory}: it has neither toombos.toml nor .env",
    _NO_FILE: "it has no room for a temporary file",
}
"""What the exit codes of the scripts mean."""
