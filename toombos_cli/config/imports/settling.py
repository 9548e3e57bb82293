"""What holds between the services of a draft: tasks, dependencies without a circle, and one service a port."""

from graphlib import CycleError, TopologicalSorter

from toombos_cli.config.imports.draft import SystemDraft
from toombos_cli.config.imports.expressible import Ability, can_express
from toombos_cli.config.imports.node import Foreign


def settle(system: SystemDraft, foreign: Foreign) -> None:
    """Make the services of a system go together. Raise ConfigurationError if they depend on each other in a circle."""
    try:
        TopologicalSorter({name: set(draft.depends_on) for name, draft in system.services.items()}).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise foreign.problem(f"its services depend on each other in a circle: {circle}") from None
    _tasks(system)
    _ports(system)
    if all(draft.keys.get("enabled") is False for draft in system.services.values()):
        for draft in system.services.values():  # a manifest has at least one service
            del draft.keys["enabled"]
            draft.set("optional", True, draft.beside.pop("enabled"))


def _tasks(system: SystemDraft) -> None:
    for draft in system.services.values():
        for other, when in list(draft.depends_on.items()):
            if when != "completed":
                continue
            system.make_task(system.services[other])
            if not can_express(Ability.COMPLETED):
                del draft.depends_on[other]
                draft.todo.append(f"it has to start after {system.services[other].name} has ended")
    for draft in system.services.values():
        for other, when in draft.depends_on.items():
            if when == "ready" and system.services[other].keys.get("kind") == "task":
                draft.depends_on[other] = "completed"


def _ports(system: SystemDraft) -> None:
    taken: dict[int, str] = {}
    for draft in system.services.values():
        if not draft.port or draft.keys.get("enabled") is False:
            continue
        if draft.port in taken and draft.spare_port and draft.spare_port not in taken:
            draft.todo.append(f"port {draft.port} is that of {taken[draft.port]}: let it listen on {draft.spare_port}")
            draft.set("port", draft.spare_port)
        if draft.port in taken:
            draft.todo.append(f"port {draft.port} is that of {taken[draft.port]}: give it another one")
            for key in ("port", "scheme", "health", "health_answer", "ready"):
                draft.keys.pop(key, None)
                draft.beside.pop(key, None)
            draft.reach_unknown(None)
        else:
            taken[draft.port] = draft.name
