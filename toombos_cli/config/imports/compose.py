"""Compose files, as the compose specification has them: each container becomes a process of this machine."""

from toombos_cli.base.spelling import did_you_mean
from toombos_cli.config.imports.addresses import localise
from toombos_cli.config.imports.compose_command import set_command
from toombos_cli.config.imports.compose_extension import take_extension
from toombos_cli.config.imports.compose_health import take_health
from toombos_cli.config.imports.compose_ports import take_ports
from toombos_cli.config.imports.compose_service import ComposeService
from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.expressible import Ability
from toombos_cli.config.imports.extends import with_extensions
from toombos_cli.config.imports.node import Foreign, Node
from toombos_cli.config.imports.ports import named_port
from toombos_cli.config.imports.quantities import megabytes, seconds
from toombos_cli.config.imports.secrets import is_secret
from toombos_cli.config.imports.variables import Variables
from toombos_cli.config.imports.watching import watch
from toombos_cli.settings.env_file import EnvFile

_CONDITIONS = {
    "service_started": "started",
    "service_healthy": "ready",
    "service_completed_successfully": "completed",
}
_POLICIES = {"always": "always", "unless-stopped": "always", "on-failure": "on-failure", "no": "never"}
_RESTARTING = frozenset({"restart", "rebuild", "sync+restart"})
_HARMLESS = frozenset(
    {
        *("annotations", "attach", "build", "command", "container_name", "depends_on", "deploy", "develop"),
        *(
            "entrypoint",
            "env_file",
            "environment",
            "expose",
            "extends",
            "healthcheck",
            "hostname",
            "image",
            "init",
            "labels",
        ),
        *("links", "logging", "mem_limit", "cpus", "network_mode", "networks", "platform", "ports", "profiles"),
        *("pull_policy", "restart", "runtime", "scale", "stdin_open", "stop_grace_period", "stop_signal", "tty"),
        *(
            "user",
            "volumes",
            "working_dir",
            "cpu_shares",
            "mem_reservation",
            "memswap_limit",
            "oom_score_adj",
            "security_opt",
        ),
    }
)
"""Keys that are taken over, or that mean nothing without containers."""


def read_compose(foreign: Foreign, root: Node, env_file: EnvFile, base: str) -> SystemDraft:
    """Return the services of a Compose file; `base` is its directory as seen from the project."""
    system = SystemDraft()
    variables = Variables(env_file, system)
    if root["name"]:
        system.name = variables.filled(root["name"])
    services = root["services"].entries()
    for name, node in services.items():
        node.entries()
        _service(ComposeService(node=with_extensions(node, services), draft=system.add(name), base=base), variables)
    for name, node in services.items():
        _dependencies(system, name, with_extensions(node, services))
    localise(system)
    for key in ("include", "secrets", "configs"):
        if root[key]:
            system.notes.append(f"todo: {key} of {foreign.path.name} is not taken over")
    return system


def _service(service: ComposeService, variables: Variables) -> None:
    draft, node = service.draft, service.node
    service.image = variables.filled(node["image"]) if node["image"] else ""
    service.read_places(variables)
    _environment(service, variables)
    take_ports(service, variables)
    set_command(service, variables)
    take_health(service, variables)
    if not draft.port:
        exposed = service.dockerfile.ports[0] if service.dockerfile and service.dockerfile.ports else None
        draft.reach_unknown(named_port(draft) or exposed)
    _running(draft, node, variables)
    _watch(service, variables)
    _limits(draft, node, variables)
    take_extension(service, variables)
    left = sorted(key for key in node.entries() if key not in _HARMLESS and not key.startswith("x-"))
    if left:
        draft.notes.append(f"not taken over: {', '.join(left)}")


def _environment(service: ComposeService, variables: Variables) -> None:
    draft = service.draft
    for file in service.node["env_file"].items():
        is_table = isinstance(file.value, dict)
        path = variables.filled(file["path"] if is_table else file)
        _env_file(service, path, optional=is_table and file["required"].is_false())
    given = service.node["environment"]
    pairs = given.entries() if not isinstance(given.value, list) else _pairs(given)
    for name, value in pairs.items():
        if not value:
            continue  # it is passed on, as all variables are
        alone = variables.alone(value)
        if alone and alone[0] == name:
            default = None if alone[1] is None else variables.filled(Node(alone[1], value.source, value.path))
            if default and is_secret(name, default):
                draft.env[name] = variables.env_file.values.get(name) or default
            elif default:
                draft.default_env[name] = default
            elif name not in variables.env_file.values:
                variables.filled(value)  # notes that nothing sets it
            continue
        draft.env[name] = variables.filled(value)
        if variables.met_secret:
            draft.secret_names.add(name)


