"""What this manifest can express. What it cannot is written as a comment, with the key that would say it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import msgspec

from toombos_cli.manifest.tables.service import Service


class Ability(StrEnum):
    """Something that other tools can say of a service, and that a manifest may be able to."""

    TASK = "a task that runs to its end"
    COMPLETED = "a dependency on the end of a task"
    HEALTH_COMMAND = "a health check by a command"
    STOP_SIGNAL = "the signal that stops it"
    STOP_COMMAND = "the command that stops it"
    USER = "the user it runs as"
    WATCH = "a restart when files change"


EXAMPLES: Mapping[Ability, Mapping[str, Any]] = {
    Ability.TASK: {"kind": "task"},
    Ability.COMPLETED: {"depends_on": {"migrate": "completed"}},
    Ability.HEALTH_COMMAND: {"health": {"command": ["pg_isready"]}},
    Ability.STOP_SIGNAL: {"stop_signal": "INT"},
    Ability.STOP_COMMAND: {"stop_command": ["true"]},
    Ability.USER: {"user": "nobody"},
    Ability.WATCH: {"watch": ["src"]},
}
"""How each is written. It is expressible if the model of the manifest accepts it."""


def can_express(ability: Ability) -> bool:
    """Report whether the manifest of this version has the keys for it."""
    for reach in ({"port": 1}, {"scheme": "none"}):  # a health check may need a port, a task may forbid one
        try:
            msgspec.convert({"name": "x", "command": ["x"], **reach, **EXAMPLES[ability]}, Service)
        except msgspec.ValidationError:
            continue
        return True
    return False
