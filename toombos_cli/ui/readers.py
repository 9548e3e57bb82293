"""What the screen shows, read in background threads through the functions that the commands use, without secrets."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from textual.message import Message

from toombos_cli.base.errors import ToombosError
from toombos_cli.base.text import folded, size
from toombos_cli.logs.follower import Follower
from toombos_cli.logs.lines import text_of
from toombos_cli.logs.reading import run_logs
from toombos_cli.project.history import HistoryFollower, read_history
from toombos_cli.project.service_logs import service_logs
from toombos_cli.project.state import RunDirectory, read_state
from toombos_cli.render.presentable import presentable
from toombos_cli.supervisor.events import events_among_logs
from toombos_cli.supervisor.operations import run_status
from toombos_cli.ui.background import Background

if TYPE_CHECKING:
    from toombos_cli.base.redaction import Redactor
    from toombos_cli.cli.invocation import Invocation
    from toombos_cli.manifest.model import Manifest
    from toombos_cli.manifest.tables.service import Service
    from toombos_cli.supervisor.reports import SystemReport

_STATUS_EVERY_S = 1.0
_LOGS_EVERY_S = 0.2
_FIRST_LINES = 500
_MOST_LINES = 400
"""The most lines of a log that are shown at once; of a flood, the last ones."""
_FLOOD_BYTES = 900 * 1024
"""A log of which so much is new is read from its end: the screen shows what happens now."""
_LONGEST_READ = 16_384
_LONGEST_SHOWN = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedSystem:
    """The system on the screen: its services, and its manifest, or None if that cannot be read."""

    invocation: "Invocation"
    services: "dict[str, Service]"
    manifest: "Manifest | None"

    def fresh_invocation(self) -> "Invocation":
        """Return an invocation that has read nothing yet: neither the manifest nor the secrets of `.env`."""
        return replace(self.invocation)


class StatusRead(Message):
    """The status of the system, or why it cannot be read."""

    def __init__(self, source: Background, report: "SystemReport | None", trouble: str = "") -> None:
        super().__init__()
        self.source, self.report, self.trouble = source, report, trouble


class LogsRead(Message):
    """New lines; `first`: they replace everything shown before."""

    def __init__(self, source: Background, lines: list[str], *, first: bool = False) -> None:
        super().__init__()
        self.source, self.lines, self.first = source, lines, first


def explained(error: ToombosError | OSError, redactor: "Redactor") -> str:
    """Return an error as one line; problems have their hints."""
    if isinstance(error, OSError):
        return folded(redactor.text(str(error)))
    problems = redactor.value(error.problems)
    texts = (": ".join(filter(None, (p.where, p.message))) + (f" (hint: {p.hint})" if p.hint else "") for p in problems)
    return folded("; ".join(texts))


def read_status(watched: WatchedSystem, thread: Background) -> None:
    """Post the status each second."""
    knows_dry_run = watched.manifest is None or "dry_run" in watched.manifest.modes
    project, services = watched.invocation.project, watched.services
    while not thread.closed:
        invocation = watched.fresh_invocation()
        try:
            report = run_status(project, services, (), knows_dry_run=knows_dry_run, reads_logs=False)
        except (ToombosError, OSError) as error:
            thread.post(StatusRead(thread, None, explained(error, invocation.redactor)))
        else:
            thread.post(StatusRead(thread, presentable(invocation.redacted(report))))
        thread.pause(_STATUS_EVERY_S)


def read_logs(watched: WatchedSystem, service: str, thread: Background) -> None:
    """Post the last lines of the service, or merged those of all if it is "", then the new ones as they are written."""
    try:
        _follow(watched, service, thread)
    except (ToombosError, OSError) as error:
        why = explained(error, watched.fresh_invocation().redactor)
        thread.post(LogsRead(thread, [f"-- the log cannot be read: {why}"], first=True))


def _follow(watched: WatchedSystem, service: str, thread: Background) -> None:
    project, redactor = watched.invocation.project, watched.fresh_invocation().redactor
    chosen = {service: watched.services[service]} if service in watched.services else watched.services
    files, strays = service_logs(RunDirectory(project), chosen, read_state(project))
    prefix = max(map(len, files), default=0) if len(files) > 1 else 0

    def shown(name: str, text: str) -> str:
        text = folded(redactor.text(text[:_LONGEST_READ]))[:_LONGEST_SHOWN]
        return f"{name:{prefix}} | {text}" if prefix else text

    followers = {name: Follower(log) for name, log in files.items()}
    history = HistoryFollower(project)
    past = events_among_logs(read_history(project).events, files)
    places = {name: follower.place for name, follower in followers.items()}
    lines = [
        shown(one.service, one.line) for one in run_logs(files, count=_FIRST_LINES, places=places, events=past).lines
    ]
    thread.post(LogsRead(thread, [*(f"note: {folded(str(stray))}" for stray in strays), *lines], first=True))
    while not thread.closed:
        thread.pause(_LOGS_EVERY_S)
        new: list[str] = []
        for name, follower in followers.items():
            before, raw = follower.place, follower.poll()
            if sum(map(len, raw)) > _FLOOD_BYTES:
                followers[name] = Follower(files[name])
                new.append(f"-- {name}: {size(followers[name].place - before)} at once; these are the last lines")
            elif len(raw) > _MOST_LINES:
                new.append(f"-- {name}: {len(raw) - _MOST_LINES} lines are left out here")
            new += [shown(name, text_of(line)) for line in raw[-_MOST_LINES:]]
        for name, events in events_among_logs(history.poll(), files).items():
            new += [shown(name, event.line) for event in events]
        if new:
            thread.post(LogsRead(thread, new))
