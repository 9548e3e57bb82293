"""The command that a person means who types one that does not exist."""

from collections.abc import Callable, Iterable

from toombos_cli.base.spelling import nearest

_MEANT: dict[str, dict[str, tuple[str, ...]]] = {
    "": {
        "attach": ("logs -f",),
        "bench": ("load",),
        "check": ("health", "config check"),
        "describe": ("status", "events"),
        "doctor": ("diagnose",),
        "down": ("stop",),
        "env": ("config show",),
        "halt": ("stop",),
        "history": ("events",),
        "import": ("config init --from FILE",),
        "info": ("status",),
        "init": ("config init",),
        "journal": ("logs", "events"),
        "kill": ("stop",),
        "launch": ("start",),
        "list": ("status",),
        "log": ("logs",),
        "ls": ("status",),
        "man": ("help",),
        "monit": ("status --watch",),
        "ping": ("health",),
        "ps": ("status",),
        "quit": ("stop",),
        "reload": ("restart",),
        "save": ("backup",),
        "serve": ("start",),
        "shell": ("exec",),
        "show": ("status", "config show"),
        "snapshot": ("backup",),
        "stats": ("status",),
        "tail": ("logs -f",),
        "test": ("smoke",),
        "top": ("status --watch",),
        "up": ("start",),
        "validate": ("config check",),
        "version": ("--version",),
        "watch": ("status --watch", "health --watch 5"),
    },
    "backup": {"ls": ("list",), "make": ("create",), "new": ("create",), "check": ("verify",), "test": ("drill",)},
    "config": {"get": ("show",), "ls": ("show",), "list": ("show",), "validate": ("check",), "lint": ("check",)},
    "monitoring": {"start": ("up",), "stop": ("down",), "ps": ("status",), "ls": ("status",)},
    "alert": {"list": ("status",), "ls": ("status",), "show": ("status",), "raise": ("send",)},
    "schedule": {
        "list": ("show",),
        "ls": ("show",),
        "status": ("show",),
        "add": ("install",),
        "uninstall": ("remove",),
    },
}


def meant_commands(
    group: str, word: str, known: Iterable[str], subcommands: Callable[[], dict[str, list[str]]]
) -> tuple[str, ...]:
    """Return what is meant by a word after `toombos GROUP`, most likely first; () if nothing is near.

    The words of other tools come first, then a name that begins like the word, the nearest name, and the subcommands
    of that name in the groups.
    """
    names = [*known]
    if found := _MEANT.get(group, {}).get(word.lower()):
        return found
    begun = [name for name in names if len(word) > 1 and name.startswith(word.lower())]
    if len(begun) == 1:
        return (begun[0],)
    if near := nearest(word, begun or names):
        return (near,)
    return tuple(f"{outer} {word}" for outer, inner in subcommands().items() if word in inner)