def _pairs(given: Node) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for item in given.items():
        name, equals, value = item.scalar().partition("=")
        found[name] = Node(value if equals else None, item.source, item.path)
    return found


def _env_file(service: ComposeService, path: str, *, optional: bool) -> None:
    here = service.here(path)
    if here == ".env":
        return  # all services get it
    service.draft.keys.setdefault("env_files", []).append(f"{here}?" if optional else here)
    if not optional and not (service.node.source.path.parent / path).exists():
        service.draft.todo.append(f"{here} is not there, and the service does not start without it")


def _dependencies(system: SystemDraft, name: str, node: Node) -> None:
    draft = system.services[name]
    wanted = node["depends_on"]
    conditions: dict[str, tuple[str, Node]] = {}
    if isinstance(wanted.value, dict):
        for other, how in wanted.entries().items():
            conditions[other] = (how["condition"].scalar("service_started"), how)
    else:
        conditions = {item.scalar(): ("service_started", item) for item in wanted.items()}
    for item in node["links"].items():
        conditions.setdefault(item.scalar().partition(":")[0], ("service_started", item))
    for other, (condition, at) in conditions.items():
        if other not in system.services:
            raise at.problem(f"no service is named {other!r}", hint=did_you_mean(other, system.services))
        if condition not in _CONDITIONS:
            raise at.problem(f"{condition!r} is not a condition", hint=did_you_mean(condition, _CONDITIONS))
        draft.depends_on[other] = _CONDITIONS[condition]
        if at["restart"].is_true():
            draft.restarts_with.add(other)


def _running(draft: ServiceDraft, node: Node, variables: Variables) -> None:
    if node["restart"]:
        policy, _, count = variables.filled(node["restart"]).partition(":")
        if policy == "false":
            policy = "no"
        if policy not in _POLICIES:
            raise node["restart"].problem(f"{policy!r} is not a restart policy", hint=did_you_mean(policy, _POLICIES))
        if _POLICIES[policy] != "always":
            draft.restart("policy", _POLICIES[policy])
        if count.isdecimal() and int(count[:6]):
            draft.restart("crash_loop_count", int(count[:6]))
    if node["stop_signal"]:
        signal = variables.filled(node["stop_signal"]).upper().removeprefix("SIG")
        if signal not in ("TERM", "15"):
            draft.say(Ability.STOP_SIGNAL, "stop_signal", signal)
    if node["stop_grace_period"]:
        grace_s = seconds(node["stop_grace_period"], variables.filled(node["stop_grace_period"]))
        if grace_s > 0:
            draft.set("grace_period_s", grace_s)
    if node["user"]:
        draft.notes.append(f"in the container it ran as {variables.filled(node['user'])}; here it runs as you")
    profiles = [variables.filled(item) for item in node["profiles"].items()]
    if profiles:
        draft.set("optional", True, f"its profile was {', '.join(profiles)}: it starts if it is named")
        draft.group(*profiles)


def _watch(service: ComposeService, variables: Variables) -> None:
    """Take over what restarts or rebuilds the container; without one, a file need not be copied into it."""
    rules = service.node["develop"]["watch"].items()
    restarting = [rule for rule in rules if variables.filled(rule["action"]) in _RESTARTING]
    watch(
        service.draft,
        [variables.filled(rule["path"]) for rule in restarting],
        [variables.filled(item) for rule in restarting for item in rule["ignore"].items()],
        directory=service.base,
    )
    if len(restarting) < len(rules):
        service.draft.notes.append("what develop.watch only copied into the container is there already")


def _limits(draft: ServiceDraft, node: Node, variables: Variables) -> None:
    deploy = node["deploy"]
    limits = deploy["resources"]["limits"]
    memory = limits["memory"] or node["mem_limit"]
    if memory:
        size = megabytes(memory, variables.filled(memory))
        draft.limit("memory_restart_mb", size, "the container was killed above it")
    cpus = limits["cpus"] or node["cpus"]
    if cpus:
        try:
            percent = float(variables.filled(cpus)) * 100
        except ValueError:
            raise cpus.problem("must be a number of cores") from None
        if percent > 0:
            draft.limit("cpu_warn_percent", percent)
    replicas = deploy["replicas"] or node["scale"]
    if replicas and variables.filled(replicas) not in ("0", "1"):
        draft.todo.append(
            f"{variables.filled(replicas)} replicas: one service is one process; write one table for each"
        )
