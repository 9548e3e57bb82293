"""Sends the requests of a scenario's users: the connection that reads whole responses, and the two loops.

Nothing here runs for a plan of fixed requests.
"""

import asyncio
from operator import length_hint
from time import perf_counter_ns as clock
from typing import cast

from toombos_cli.load.engine.closed import ClosedLoop
from toombos_cli.load.engine.connection import Connection
from toombos_cli.load.engine.engine import Engine
from toombos_cli.load.engine.judge import Judge
from toombos_cli.load.engine.open import OpenLoop
from toombos_cli.load.engine.quick_check import Headers, WholeResponse
from toombos_cli.load.engine.recorder import RequestFailure, Tally
from toombos_cli.load.engine.response import ResponseReader
from toombos_cli.load.engine.users import Turn, UserQueue
from toombos_cli.load.observer import LoadObserver
from toombos_cli.load.plan import LoadPlan

_MOST_BODY_BYTES = 16 * 1024 * 1024
_KNOWN_HEADS = 256
_END = b"\r\n\r\n"


class WholeReader(ResponseReader):
    """A reader that keeps headers and body of a response, and counts the events of a stream."""

    __slots__ = ("_body", "_events_wanted", "_last", "_raw", "events", "truncated")

    def begin(self, *, bodiless: bool, events: int | None = None) -> None:
        """Prepare for the response to a request; `events`: with so many of them it is complete."""
        super().begin(bodiless=bodiless)
        self._raw: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._last = b""
        self._events_wanted = events
        self.events = 0
        self.truncated = False

    @property
    def body(self) -> bytes:
        """The body so far, at most 16 MiB."""
        return bytes(self._body)

    @property
    def headers(self) -> Headers:
        """The headers, with names in lower case."""
        return tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in self._raw)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._raw.clear()  # those of an interim response

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._raw.append((name, value))

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self._events_wanted is not None:
            self._count_events(body)
        if len(self._body) < _MOST_BODY_BYTES:
            self._body += body[: _MOST_BODY_BYTES - len(self._body)]
        else:
            self.truncated = True

    def _count_events(self, body: bytes) -> None:
        """Count what ends with a blank line in an event stream, and lines elsewhere; comments are no events."""
        is_sse = any(n.lower() == b"content-type" and v.startswith(b"text/event-stream") for n, v in self._raw)
        data = (self._last + body).replace(b"\r\n", b"\n")
        *whole, self._last = data.split(b"\n\n" if is_sse else b"\n")
        lines = (one.split(b"\n") for one in whole)
        self.events += sum(any(line.strip() and not (is_sse and line[:1] == b":") for line in each) for each in lines)
        if self.events >= (self._events_wanted or 0) > 0:
            self._done = True
            self.keep_alive = False


class ScriptedConnection(Connection):
    """A connection whose responses are judged by the script of their request."""

    __slots__ = ("_judge", "_listening", "think_s")
    tally: Turn | None

    def __init__(self, owner: Engine, judge: Judge) -> None:
        super().__init__(owner)
        self._judge = judge
        self._listening: asyncio.TimerHandle | None = None
        self.think_s = 0.0

    def _write(self, request: bytes, size: int) -> None:
        turn = self.tally
        assert turn is not None  # noqa: S101  (there is a request to write)
        if turn.problem:
            self._fail(RequestFailure("scenario", "send", ""), turn.problem)
            return
        if turn.script.listen_s is not None:
            self._listening = asyncio.get_running_loop().call_later(turn.script.listen_s, self._heard_enough, turn)
        super()._write(request, size)

    def data_received(self, data: bytes) -> None:
        turn = self.tally
        if turn is None or self.first_byte:
            self._read(data, clock())
            return
        now = clock()
        end = data.find(_END) + len(_END)
        seen = self._judge.heads.get(data[:end])
        if seen is None or seen[0] != len(data) or turn.bodiless or turn.script.is_stream:
            self._read(data, now)
            return
        self.first_byte = now
        _, status, headers = seen
        self._judged(turn, WholeResponse(status, headers, data[end:], now, (now - self.written) / 1e6))
        self._settle(usable=True)

    def _begin_reading(self, tally: Tally) -> ResponseReader:
        reader = self._reader
        if reader is None:
            reader = self._reader = WholeReader()
        script = cast(Turn, tally).script
        events = script.events if script.events is not None else 0 if script.is_stream else None
        cast(WholeReader, reader).begin(bodiless=tally.bodiless, events=events)
        return reader

    def _learn(self, tally: Tally, head: bytes, length: int, reader: ResponseReader) -> None:
        heads = self._judge.heads
        if not tally.bodiless:
            if len(heads) >= _KNOWN_HEADS:
                heads.clear()
            heads[head] = (length, reader.status, cast(WholeReader, reader).headers)

    def _count(self, tally: Tally, reader: ResponseReader, now: int) -> None:
        whole = cast(WholeReader, reader)
        tally.result.events += whole.events
        took_ms = (now - self.written) / 1e6
        response = WholeResponse(
            whole.status, whole.headers, whole.body, now, took_ms, truncated=whole.truncated, events=whole.events
        )
        self._judged(cast(Turn, tally), response)

    def _judged(self, turn: Turn, response: WholeResponse) -> None:
        """Judge and count a whole response, and move its user on."""
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        status, now, due = response.status, response.ended_ns, self.due or self.written
        ok = self._judge.judge(turn, response)
        self.think_s = self._judge.think_s
        if not ok and response.body:
            turn.result.samples.setdefault(status, response.body[:2000])
        self._record(turn, status, ok=ok, now=now, due=due)

    def _heard_enough(self, turn: Turn) -> None:
        """End a stream that was listened to for its time, unless nothing has come."""
        self._listening = None
        reader = self._reader
        if self.tally is turn and self.first_byte and reader is not None and reader.status:
            self._count(turn, reader, clock())
            self._settle(usable=False)

    def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None
        super().close()


