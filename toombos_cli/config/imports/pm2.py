"""PM2's ecosystem files in JSON: `apps`, each a script with an interpreter."""

import posixpath

from toombos_cli.config.imports.commands import run_by_shell
from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.expressible import Ability
from toombos_cli.config.imports.node import Foreign, Node
from toombos_cli.config.imports.ports import named_port
from toombos_cli.config.imports.quantities import megabytes, seconds
from toombos_cli.config.imports.shell import braced, words_of
from toombos_cli.config.imports.watching import watch

_INTERPRETERS = {
    ".js": "node",
    ".cjs": "node",
    ".mjs": "node",
    ".ts": "bun",
    ".py": "python3",
    ".sh": "bash",
    ".rb": "ruby",
    ".pl": "perl",
    ".php": "php",
}
"""As PM2 chooses them, by the ending of the script."""
_KNOWN = frozenset(
    {
        *("name", "script", "exec", "args", "cwd", "env", "interpreter", "exec_interpreter", "interpreter_args"),
        *("node_args", "instances", "exec_mode", "watch", "ignore_watch", "max_memory_restart", "kill_timeout"),
        *("autorestart", "max_restarts", "min_uptime", "restart_delay", "exp_backoff_restart_delay", "env_file"),
        *("namespace", "user", "uid", "error_file", "out_file", "output", "error", "log", "log_file", "pid_file"),
        *("merge_logs", "combine_logs", "time", "log_date_format", "log_type", "source_map_support"),
        *("listen_timeout", "wait_ready", "vizion", "disable_trace", "automation", "pmx", "treekill"),
        *("windowsHide", "max_restarts", "watch_delay", "watch_options"),
    }
)


def read_pm2(foreign: Foreign, root: Node, base: str) -> SystemDraft:
    """Return the apps of an ecosystem; `base` is its directory as seen from the project."""
    system = SystemDraft()
    apps = root if isinstance(root.value, list) else root["apps"]
    for node in apps.items():
        node.entries()
        script = (node["script"] or node["exec"]).scalar()
        if not script.strip():
            raise node.problem("has no script")
        name = node["name"].scalar() or posixpath.splitext(posixpath.basename(script.split()[0]))[0]
        if name in system.services:
            raise node.problem(f"the app {name!r} is there twice")
        _app(system.add(name), foreign, node, script, base)
    if not isinstance(root.value, list) and root["deploy"]:
        system.notes.append("not taken over: deploy")
    return system


def _app(draft: ServiceDraft, foreign: Foreign, node: Node, script: str, base: str) -> None:
    directory = node["cwd"].scalar()
    if directory.startswith(("/", "~")):
        draft.set("cwd", braced(directory))
    elif posixpath.normpath(posixpath.join(base, directory)) != ".":
        draft.set("cwd", braced(posixpath.normpath(posixpath.join(base, directory))))
    for name, value in node["env"].entries().items():
        draft.env[name] = value.scalar()
    _command(draft, foreign, node, script)
    draft.reach_unknown(named_port(draft))
    _environments(draft, node)
    _running(draft, node)
    left = sorted(key for key in node.entries() if key not in _KNOWN and not key.startswith("env"))
    if left:
        draft.notes.append(f"not taken over: {', '.join(left)}")


def _command(draft: ServiceDraft, foreign: Foreign, node: Node, script: str) -> None:
    arguments = _words(node["args"])
    interpreter = (node["interpreter"] or node["exec_interpreter"]).scalar()
    if len(script.split()) > 1 and not interpreter:
        run_by_shell(draft, foreign, script, line=node.line)
        draft.set("command", [*draft.keys["command"], *arguments])
        return
    ending = posixpath.splitext(script)[1].lower()
    if not interpreter:
        interpreter = _INTERPRETERS.get(ending, "node" if "/" in script and not ending else "none")
    if interpreter == "none":
        draft.set("command", [braced(script), *arguments])
        return
    options = _words(node["interpreter_args"] or node["node_args"])
    draft.set("command", [braced(interpreter), *options, braced(script.removeprefix("./")), *arguments])


def _words(node: Node) -> list[str]:
    if isinstance(node.value, list):
        return [braced(item.scalar()) for item in node.items()]
    try:
        return list(words_of(node.scalar()))
    except ValueError:
        raise node.problem("has a quote that is not closed") from None


def _environments(draft: ServiceDraft, node: Node) -> None:
    for key, values in node.entries().items():
        if key.startswith("env_") and key != "env_file" and isinstance(values.value, dict):
            mode = key.removeprefix("env_")
            draft.notes.append(
                f"{key} set {', '.join(values.entries())}: with [modes.{mode}] they are chosen by start --mode {mode}"
            )
    if node["env_file"]:
        draft.set("env_files", [item.scalar() for item in node["env_file"].items()])


def _running(draft: ServiceDraft, node: Node) -> None:
    instances = node["instances"].scalar()
    if instances not in ("", "0", "1"):
        draft.todo.append(
            f"{instances} instances: PM2 ran them behind one port; here it is one process, which may use node:cluster"
        )
    if node["max_memory_restart"]:
        draft.limit("memory_restart_mb", megabytes(node["max_memory_restart"], node["max_memory_restart"].scalar()))
    if node["kill_timeout"]:
        grace_s = _milliseconds(node["kill_timeout"])
        if grace_s > 0:
            draft.set("grace_period_s", grace_s)
    if node["autorestart"].is_false():
        draft.restart("policy", "never")
    most = node["max_restarts"].number()
    if most and most >= 1:
        draft.restart("crash_loop_count", int(most))
    for key in ("restart_delay", "exp_backoff_restart_delay"):
        pause_s = _milliseconds(node[key]) if node[key] else 0.0
        if 0 < pause_s <= 30:
            draft.restart("backoff_initial_s", pause_s)
    _watch(draft, node)
    if node["namespace"]:
        draft.group(node["namespace"].scalar())
    if user := (node["user"] or node["uid"]).scalar():
        draft.say(Ability.USER, "user", user)
    log = next((node[key].scalar() for key in ("out_file", "output", "log_file", "log") if node[key]), "")
    if log and not log.startswith(("/", "~")) and log.lower() not in ("null", "true", "false", "none"):
        draft.set("log", posixpath.normpath(posixpath.join(str(draft.keys.get("cwd", ".")), braced(log))))


def _watch(draft: ServiceDraft, node: Node) -> None:
    watched = [item.scalar() for item in node["watch"].items()]
    if watched == ["false"]:
        return
    ignored = node["ignore_watch"] or node["watch_options"]["ignored"]
    watch(
        draft,
        ["."] if watched == ["true"] else watched,
        [item.scalar() for item in ignored.items()],
        directory=str(draft.keys.get("cwd", ".")),
        debounce_s=_milliseconds(node["watch_delay"]) if node["watch_delay"] else 0.0,
    )


def _milliseconds(node: Node) -> float:
    """Return a duration in seconds: PM2 takes milliseconds, or a text such as `10s`."""
    text = node.scalar()
    return float(text) / 1000 if text.isdecimal() else seconds(node, text)
