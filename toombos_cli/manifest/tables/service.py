"""The manifest's `[services.NAME]` tables: how one service is started, judged and stopped."""

import re
from typing import Literal

import msgspec

from toombos_cli.base.addresses import host_port
from toombos_cli.manifest.tables.backup import ServiceBackup
from toombos_cli.manifest.tables.dependencies import Dependency, When
from toombos_cli.manifest.tables.env_files import check_env_files
from toombos_cli.manifest.tables.expectations import Expectation, check_headers, check_path, header_variables
from toombos_cli.manifest.tables.health_words import HealthWords
from toombos_cli.manifest.tables.table import Table
from toombos_cli.manifest.tables.watch import WatchTable, check_patterns

Question = Literal["health", "ready", "live"]
"""What is asked of a service: all three are expectations of the manifest."""
QUESTIONS: tuple[Question, ...] = ("health", "ready", "live")


class RestartTable(Table, frozen=True):
    """What happens after an unexpected exit: exponential backoff with jitter, then `crash-loop`."""

    policy: Literal["always", "on-failure", "never"] = "always"
    backoff_initial_s: float = 0.5
    backoff_max_s: float = 30.0
    crash_loop_count: int = 5
    crash_loop_window_s: float = 60.0
    reset_after_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.backoff_initial_s <= self.backoff_max_s:
            raise ValueError("backoff_initial_s must be above 0 and at most backoff_max_s")
        if self.crash_loop_count < 1:
            raise ValueError("crash_loop_count must be at least 1")


class Limits(Table, frozen=True):
    """Resource limits of one service's process tree; 0 means no limit."""

    memory_warn_mb: int = 0
    memory_restart_mb: int = 0
    cpu_warn_percent: float = 0.0
    cpu_restart_percent: float = 0.0
    sustained_s: float = 30.0


