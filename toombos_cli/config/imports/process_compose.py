"""process-compose files: processes of this machine, with probes and dependencies."""

import posixpath
import signal

from toombos_cli.base.spelling import did_you_mean
from toombos_cli.config.imports.commands import run_by_shell
from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.expressible import Ability
from toombos_cli.config.imports.health import asked_by, words_of_check
from toombos_cli.config.imports.node import Foreign, Node
from toombos_cli.config.imports.ports import is_port, named_port
from toombos_cli.config.imports.shell import braced, command_line

_CONDITIONS = {
    "process_started": "started",
    "process_healthy": "ready",
    "process_log_ready": "started",
    "process_completed": "completed",
    "process_completed_successfully": "completed",
}
_POLICIES = {
    "always": "always",
    "on_failure": "on-failure",
    "exit_on_failure": "never",
    "no": "never",
    "false": "never",
}
_KNOWN = frozenset(
    {
        *("command", "working_dir", "environment", "depends_on", "availability", "readiness_probe"),
        *("liveness_probe", "shutdown", "log_location", "disabled", "namespace", "is_daemon", "replicas"),
        *("description", "disable_ansi_colors", "is_foreground", "is_tty", "log_configuration", "ready_log_line"),
        *("vars", "is_dotenv_disabled", "launch_timeout_seconds", "is_elevated", "is_interactive"),
    }
)
_STARTUP_S = 60.0


def read_process_compose(foreign: Foreign, root: Node, base: str) -> SystemDraft:
    """Return the processes of a process-compose file; `base` is its directory as seen from the project."""
    system = SystemDraft()
    shared = _environment(root["environment"])
    processes = root["processes"].entries()
    for name, node in processes.items():
        node.entries()
        _process(system, system.add(name), foreign, node, shared, base)
    for name, node in processes.items():
        for other, how in node["depends_on"].entries().items():
            _dependency(system, name, other, how)
    return system


def _process(
    system: SystemDraft, draft: ServiceDraft, foreign: Foreign, node: Node, shared: dict[str, str], base: str
) -> None:
    line = node["command"].scalar()
    if not line.strip():
        raise node.problem("has no command")
    if base != ".":
        draft.set("cwd", base)
    draft.env |= shared | _environment(node["environment"])
    run_by_shell(draft, foreign, line, line=node["command"].line)
    if "{{." in line or node["vars"]:
        draft.todo.append("the command contains variables of process-compose: write their values")
    if node["working_dir"]:
        directory = braced(posixpath.normpath(posixpath.join(base, node["working_dir"].scalar())))
        draft.set(
            "cwd",
            posixpath.join(directory, str(draft.keys["cwd"])) if draft.keys.get("cwd", base) != base else directory,
        )
    if node["description"]:
        draft.notes.append(node["description"].scalar())
    _probes(draft, node)
    if "port" not in draft.keys:
        draft.reach_unknown(named_port(draft))
    _running(draft, node)
    if node["is_daemon"].is_true():
        draft.todo.append(
            "it starts a process in the background and ends: write a command that stays in the foreground"
        )
        draft.set("enabled", False, "remove this line then")
    left = sorted(key for key in node.entries() if key not in _KNOWN)
    if left:
        draft.notes.append(f"not taken over: {', '.join(left)}")


def _environment(node: Node) -> dict[str, str]:
    if not isinstance(node.value, list):
        return {name: value.scalar() for name, value in node.entries().items()}
    pairs = (item.scalar().partition("=") for item in node.items())
    return {name: value for name, _, value in pairs}


def _dependency(system: SystemDraft, name: str, other: str, how: Node) -> None:
    if other not in system.services:
        raise how.problem(f"no process is named {other!r}", hint=did_you_mean(other, system.services))
    condition = how["condition"].scalar("process_completed")
    if condition not in _CONDITIONS:
        raise how.problem(f"{condition!r} is not a condition", hint=did_you_mean(condition, _CONDITIONS))
    system.services[name].depends_on[other] = _CONDITIONS[condition]
    if condition == "process_completed":
        system.services[name].notes.append(f"it waited for the end of {other}, which now has to succeed")
    if condition == "process_log_ready":
        system.services[name].notes.append(f"it waited for a line in the log of {other}")


def _probes(draft: ServiceDraft, node: Node) -> None:
    readiness, liveness = node["readiness_probe"], node["liveness_probe"]
    for probe in (readiness, liveness):
        _probe(draft, probe)
    first, second = _path(readiness), _path(liveness)
    if first and second and first != second:
        draft.set("ready", first)
        draft.set("health", second)


