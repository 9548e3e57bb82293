"""The users of a scenario while it runs: their rounds, values, cookies and pauses.

A request is one step of one user. A user that is ready takes the next request; if none is ready, a new one begins.
"""

import heapq
import random
import re
from collections import deque
from collections.abc import Mapping
from time import perf_counter_ns as clock
from typing import Any
from urllib.parse import urljoin, urlsplit

from toombos_cli.base.addresses import host_port, request_target, url_address
from toombos_cli.load.data import Draws
from toombos_cli.load.engine.quick_check import Accept, quick_check
from toombos_cli.load.engine.recorder import Recorder, RequestFailure, Tally
from toombos_cli.load.plan import LoadPlan
from toombos_cli.load.script import Script, UnsendableError, UserScript

_MOST_REDIRECTS = 10
_HOST = re.compile(rb"\r\n[Hh][Oo][Ss][Tt]: ([^\r]+)\r\n")
_KEEPS_METHOD = frozenset({307, 308})


class User:
    """One user: what it does next, and what it knows."""

    __slots__ = ("at", "cookies", "follows", "hops", "kind", "turns", "values")

    def __init__(self, kind: UserScript, values: dict[str, Any]) -> None:
        self.kind = kind
        self.at = 0
        self.values = values
        self.cookies: dict[str, str] = {}
        self.follows: tuple[str, str] | None = None  # method and path of a redirect
        self.hops = 0
        self.turns: dict[int, Turn] = {}


class Turn(Tally):
    """One request of one user, in the place of the tally of its endpoint, which does the counting."""

    __slots__ = ("accept", "problem", "script", "user", "users")

    def __init__(self, tally: Tally, script: Script, user: User, users: "UserQueue", accept: Accept | None) -> None:
        for name in Tally.__slots__:
            if name not in ("request", "size", "latest", "bodiless"):
                setattr(self, name, getattr(tally, name))
        self.latest = tally.latest
        self.bodiless = script.method == "HEAD"
        self.user = user
        self.users = users
        self.script = script
        self.accept = accept
        self.problem = ""

    def prepare(self) -> None:
        """Set the bytes of the request from the user's values."""
        script, user = self.script, self.user
        self.problem = ""
        try:
            self.request = _rendered(script, user)
        except UnsendableError as error:
            self.request, self.problem = b"", str(error)
        except KeyError as error:
            self.request, self.problem = b"", f"${{{error.args[0]}}} has no value"
        self.size = len(self.request)

    def fail(self, failure: RequestFailure, sample: str, now_ns: int) -> None:
        """Count a request that got no response; its user begins anew."""
        super().fail(failure, sample, now_ns)
        self.users.begin_anew(self.user)


def _rendered(script: Script, user: User) -> bytes:
    """Return the request of a user's step. Raise KeyError and UnsendableError."""
    if user.follows is None and not (script.cookies and user.cookies):
        return script.fill(user.values)
    head = script.head.fill(user.values)
    if user.follows is not None:
        return _redirected(script, user, head)
    pairs = "; ".join(f"{name}={value}" for name, value in user.cookies.items())
    more = b"\r\nCookie: " + pairs.encode("utf-8", "surrogateescape")
    if script.body is None:
        fields, blank, body = head.partition(b"\r\n\r\n")
        return fields + more + blank + body
    body = script.body.fill(user.values)
    return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (head, more, len(body), body)