GROUP_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""What the name of a group looks like, as a regular expression."""
FILES = ("ca_file", "client_cert", "client_key", "unix")
"""The keys of a service that name files."""


OF_TASKS = ("run", "inputs", "timeout_s")
"""The keys that only a task has."""
NOT_OF_TASKS = (
    *("port", "host", "headers", "ca_file", "client_cert", "client_key", "insecure", "unix", "http2", "words"),
    *("health", "health_answer", "ready", "live", "metrics", "openapi", "startup_timeout_s", "probe_interval_s"),
    *("probe_timeout_s", "unhealthy_after", "restart_when_unhealthy", "latency_warn_ms", "restart", "watch", "limits"),
    "backup",
)
"""The keys that a task cannot have: nothing asks whether it is well, and it is not restarted."""


class Service(Table, frozen=True):
    """One supervised service: an HTTP server, any server that accepts connections (`tcp`), or a worker without a port.

    A task (`kind`) runs to its end instead.

    `name` is the table's key. Placeholders in `command`, `cwd`, `inputs`, `env`, `default_env`, `log`, in the commands
    of expectations and in the paths of files are already expanded when the loader returns it: `{python}`, `{project}`,
    `{host}`, `{port}`, `{url}` and `{services.NAME.url|host|port}`; these paths are absolute.
    """

    name: str
    command: tuple[str, ...]
    kind: Literal["service", "task"] = "service"
    run: Literal["always", "once", "changed"] = "always"
    """When a task runs. `once`: until it has succeeded once. `changed`: again if its table, a variable or the content
    of its `inputs` changed since it succeeded."""
    inputs: tuple[str, ...] = ()
    timeout_s: float = 0.0
    """The time that a task may take; 0 means no limit."""
    port: int = 0
    title: str = ""
    role: Literal["app", "mock", "monitoring"] = "app"
    optional: bool = False
    """An optional service is started and judged only if it is requested or already running."""
    enabled: bool = True
    groups: tuple[str, ...] = ()
    """Groups that it belongs to: `@NAME` stands for all services of one wherever services are named."""
    cwd: str = "{project}"
    user: str = ""
    """The user that it runs as, by name or number; only root can choose another one than itself."""
    group: str = ""
    """The group that it runs with, if it is not the user's own."""
    stdin: Literal["null", "open"] = "null"
    """`null`: its standard input is at its end. `open`: it stays open and empty, for programs that end with it."""
    host: str = "127.0.0.1"
    scheme: Literal["http", "https", "tcp", "none"] = "http"
    """`tcp`: healthy and ready while it accepts connections. `none`: healthy while its process runs; `port` is 0.
    Neither has paths, and `health` is ""."""
    env: dict[str, str] = {}
    """Variables that override the environment and `.env`."""
    default_env: dict[str, str] = {}
    """Variables that the environment and `.env` override."""
    env_files: tuple[str, ...] = ()
    """Files like `.env` for this service alone: they override those of the system, and a later one wins."""
    headers: dict[str, str] = {}
    """Headers of every request to it; `${env.NAME}` stands for a variable of the service."""
    ca_file: str = ""
    """The certificate authorities that its certificate is verified with."""
    client_cert: str = ""
    client_key: str = ""
    """The key of `client_cert`, if it is in a file of its own."""
    insecure: bool = False
    """Accept any certificate."""
    unix: str = ""
    """The Unix socket that it listens on instead of a port."""
    http2: bool = False
    words: HealthWords = HealthWords()
    """Words that mean something else in its responses."""
    health: str | Expectation = "/health"
    health_answer: Literal["status", "any", "page"] = "any"
    """`status`: only a JSON object whose `status` reports good health is healthy. `any`: any 2xx is, unless its body
    reports a failure or is a web page. `page`: a web page is healthy, too."""
    ready: str | Expectation | None = None
    live: str | Expectation | None = None
    metrics: str | None = None
    openapi: str | None = None
    depends_on: dict[str, When | Dependency] = {}
    log: str = "logs/{name}.log"
    startup_timeout_s: float = 60.0
    grace_period_s: float = 10.0
    stop_signal: Literal["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH"] = "TERM"
    stop_command: tuple[str, ...] = ()
    """A program that asks the service to end, run without a shell; the signal follows only if it does not help."""
    probe_interval_s: float = 5.0
    probe_timeout_s: float = 2.0
    unhealthy_after: int = 3
    """The number of failed liveness probes in a row that make a ready service `unhealthy`."""
    restart_when_unhealthy: bool = False
    """Restart it when it has become `unhealthy`; such a restart counts as one after an exit."""
    watch: tuple[str, ...] | WatchTable = ()
    """The files whose changes restart it: paths and patterns such as `src/**/*.py`, or a table."""
    latency_warn_ms: float = 2000.0
    exit_codes_of_invalid_configuration: tuple[int, ...] = ()
    """Exit codes that mean that the service's configuration is wrong: it is not restarted."""
    restart: RestartTable = RestartTable()
    limits: Limits = Limits()
    backup: ServiceBackup = ServiceBackup()

    def __post_init__(self) -> None:
        if self.kind == "task":
            self._runs_to_its_end()
        elif given := self._set(OF_TASKS):
            raise ValueError(f"{given[0]} is set, but only a task (kind = 'task') has it")
        if not self.command:
            raise ValueError("command must name a program")
        self._has_no_nul()
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 1 to 65535, not {self.port}")
        for field in ("startup_timeout_s", "grace_period_s", "probe_interval_s", "probe_timeout_s"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field} must be above 0 seconds")
        if self.restart_when_unhealthy and self.restart.policy == "never":
            raise ValueError("restart_when_unhealthy is set, but restart.policy = 'never' restarts nothing")
        if isinstance(self.watch, tuple):
            check_patterns(self.watch)
        check_env_files(self.env_files)
        if self.group and not self.user:
            raise ValueError("group is set, but user is not")
        for group in self.groups:
            if not re.fullmatch(GROUP_PATTERN, group):
                raise ValueError(f"groups must be names of letters, digits, '_', '-' and '.', not {group!r}")
        self._is_reachable()
        if self.scheme in ("tcp", "none"):
            self._has_no_paths()
        for field in ("health", "ready", "live", "metrics", "openapi"):
            path = getattr(self, field)
            if isinstance(path, str):
                check_path(field, path)
        check_headers(self.headers)

    def _set(self, fields: tuple[str, ...]) -> list[str]:
        """Return those of the fields that do not have their default value."""
        return [field for field in fields if getattr(self, field) != DEFAULTS[field]]

    def _runs_to_its_end(self) -> None:
        """Raise ValueError for what a task cannot have; it does not listen."""
        given = [field for field in self._set(NOT_OF_TASKS) if (field, self.health) != ("health", "")]
        if given:
            instead = ": its limit is timeout_s" if given[0] == "startup_timeout_s" else ""
            raise ValueError(f"{given[0]} is set, but a task runs to its end{instead}")
        if self.scheme not in ("http", "none"):
            raise ValueError(f"scheme = '{self.scheme}' is set, but a task runs to its end")
        if self.inputs and self.run != "changed":
            raise ValueError("inputs is set, but only run = 'changed' looks at them")
        if self.timeout_s < 0:
            raise ValueError("timeout_s must be at least 0 seconds")
        msgspec.structs.force_setattr(self, "scheme", "none")

    def _has_no_nul(self) -> None:
        """Raise ValueError for a text that cannot be passed to another program or to the kernel."""
        for field in ("cwd", "user", "group", "host", "log", *FILES):
            if "\0" in getattr(self, field):
                raise ValueError(f"{field} must not contain the character NUL")
        variables = (*self.env.items(), *self.default_env.items())
        for field, texts in (
            ("command", self.command),
            ("stop_command", self.stop_command),
            ("backup.command", self.backup.command),
            ("inputs", self.inputs),
            ("env", map("=".join, variables)),
        ):
            if any("\0" in text for text in texts):
                raise ValueError(f"{field} must not contain the character NUL")

    def _is_reachable(self) -> None:
        """Raise ValueError for an address that the scheme does not have."""
        if self.scheme == "none" and self.port:
            raise ValueError("port is set, but scheme = 'none' is for a service that does not listen")
        if self.unix and self.scheme not in ("http", "https"):
            raise ValueError(f"unix is set, but scheme = '{self.scheme}' speaks no HTTP")
        if self.scheme != "none" and not self.port and not self.unix:
            raise ValueError("port is missing (without one: scheme = 'none', or kind = 'task' if it runs to its end)")
        if self.client_key and not self.client_cert:
            raise ValueError("client_key is set, but client_cert is not")
        given = [field for field in ("ca_file", "client_cert", "insecure") if getattr(self, field)]
        if given and self.scheme != "https":
            raise ValueError(f"{given[0]} is set, but only scheme = 'https' has certificates")
        if self.insecure and self.ca_file:
            raise ValueError("insecure accepts any certificate, but ca_file is set as well: remove one of them")

    def _has_no_paths(self) -> None:
        """Raise ValueError for what only HTTP has; a command can say whether the service is well."""
        given = [field for field in ("ready", "live", "metrics", "openapi") if isinstance(getattr(self, field), str)]
        if self.health not in ("", "/health") and isinstance(self.health, str):
            given.insert(0, "health")
        if given:
            raise ValueError(f"{given[0]} is a path, but scheme = '{self.scheme}' has no paths")
        for field in QUESTIONS:
            expectation = getattr(self, field)
            if isinstance(expectation, Expectation) and not expectation.command:
                raise ValueError(f"{field} needs `command`: scheme = '{self.scheme}' speaks no HTTP")
        if self.headers or self.http2:
            name = "headers" if self.headers else "http2"
            raise ValueError(f"{name} is set, but scheme = '{self.scheme}' speaks no HTTP")
        if isinstance(self.health, str):
            msgspec.structs.force_setattr(self, "health", "")

    @property
    def url(self) -> str:
        """The base URL of requests, without a trailing slash; "" for a service that does not listen."""
        if self.unix:
            return f"{self.scheme}://localhost"
        if not self.port:
            return ""
        return f"{self.scheme}://{host_port(self.host, self.port)}"

    @property
    def place(self) -> str:
        """Where it listens, for a person: its base URL or `unix:PATH`; "" for a service that does not listen."""
        return f"unix:{self.unix}" if self.unix else self.url

    @property
    def listens(self) -> bool:
        """Whether it has an address: a port or a Unix socket."""
        return bool(self.port or self.unix)

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine, so that its process, log and files can be looked at."""
        return True

    @property
    def is_task(self) -> bool:
        """Whether it runs to its end."""
        return self.kind == "task"

    def task_hint(self, exit_code: int | None) -> str | None:
        """Return what to write if it is a task, as its end with this exit code suggests, or None."""
        if exit_code != 0 or self.is_task or self.listens:
            return None
        return f'if it is meant to end: kind = "task" in [services.{self.name}]'

    def waits_for(self, dependency: str) -> When:
        """Return what it waits for before it starts."""
        how = self.depends_on[dependency]
        return how.when or "ready" if isinstance(how, Dependency) else how

    def restarts_with(self, other: str) -> bool:
        """Report whether it is restarted after another service has got a new process."""
        how = self.depends_on.get(other)
        return isinstance(how, Dependency) and how.restart

    @property
    def speaks_http(self) -> bool:
        """Whether it is asked over HTTP."""
        return self.scheme in ("http", "https")

    @property
    def watched(self) -> WatchTable | None:
        """The table of the files whose changes restart it, or None."""
        if isinstance(self.watch, WatchTable):
            return self.watch
        return WatchTable(paths=self.watch) if self.watch else None

    def expectation(self, question: Question) -> Expectation:
        """Return what is expected as a table: that of `health` where `ready` or `live` is not set.

        Its path is "" if the service has no paths; its headers include the service's own.
        """
        asked = getattr(self, question)
        if asked is None:
            asked = self.health
        expectation = asked if isinstance(asked, Expectation) else Expectation(path=asked)
        if expectation.command or not self.speaks_http:
            return expectation
        headers = self.headers | expectation.headers
        return msgspec.structs.replace(expectation, path=expectation.path or self._health_path, headers=headers)

    @property
    def needs_variables(self) -> bool:
        """Whether a probe needs its variables: few do, and they take time to find."""
        asked = map(self.expectation, QUESTIONS)
        return any(expectation.command or header_variables(expectation.headers) for expectation in asked)

    @property
    def health_path(self) -> str:
        """The path of its health route; "" if a command or a connection says whether it is well."""
        return self.expectation("health").path

    @property
    def ready_path(self) -> str | None:
        """The path of its own readiness route, or None."""
        return self.expectation("ready").path or None if self.ready is not None else None

    @property
    def live_path(self) -> str | None:
        """The path of its own liveness route, or None."""
        return self.expectation("live").path or None if self.live is not None else None

    @property
    def _health_path(self) -> str:
        path = self.health.path if isinstance(self.health, Expectation) else self.health
        return path or "/health"

    @property
    def label(self) -> str:
        """The title, or the name if there is no title."""
        return self.title or self.name


class ServiceElsewhere(Service, frozen=True):
    """A service at another place than this machine; one that the place gives no address has no port."""

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return False

    def _is_reachable(self) -> None:
        """Accept a service without an address."""


DEFAULTS = {
    field.name: field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    for field in msgspec.structs.fields(Service)
    if not field.required
}
"""The default of each key of a service that has one."""


def start_order(services: dict[str, Service]) -> tuple[tuple[str, ...], ...]:
    """Return batches of names; the services of a batch may start together after those of the batches before it.

    Raises graphlib.CycleError.
    """
    from graphlib import TopologicalSorter

    sorter = TopologicalSorter({name: set(s.depends_on) & services.keys() for name, s in services.items()})
    sorter.prepare()
    batches = []
    while sorter.is_active():
        ready = sorter.get_ready()
        batches.append(tuple(name for name in services if name in ready))
        sorter.done(*ready)
    return tuple(batches)
