"""The words that other tools use for the keys of a service, and what each is called here."""

from collections.abc import Collection

_KEYS: dict[str, tuple[str, ...]] = {
    "args": ("command",),
    "arguments": ("command",),
    "autorestart": ("restart",),
    "autostart": ("optional",),
    "cmd": ("command",),
    "cpu": ("cpu_warn_percent", "cpu_restart_percent"),
    "cpus": ("cpu_warn_percent", "cpu_restart_percent"),
    "dependencies": ("depends_on",),
    "depends": ("depends_on",),
    "description": ("title",),
    "directory": ("cwd",),
    "disabled": ("enabled",),
    "entrypoint": ("command",),
    "env_file": ("env_files",),
    "environment": ("env",),
    "exec": ("command",),
    "expose": ("port",),
    "health_check": ("health",),
    "health_path": ("health",),
    "health_url": ("health",),
    "healthcheck": ("health",),
    "kill_signal": ("stop_signal",),
    "kill_timeout": ("grace_period_s",),
    "liveness": ("live",),
    "liveness_probe": ("live",),
    "log_file": ("log",),
    "log_location": ("log",),
    "logfile": ("log",),
    "max_memory_restart": ("memory_restart_mb",),
    "mem_limit": ("memory_restart_mb",),
    "memory": ("memory_warn_mb", "memory_restart_mb"),
    "memory_limit": ("memory_restart_mb",),
    "needs": ("depends_on",),
    "ports": ("port",),
    "profiles": ("groups",),
    "readiness": ("ready",),
    "readiness_probe": ("ready",),
    "requires": ("depends_on",),
    "restart_policy": ("restart",),
    "script": ("command",),
    "shutdown": ("stop_command", "grace_period_s"),
    "start_period": ("startup_timeout_s",),
    "startsecs": ("startup_timeout_s",),
    "stdout_logfile": ("log",),
    "stop_grace_period": ("grace_period_s",),
    "stopsignal": ("stop_signal",),
    "stopwaitsecs": ("grace_period_s",),
    "tags": ("groups",),
    "timeout": ("startup_timeout_s", "probe_timeout_s", "timeout_s"),
    "working_dir": ("cwd",),
    "working_directory": ("cwd",),
    "workdir": ("cwd",),
}
_SENTENCES = {
    "autostart": "optional = true: it is only started if it is named",
    "build": 'toombos runs programs, not images: command = ["PROGRAM", "ARGUMENT"]',
    "image": 'toombos runs programs, not images: command = ["PROGRAM", "ARGUMENT"]',
    "instances": "each copy is a service of its own, with its own port",
    "numprocs": "each copy is a service of its own, with its own port",
    "replicas": "each copy is a service of its own, with its own port",
}


def meant_by(word: str, known: Collection[str]) -> str | None:
    """Return a hint for a key that another tool has, or None if none of the keys of this table is meant."""
    name = word.lower().replace("-", "_")
    keys = [key for key in _KEYS.get(name, ()) if key in known]
    if name in _SENTENCES and "command" in known:
        return _SENTENCES[name]
    return f"did you mean {' or '.join(map(repr, keys))}?" if keys else None