def _redirected(script: Script, user: User, head: bytes) -> bytes:
    """Return the request that a redirect leads to: without the body, unless the method is kept."""
    assert user.follows is not None  # noqa: S101  (callers check)
    method, path = user.follows
    whole = head if script.body is None else head + b"\r\n\r\n" + script.body.fill(user.values)
    fields, _, body = whole.partition(b"\r\n\r\n")
    line, *others = fields.split(b"\r\n")
    lines = [b"%b %b %b" % (method.encode(), path.encode(), line.rpartition(b" ")[2])]
    lines += [one for one in others if not one.lower().startswith((b"content-length:", b"cookie:"))]
    if method not in ("GET", "HEAD") or script.method == method:
        lines += [b"Content-Length: %d" % len(body)] if body else []
    else:
        lines = [one for one in lines if not one.lower().startswith(b"content-type:")]
        body = b""
    if script.cookies and user.cookies:
        lines.append(b"Cookie: " + "; ".join(f"{n}={v}" for n, v in user.cookies.items()).encode("utf-8", "replace"))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class UserQueue:
    """The users of one engine, and which of them is next.

    With `waits`, a user that pauses is taken before a new one begins: the number of users does not change.
    """

    def __init__(self, plan: LoadPlan, *, waits: bool) -> None:
        assert plan.users is not None  # noqa: S101  (the plan has users, or there is no queue)
        self._kinds = plan.users.kinds
        self._weights = [kind.weight for kind in self._kinds]
        self._scripts = [endpoint.script for endpoint in plan.endpoints]
        self._accepts = [None if script is None else quick_check(script) for script in self._scripts]
        self._constants = plan.users.constants
        self._draws = Draws(plan.users.sources, plan.part)
        self._of_round = {kind.steps: self._draws.of_round(kind.used) for kind in self._kinds}
        self._scheme = plan.target.scheme
        place = host_port(plan.target.host, plan.target.port) if plan.target.port else plan.target.host
        self._origin = f"{plan.target.scheme}://{place}"
        self._waits = waits
        self._ready: deque[User] = deque()
        self._pausing: list[tuple[int, int, User]] = []
        self._random = random.Random(plan.seed)  # noqa: S311  (the order of users is not a secret)
        self._paused = 0

    def next(self, recorder: Recorder) -> Turn:
        """Return the next request: of a user that is ready, or else of a new one."""
        if self._pausing and (not self._ready) and (self._waits or self._pausing[0][0] <= clock()):
            user = heapq.heappop(self._pausing)[2]
        else:
            user = self._ready.popleft() if self._ready else self._new()
        index = user.kind.steps[user.at]
        turn = user.turns.get(index)
        if turn is None or turn.recorder is not recorder:
            script = self._scripts[index]
            assert script is not None  # noqa: S101  (every request of a plan with users has a script)
            turn = user.turns[index] = Turn(recorder.tallies[index], script, user, self, self._accepts[index])
        turn.prepare()
        return turn

    def _choose(self) -> UserScript:
        return self._kinds[0] if len(self._kinds) == 1 else self._random.choices(self._kinds, self._weights)[0]

    def _new(self) -> User:
        user = User(self._kinds[0], dict(self._constants))
        for draw in self._draws.per_user:
            draw(user.values)
        self._begin(user)
        return user

    def begin_anew(self, user: User) -> None:
        """Let the user begin its next round at once."""
        self._begin(user)
        self._ready.append(user)

    def _begin(self, user: User) -> None:
        """Begin the user's next round: the weights are the shares of the rounds of all users."""
        user.kind = self._choose()
        user.at = user.hops = 0
        user.follows = None
        if user.kind.has_rounds:
            user.cookies.clear()
        for draw in self._of_round[user.kind.steps]:
            draw(user.values)

    def advance(self, user: User, script: Script, captured: Mapping[str, Any]) -> float:
        """Move the user to its next step, and return the seconds of its pause before it."""
        user.values.update(captured)
        user.hops = 0
        user.follows = None
        user.at += 1
        if user.at == len(user.kind.steps):
            self._begin(user)
        least, most = script.pause
        if not most:
            self._ready.append(user)
            return 0.0
        pause_s = self._random.uniform(least, most)
        self._paused += 1
        heapq.heappush(self._pausing, (clock() + int(pause_s * 1e9), self._paused, user))
        return pause_s

    def follow(self, turn: Turn, status: int, location: str) -> bool:
        """Let the user follow a redirect next, and report whether it does: only within the target, ten times."""
        user, script = turn.user, turn.script
        path = turn.request.split(b" ", 2)[1].decode("latin-1")
        host = _HOST.search(turn.request)
        own = {self._origin, f"{self._scheme}://{host[1].decode('latin-1')}"} if host else {self._origin}
        try:
            parts = urlsplit(urljoin(self._origin + path, location))
            is_own = _origin(f"{parts.scheme}://{parts.netloc}") in set(map(_origin, own))
        except ValueError:
            return False
        if not is_own or user.hops >= _MOST_REDIRECTS:
            return False
        user.hops += 1
        before = user.follows[0] if user.follows else script.method
        keeps = status in _KEEPS_METHOD or before in ("GET", "HEAD")
        user.follows = (before if keeps else "GET", request_target(parts))
        self._ready.append(user)
        return True


def _origin(url: str) -> tuple[str, str, int | None]:
    """Return scheme, host and port of a URL. Raise ValueError."""
    return (urlsplit(url).scheme, *url_address(url))
