"""The PromQL that rules and panels share, so that a dashboard and its alert can never disagree.

Every series has the labels `service` and `role` of the manifest (see `prometheus_config`).
"""

from dataclasses import dataclass

from toombos_cli.manifest.model import Manifest
from toombos_cli.manifest.tables.service import Service

REQUESTS = "http_requests_total"
DURATIONS = "http_request_duration_seconds_bucket"
# Status 0 means that the response was cut off.
FAILED_STATUS = 'status=~"5..|0"'
EVERY_BUCKET = 'le="+Inf"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Expressions:
    """Expressions over the services of some roles; each yields one series per service unless it says otherwise."""

    roles: str
    window_s: int
    unprobed: str
    required: str

    @classmethod
    def of(cls, manifest: Manifest, *roles: str) -> "Expressions":
        """Return the expressions for this manifest's services with these roles."""
        watched = (service for service in scraped(manifest) if service.role != "monitoring")
        polled = sorted({path.partition("?")[0] for service in watched for path in _polled(service)})
        optional = [s.name for s in scraped(manifest) if s.optional and s.role in roles and s.role != "monitoring"]
        return cls(
            roles=f'role=~"{"|".join(roles)}"',
            window_s=manifest.monitoring.rate_window_s,
            unprobed=", ".join(f'path!="{path}"' for path in polled),
            required=f'service!~"{"|".join(optional)}"' if optional else "",
        )

    @property
    def up(self) -> str:
        """1 for a service whose last scrape succeeded, else 0."""
        return f"up{{{self.roles}}}"

    @property
    def expected_up(self) -> str:
        """`up` without the optional services: one that was never started is not down."""
        conditions = (self.roles, *((self.required,) if self.required else ()))
        return f"up{{{', '.join(conditions)}}}"

    @property
    def request_rate(self) -> str:
        """Responses per second, probes excluded."""
        return f"sum by (service) ({self._rate(REQUESTS, self.unprobed)})"

    @property
    def request_rate_by_path(self) -> str:
        """Responses per second by service and route, probes excluded."""
        return f"sum by (service, path) ({self._rate(REQUESTS, self.unprobed)})"

    @property
    def error_ratio(self) -> str:
        """The share of responses that failed, probes excluded; no series if there was no traffic."""
        every = f"sum by (service) ({self._rate(REQUESTS, self.unprobed)})"
        failed = f"sum by (service) ({self._rate(REQUESTS, self.unprobed, FAILED_STATUS)})"
        return f"(({failed}) or 0 * {every}) / ({every} > 0)"

    @property
    def failed_requests(self) -> str:
        """The number of failed responses in the window, probes excluded."""
        return f"sum by (service) ({self._increase(REQUESTS, self.unprobed, FAILED_STATUS)})"

    @property
    def timed_requests(self) -> str:
        """The number of responses in the window that `response_time_s` is computed from."""
        return f"sum by (service) ({self._increase(DURATIONS, self.unprobed, EVERY_BUCKET)})"

    def response_time_s(self, quantile: float) -> str:
        """The quantile of the response time in seconds, probes excluded; no series if there was no traffic."""
        rate = self._rate(DURATIONS, self.unprobed)
        return f"histogram_quantile({quantile}, sum by (service, le) ({rate}))"

    @property
    def cpu_ratio(self) -> str:
        """CPU use, in cores."""
        return f"sum by (service) ({self._rate('process_cpu_seconds_total')})"

    @property
    def memory_bytes(self) -> str:
        """Resident memory of the process."""
        return f"sum by (service) (process_resident_memory_bytes{{{self.roles}}})"

    @property
    def open_files_ratio(self) -> str:
        """Open file descriptors as a share of the limit."""
        return f"max by (service) (process_open_fds{{{self.roles}}} / process_max_fds{{{self.roles}}})"

    @property
    def uptime_s(self) -> str:
        """Seconds since the process started."""
        return f"time() - max by (service) (process_start_time_seconds{{{self.roles}}})"

    @property
    def restarts(self) -> str:
        """How often the process changed between two scrapes, within three windows."""
        return f"max by (service) (changes(process_start_time_seconds{{{self.roles}}}[{3 * self.window_s}s]))"

    def _rate(self, metric: str, *conditions: str) -> str:
        return f"rate({self._range(metric, conditions)})"

    def _increase(self, metric: str, *conditions: str) -> str:
        return f"increase({self._range(metric, conditions)})"

    def _range(self, metric: str, conditions: tuple[str, ...]) -> str:
        return f"{metric}{{{', '.join((self.roles, *conditions))}}}[{self.window_s}s]"


def host_cpu_ratio(window_s: int) -> str:
    """Return the share of the machine's CPU time in use."""
    idle = f'sum(rate(node_cpu_seconds_total{{mode="idle"}}[{window_s}s]))'
    return f"1 - {idle} / sum(rate(node_cpu_seconds_total[{window_s}s]))"


HOST_MEMORY_RATIO = "1 - max(node_memory_MemAvailable_bytes) / max(node_memory_MemTotal_bytes)"
_REAL_FILESYSTEM = '{fstype!~"tmpfs|ramfs|devtmpfs|squashfs|iso9660"}'
HOST_DISK_RATIO = (
    f"1 - min by (mountpoint) (node_filesystem_avail_bytes{_REAL_FILESYSTEM} / "
    f"(node_filesystem_size_bytes{_REAL_FILESYSTEM} > 0))"
)


def scraped(manifest: Manifest) -> tuple[Service, ...]:
    """Return the services that export metrics, in manifest order."""
    return tuple(service for service in manifest.services.values() if service.metrics)


def scraped_names(manifest: Manifest, *roles: str) -> tuple[str, ...]:
    """Return the names of the scraped services that have one of these roles."""
    return tuple(service.name for service in scraped(manifest) if service.role in roles)


def _polled(service: Service) -> tuple[str, ...]:
    return tuple(path for path in (service.health_path, service.ready_path, service.live_path, service.metrics) if path)


def is_for_absent_services(services: tuple[str, ...], manifest: Manifest) -> bool:
    """Return whether a rule or panel names services, none of which is scraped here."""
    return bool(services) and not {service.name for service in scraped(manifest)}.intersection(services)