def _probe(draft: ServiceDraft, probe: Node) -> None:
    if not probe:
        return
    asks_http, command = probe["http_get"], probe["exec"]["command"].scalar()
    if asks_http:
        port, host = asks_http["port"].scalar(), asks_http["host"].scalar("127.0.0.1")
        if not is_port(port):
            raise asks_http["port"].problem(f"{port!r} is not the number of a port")
        if host not in ("localhost", "127.0.0.1", "0.0.0.0"):  # noqa: S104
            draft.set("host", host)
        draft.listen(int(port))
        scheme = asks_http["scheme"].scalar("http").lower()
        if scheme not in ("http", "https"):
            raise asks_http["scheme"].problem("must be http or https")
        draft.answer(_path(probe), scheme=scheme)
    elif command:
        _by_command(draft, command)
    else:
        draft.todo.append("its probe is neither http_get nor exec: write how to see that it is well")
    _timing(draft, probe)


def _by_command(draft: ServiceDraft, command: str) -> None:
    asked = asked_by(words_of_check(command))
    if asked and asked.port:
        draft.listen(asked.port)
        if asked.path is not None:
            draft.answer(asked.path, scheme=asked.scheme)
    elif not (asked and draft.port):
        try:
            words = command_line(command).words
        except ValueError:
            words = ("sh", "-c", braced(command))
        draft.say(Ability.HEALTH_COMMAND, "health", {"command": list(words)})


def _path(probe: Node) -> str:
    path = probe["http_get"]["path"].scalar("/") if probe["http_get"] else ""
    return path if path.startswith("/") or not path else f"/{path}"


def _timing(draft: ServiceDraft, probe: Node) -> None:
    period = probe["period_seconds"].number() or 10.0
    threshold = probe["failure_threshold"].number() or 3.0
    if probe["period_seconds"] and period > 0:
        draft.set("probe_interval_s", period)
    timeout = probe["timeout_seconds"].number()
    if timeout and timeout > 0:
        draft.set("probe_timeout_s", timeout)
    if probe["failure_threshold"] and threshold >= 1:
        draft.set("unhealthy_after", int(threshold))
    startup = (probe["initial_delay_seconds"].number() or 0.0) + period * threshold
    if startup > _STARTUP_S:
        draft.set("startup_timeout_s", startup)


def _running(draft: ServiceDraft, node: Node) -> None:
    availability = node["availability"]
    policy = availability["restart"].scalar()
    if policy and policy not in _POLICIES:
        raise availability["restart"].problem(
            f"{policy!r} is not a restart policy", hint=did_you_mean(policy, _POLICIES)
        )
    if policy and _POLICIES[policy] != "always":
        draft.restart("policy", _POLICIES[policy])
    backoff_s = availability["backoff_seconds"].number()
    if backoff_s and 0 < backoff_s <= 30:
        draft.restart("backoff_initial_s", backoff_s)
    most = availability["max_restarts"].number()
    if most and most >= 1:
        draft.restart("crash_loop_count", int(most))
    _shutdown(draft, node["shutdown"])
    log = node["log_location"].scalar()
    if log and not log.startswith("/") and "{" not in log and "$" not in log:
        draft.set("log", braced(posixpath.normpath(log)))
    if node["disabled"].is_true():
        draft.set("optional", True, "it was disabled: it starts if it is named")
    if node["namespace"]:
        draft.group(node["namespace"].scalar())
    if node["replicas"] and (node["replicas"].number() or 1) > 1:
        draft.todo.append(f"{node['replicas'].scalar()} replicas: one service is one process; write one table for each")


def _shutdown(draft: ServiceDraft, shutdown: Node) -> None:
    number = shutdown["signal"].number()
    if number and int(number) != signal.SIGTERM:
        try:
            name = signal.Signals(int(number)).name.removeprefix("SIG")
        except ValueError:
            raise shutdown["signal"].problem("is not the number of a signal") from None
        draft.say(Ability.STOP_SIGNAL, "stop_signal", name)
    if command := shutdown["command"].scalar():
        try:
            words = command_line(command).words
        except ValueError:
            words = ("sh", "-c", braced(command))
        draft.say(Ability.STOP_COMMAND, "stop_command", list(words))
    grace_s = shutdown["timeout_seconds"].number()
    if grace_s and grace_s > 0:
        draft.set("grace_period_s", grace_s)
