"""What becomes of each key of the manifest in the files of each engine. docs/many-machines.md shows these tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from toombos_cli.export.model import ExportEngine


@dataclass(frozen=True, slots=True)
class Carried:
    """The key is carried over to this part of the engine's files."""

    to: str


@dataclass(frozen=True, slots=True)
class Left:
    """The key is not carried over, for this reason."""

    reason: str


Fate = Carried | Left


@dataclass(frozen=True, slots=True)
class Fates:
    """The fate of one key for each engine."""

    systemd: Fate
    compose: Fate
    kubernetes: Fate

    def of(self, engine: ExportEngine) -> Fate:
        """Return the fate of the key for one engine."""
        by_engine: Mapping[ExportEngine, Fate] = {
            ExportEngine.SYSTEMD: self.systemd,
            ExportEngine.COMPOSE: self.compose,
            ExportEngine.KUBERNETES: self.kubernetes,
        }
        return by_engine[engine]


def _fates(systemd: str | Fate, compose: str | Fate, kubernetes: str | Fate) -> Fates:
    return Fates(_fate(systemd), _fate(compose), _fate(kubernetes))


def _fate(text: str | Fate) -> Fate:
    return Carried(text) if isinstance(text, str) else text


_BY_TOOMBOS = "`toombos health` in ExecStartPost"
_TABLE = "x-toombos"
_ONLY_TOOMBOS = Left("only toombos asks for it: keep toombos.toml for `toombos health` and `toombos smoke`")
_NOT_JUDGED = Left("the engine judges a response by its status alone")
_IN_CONTAINER = Left("a container's socket is not seen by the others: give the service a port")
_TLS = Left("the engine's own checks verify no certificate")
_NO_RESTART = Left("the engine can slow the service down, but does not restart it for its use of the CPU")
_NO_WARNING = Left("the engine does not warn: an alert of `monitoring` does")
_BACKOFF = Left("the engine's own pause between restarts counts")
_AT_ONCE = Left("the limit of memory counts at once")
_READ = "the command of toombos that needs it reads toombos.toml"
_TASK_ONCE = Left("it runs again whenever it is started: a task that must not run twice has to see that itself")