class _Scripted(Engine):
    """What both loops have in common: who sends the next request, and over which kind of connection."""

    users: UserQueue

    def _prepare_users(self, *, waits: bool) -> None:
        self.users = UserQueue(self.plan, waits=waits)
        self._judge = Judge(self.users)

    def new_connection(self) -> Connection:
        if self.plan.target.endpoint.http2:
            from toombos_cli.load.engine.http2 import ScriptedHttp2Connection

            return ScriptedHttp2Connection(self, self._judge)
        return ScriptedConnection(self, self._judge)

    def pick(self) -> Tally:
        return self.users.next(self.recorder)


class ScriptedOpenLoop(_Scripted, OpenLoop):
    """An open loop whose requests are the steps of users: when one is due, the next user that is ready sends it."""

    def __init__(self, plan: LoadPlan, observer: LoadObserver) -> None:
        super().__init__(plan, observer)
        self._prepare_users(waits=False)


class ScriptedClosedLoop(_Scripted, ClosedLoop):
    """A closed loop of users: each sends its next step when it has the response to the last one and has paused."""

    def __init__(self, plan: LoadPlan, observer: LoadObserver) -> None:
        super().__init__(plan, observer)
        self._prepare_users(waits=True)
        self._paused = 0
        self._pauses: dict[int, tuple[asyncio.TimerHandle, Connection | None]] = {}

    def idle(self, connection: Connection) -> None:
        if not cast(ScriptedConnection, connection).think_s or not self._pause(connection, connection):
            super().idle(connection)
            if self._pauses:
                self._wake_if_done()

    def lost(self, connection: Connection, *, answered: bool) -> None:
        if not self._pause(connection, None):
            super().lost(connection, answered=answered)
            self._wake_if_done()

    def _pause(self, connection: Connection, kept: Connection | None) -> bool:
        """Let the user of the connection pause, if it does so now; report whether it does."""
        pause_s = cast(ScriptedConnection, connection).think_s
        if not pause_s or not length_hint(self._permits):
            return False
        cast(ScriptedConnection, connection).think_s = 0.0
        if kept is None:
            self.connections.discard(connection)
        else:
            connection.rest()
        self._paused += 1
        self._pauses[self._paused] = self.loop.call_later(pause_s, self._resume, self._paused), kept
        return True

    def _resume(self, number: int) -> None:
        handle, connection = self._pauses.pop(number)
        handle.cancel()
        if connection is not None and connection.transport is not None:
            super().idle(connection)
        else:
            self._next(clock(), answered=True)
        self._wake_if_done()

    def _wake_if_done(self) -> None:
        """End all pauses if nothing is left to send."""
        if self._pauses and not length_hint(self._permits):
            for number in list(self._pauses):
                if number in self._pauses:
                    self._resume(number)

    def end_issue(self) -> None:
        super().end_issue()
        self._wake_if_done()

    def _stop(self) -> None:
        super()._stop()
        for handle, _ in self._pauses.values():
            handle.cancel()
        self._pauses.clear()
