"""The commands that the keys of the screen run: the very ones that a person would type."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One key and its command. `{}` among the words stands for the chosen service, and for nothing if it is all.

    `changes`: it is confirmed first. `arguments` can be edited in the question, and have these words at first; None if
    there are none to give. `scope` says which rows it applies to.
    """

    key: str
    title: str
    words: tuple[str, ...]
    changes: bool = True
    arguments: str | None = None
    scope: str = "any"

    def argv(self, service: str, arguments: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the words of the command line after `toombos`."""
        words = tuple(service if word == "{}" else word for word in self.words)
        return (*filter(None, words), *arguments)


ACTIONS = (
    Action(key="s", title="Start", words=("start", "{}", "--same-mode")),
    Action(key="x", title="Stop", words=("stop", "{}")),
    Action(key="r", title="Restart", words=("restart", "{}")),
    Action(key="h", title="Health", words=("health", "{}"), changes=False),
    Action(key="d", title="Diagnose", words=("diagnose",), changes=False),
    Action(key="t", title="Run task", words=("run", "{}"), arguments="", scope="task"),
    Action(key="m", title="Smoke", words=("smoke",)),
    Action(key="L", title="Load", words=("load",), arguments="--duration 10s"),
    Action(key="b", title="Backup", words=("backup",)),
)
"""The most used ones first."""