SERVICE: Mapping[str, Fates] = {
    "name": _fates("name of the unit", "name of the service", "name of the objects"),
    "command": _fates("ExecStart=", "command", "command"),
    "kind": _fates("Type=oneshot for a task", 'restart: "no" for a task', "Job for a task"),
    "run": _fates(_TASK_ONCE, _TASK_ONCE, _TASK_ONCE),
    "inputs": _fates(_TASK_ONCE, _TASK_ONCE, _TASK_ONCE),
    "timeout_s": _fates("TimeoutStartSec=", Left("Compose ends no task that takes too long"), "activeDeadlineSeconds"),
    "port": _fates("the service's own command", "ports on 127.0.0.1", "Service, probes"),
    "title": _fates("Description=", f"comment, {_TABLE}", "annotation"),
    "role": _fates("comment", _TABLE, "label"),
    "optional": _fates("not wanted by the target", "profiles", "replicas: 0"),
    "enabled": _fates("a disabled service is not exported", "the same", "the same"),
    "groups": _fates(
        Left("a target for each group would change what `systemctl start` of the system's target starts"),
        f"profiles of optional services, {_TABLE}",
        "labels",
    ),
    "cwd": _fates("WorkingDirectory=", "working_dir", "workingDir"),
    "user": _fates("User=", "user", Left("the cluster chooses the account: set runAsUser in an overlay")),
    "group": _fates("Group=", "user", Left("the cluster chooses the account: set runAsGroup in an overlay")),
    "stdin": _fates(Left("a unit's standard input is empty"), "stdin_open", "stdin"),
    "host": _fates("the service's own command", "{host} is 0.0.0.0, other services by name", "the same"),
    "scheme": _fates(_BY_TOOMBOS, f"healthcheck, {_TABLE}", "probes"),
    "env": _fates("EnvironmentFile= (NAME.env)", "environment", "ConfigMap NAME-settings"),
    "default_env": _fates("Environment=", "environment with ${NAME:-default}", "ConfigMap NAME-defaults"),
    "env_files": _fates("EnvironmentFile=", "env_file", "Secret of `kubectl create secret`"),
    "headers": _fates(_BY_TOOMBOS, "healthcheck", "probes"),
    "ca_file": _fates(_BY_TOOMBOS, _TLS, _TLS),
    "client_cert": _fates(_BY_TOOMBOS, _TLS, _TLS),
    "client_key": _fates(_BY_TOOMBOS, _TLS, _TLS),
    "insecure": _fates(_BY_TOOMBOS, "healthcheck with curl -k", "probes, which accept any certificate"),
    "unix": _fates(_BY_TOOMBOS, _IN_CONTAINER, _IN_CONTAINER),
    "http2": _fates(_BY_TOOMBOS, _ONLY_TOOMBOS, _ONLY_TOOMBOS),
    "words": _fates(_BY_TOOMBOS, _NOT_JUDGED, _NOT_JUDGED),
    "health": _fates(_BY_TOOMBOS, f"healthcheck if there is no ready, {_TABLE}", "startup and readiness probes"),
    "health_answer": _fates(_BY_TOOMBOS, _TABLE, "the probes, which read no body"),
    "ready": _fates(_BY_TOOMBOS, f"healthcheck, {_TABLE}", "startup and readiness probes"),
    "live": _fates(
        Left("a unit is asked once, when it starts: `toombos health --watch 5` goes on"),
        f"{_TABLE}; Compose has one check",
        "liveness probe if restart_when_unhealthy is set",
    ),
    "metrics": _fates("scraped by Prometheus as before", f"prometheus.yml, {_TABLE}", "prometheus.io annotations"),
    "openapi": _fates(_ONLY_TOOMBOS, _TABLE, _ONLY_TOOMBOS),
    "depends_on": _fates("Requires= or Wants=, After=", "depends_on with conditions", "init containers that wait"),
    "log": _fates("StandardOutput=append:", "the engine's log, rotated as [logs] says", "the cluster's log"),
    "startup_timeout_s": _fates("TimeoutStartSec=", "start_period", "startup probe"),
    "grace_period_s": _fates("TimeoutStopSec=", "stop_grace_period", "terminationGracePeriodSeconds"),
    "stop_signal": _fates("KillSignal=", "stop_signal", "preStop with kill"),
    "stop_command": _fates("ExecStop=", Left("Compose stops by a signal alone: set stop_signal"), "preStop"),
    "probe_interval_s": _fates(
        Left("a unit is asked once, when it starts"), "healthcheck interval", "periodSeconds of the probes"
    ),
    "probe_timeout_s": _fates(_BY_TOOMBOS, "healthcheck timeout", "timeoutSeconds of the probes"),
    "unhealthy_after": _fates(
        Left("a unit is asked once, when it starts"), "healthcheck retries", "failureThreshold of the probes"
    ),
    "restart_when_unhealthy": _fates(
        Left("systemd restarts what has ended, not what is unwell"),
        Left("Compose restarts what has ended, not what is unwell"),
        "liveness probe",
    ),
    "watch": _fates(
        Left("what runs in production does not follow its files: restart it when you deploy"),
        "develop.watch",
        Left("a container's files do not change: build a new image"),
    ),
    "latency_warn_ms": _fates(_ONLY_TOOMBOS, _ONLY_TOOMBOS, _ONLY_TOOMBOS),
    "exit_codes_of_invalid_configuration": _fates(
        "RestartPreventExitStatus=",
        Left("Compose restarts it whatever its exit code is"),
        Left("Kubernetes restarts it whatever its exit code is"),
    ),
    "restart": _fates("Restart=", "restart", Left("a Deployment restarts its containers always")),
    "restart.policy": _fates("Restart=", "restart", Left("a Deployment restarts its containers always")),
    "restart.backoff_initial_s": _fates("RestartSec=", _BACKOFF, _BACKOFF),
    "restart.backoff_max_s": _fates(Left("systemd before 254 always waits equally long"), _BACKOFF, _BACKOFF),
    "restart.crash_loop_count": _fates("StartLimitBurst=", "restart: on-failure:N, if that is the policy", _BACKOFF),
    "restart.crash_loop_window_s": _fates("StartLimitIntervalSec=", _BACKOFF, _BACKOFF),
    "restart.reset_after_s": _fates(_BACKOFF, _BACKOFF, _BACKOFF),
    "limits": _fates("MemoryMax=", "deploy.resources.limits", "resources.limits"),
    "limits.memory_warn_mb": _fates(_NO_WARNING, _NO_WARNING, _NO_WARNING),
    "limits.memory_restart_mb": _fates(
        "MemoryMax=, without a pause of sustained_s", "deploy.resources.limits.memory", "resources.limits.memory"
    ),
    "limits.cpu_warn_percent": _fates(_NO_WARNING, _NO_WARNING, _NO_WARNING),
    "limits.cpu_restart_percent": _fates(_NO_RESTART, _NO_RESTART, _NO_RESTART),
    "limits.sustained_s": _fates(_AT_ONCE, _AT_ONCE, _AT_ONCE),
    "backup": _fates(_READ, _READ, Left("no job of a cluster reaches its data: save the claim's volume")),
}
"""By key of a service; `restart.policy` is the key of a table inside."""

SECTIONS: Mapping[str, Fates] = {
    "name": _fates("name of the target", "name", "label app.kubernetes.io/part-of"),
    "services": _fates("the table above", "the same", "the same"),
    "modes": _fates("modes/NAME.env", "compose.NAME.yaml", "overlays/NAME"),
    "env_files": _fates("EnvironmentFile=", "env_file", "Secret of `kubectl create secret`"),
    "environment": _fates(_READ, _READ, _READ),
    "health_words": _fates(_BY_TOOMBOS, _NOT_JUDGED, _NOT_JUDGED),
    "logs": _fates(
        Left("nothing rotates logs/*.log once no supervisor does: give them to logrotate, with copytruncate"),
        "logging options max-size and max-file",
        Left("the cluster rotates the logs of its containers"),
    ),
    "smoke": _fates(_READ, _READ, "smoke/: a Job of `toombos smoke`"),
    "load": _fates(_READ, _READ, "load/: a master and workers of Locust"),
    "backup": _fates(
        "timers of the schedule",
        "bind mounts keep data and logs in the project: `toombos backup` saves them as before",
        Left("no job of a cluster reaches the data of another pod: save the volumes of the claims"),
    ),
    "alerts": _fates(_READ, _READ, _READ),
    "diagnose": _fates(_READ, _READ, _READ),
    "monitoring": _fates(
        "units of Prometheus, Alertmanager and Grafana",
        "the containers of `toombos monitoring up`, profile monitoring",
        "prometheus.io annotations of the pods",
    ),
    "places": _fates(_READ, _READ, _READ),
    "hosts": _fates(_READ, _READ, _READ),
    "schedule": _fates(
        "a timer and a service for each job",
        Left("Compose has no clock: `toombos schedule install` runs the jobs on the machine"),
        "a CronJob for each job that asks the services",
    ),
    "schema_version": _fates("not needed", "not needed", "not needed"),
}
"""By section of the manifest."""
