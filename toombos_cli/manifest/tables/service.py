"""The manifest's `[services.NAME]` tables: how one service is started, judged and stopped."""

from typing import Literal

import msgspec

from toombos_cli.base.addresses import host_port


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A manifest table: immutable, and an unknown key is an error.

    It is encoded without default values, so that another version only meets a key that it does not know if the key
    is newer and in use.
    """


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


class Service(Table, frozen=True):
    """One supervised service: an HTTP server, any server that accepts connections (`tcp`), or a worker without a port.

    `name` is the table's key. Placeholders in `command`, `cwd`, `env`, `default_env` and `log` are already
    expanded when the loader returns it: `{python}`, `{project}`, `{host}`, `{port}`, `{url}` and
    `{services.NAME.url|host|port}`.
    """

    name: str
    command: tuple[str, ...]
    port: int = 0
    title: str = ""
    role: Literal["app", "mock", "monitoring"] = "app"
    optional: bool = False
    """An optional service is started and judged only if it is requested or already running."""
    enabled: bool = True
    cwd: str = "{project}"
    host: str = "127.0.0.1"
    scheme: Literal["http", "https", "tcp", "none"] = "http"
    """`tcp`: healthy and ready while it accepts connections. `none`: healthy while its process runs; `port` is 0.
    Neither has paths, and `health` is ""."""
    env: dict[str, str] = {}
    """Variables that override the environment and `.env`."""
    default_env: dict[str, str] = {}
    """Variables that the environment and `.env` override."""
    health: str = "/health"
    health_answer: Literal["status", "any", "page"] = "any"
    """`status`: only a JSON object whose `status` reports good health is healthy. `any`: any 2xx is, unless its body
    reports a failure or is a web page. `page`: a web page is healthy, too."""
    ready: str | None = None
    live: str | None = None
    metrics: str | None = None
    openapi: str | None = None
    depends_on: dict[str, Literal["started", "ready"]] = {}
    log: str = "logs/{name}.log"
    startup_timeout_s: float = 60.0
    grace_period_s: float = 10.0
    probe_interval_s: float = 5.0
    probe_timeout_s: float = 2.0
    unhealthy_after: int = 3
    """The number of failed liveness probes in a row that make a ready service `unhealthy`."""
    latency_warn_ms: float = 2000.0
    exit_codes_of_invalid_configuration: tuple[int, ...] = ()
    """Exit codes that mean that the service's configuration is wrong: it is not restarted."""
    restart: RestartTable = RestartTable()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("command must name a program")
        variables = (*self.env.items(), *self.default_env.items())
        if any("\0" in text for text in (*self.command, self.cwd, self.host, self.log, *map("=".join, variables))):
            raise ValueError("command, cwd, host, log and env must not contain the character NUL")
        if self.scheme == "none" and self.port:
            raise ValueError("port is set, but scheme = 'none' is for a service that does not listen")
        if self.scheme != "none" and not self.port:
            raise ValueError("port is missing (a service that does not listen needs scheme = 'none')")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port must be 1 to 65535, not {self.port}")
        for field in ("startup_timeout_s", "grace_period_s", "probe_interval_s", "probe_timeout_s"):
            if getattr(self, field) <= 0:
                raise ValueError(f"{field} must be above 0 seconds")
        if self.scheme in ("tcp", "none"):
            self._has_no_paths()
        for field in ("health", "ready", "live", "metrics", "openapi"):
            path = getattr(self, field)
            if path and not path.startswith("/"):
                raise ValueError(f"{field} must be a path that begins with /, not {path!r}")

    def _has_no_paths(self) -> None:
        given = [field for field in ("ready", "live", "metrics", "openapi") if getattr(self, field) is not None]
        if self.health not in ("", "/health"):
            given.insert(0, "health")
        if given:
            raise ValueError(f"{given[0]} is a path, but scheme = '{self.scheme}' has no paths")
        msgspec.structs.force_setattr(self, "health", "")

    @property
    def url(self) -> str:
        """The base URL without a trailing slash, with an IPv6 host in brackets; "" without a port."""
        if not self.port:
            return ""
        return f"{self.scheme}://{host_port(self.host, self.port)}"

    @property
    def readiness(self) -> str:
        """The path that says whether the service is ready: its own, or that of its health; "" when it has neither."""
        return self.ready or self.health

    @property
    def label(self) -> str:
        """The title, or the name if there is no title."""
        return self.title or self.name


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
