"""What is known of a system while its file is read, before it is written as a manifest."""

import re
from dataclasses import dataclass, field
from typing import Any

from toombos_cli.config.imports.expressible import Ability, can_express
from toombos_cli.manifest.tables.service import NOT_OF_TASKS

_OF_A_PORT = ("port", "health", "health_answer", "ready")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(kw_only=True)
class ServiceDraft:
    """One service: the keys of its table, what is said beside and above them, and what is still to be done."""

    name: str
    title: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    """The comment behind a key."""
    notes: list[str] = field(default_factory=list)
    """What a reader should know: comments above the table's keys."""
    spare_port: int = 0
    """The port to take if another service has its own already; 0 if there is none."""
    todo: list[str] = field(default_factory=list)
    """What a person has to do before the service is what it was."""
    unsaid: list[str] = field(default_factory=list)
    """What the manifest cannot express: each is one of `offers` as well."""
    offers: list[tuple[str, Any, str]] = field(default_factory=list)
    """Keys that are written as comments: name, value, and when to use them."""
    env: dict[str, str] = field(default_factory=dict)
    placeholders: dict[str, str] = field(default_factory=dict)
    """The values of `env` as the manifest has them, if they contain placeholders."""
    default_env: dict[str, str] = field(default_factory=dict)
    prefix: dict[str, str] = field(default_factory=dict)
    """Variables that a shell sets before the command, because their values refer to others."""
    secret_names: set[str] = field(default_factory=set)
    """Variables of `env` that are secrets whatever their names and values look like."""
    depends_on: dict[str, str] = field(default_factory=dict)
    """`started`, `ready` or `completed` by the name in the foreign file."""
    restarts_with: set[str] = field(default_factory=set)
    """Those of them that it is restarted with."""

    @property
    def port(self) -> int:
        """The port it listens on, 0 if none is known."""
        return int(self.keys.get("port", 0))

    def set(self, key: str, value: Any, beside: str = "") -> None:
        """Set a key of the manifest, with the comment behind it."""
        self.keys[key] = value
        if beside:
            self.beside[key] = beside

    def say(self, ability: Ability, key: str, value: Any, beside: str = "") -> bool:
        """Set a key if the manifest can express it, else offer it as a comment. Return whether it was set."""
        if can_express(ability):
            self.set(key, value, beside)
            return True
        self.offers.append((key, value, f"{ability}: this version of toombos does not know the key yet"))
        self.unsaid.append(f"{ability} cannot be written yet ({key})")
        return False

    def group(self, *names: str) -> None:
        """Add it to groups; their names are made of letters, digits, `_`, `-` and `.`."""
        plain = (_NOT_IN_NAMES.sub("-", name).strip("-.") for name in names)
        self.keys["groups"] = list(dict.fromkeys((*self.keys.get("groups", ()), *filter(None, plain))))

    def listen(self, port: int, *, beside: str = "") -> None:
        """Set its port. Until its health is known, it is well while it accepts connections."""
        self.set("port", port, beside)
        if "scheme" not in self.keys and "health" not in self.keys:
            self.set("scheme", "tcp", 'ready when it accepts connections; for HTTP: health = "/path" instead')

    def reach_unknown(self, seems: int | None) -> None:
        """Say that nothing in the foreign file says whether it listens; offer the port that it seems to have."""
        if seems is None:
            self.set("scheme", "none", 'no port is known; if it has one: port = 8000 and health = "/path" instead')
            return
        self.set("scheme", "none", "to have its port watched, use the commented lines below instead")
        self.offers.append(("port", seems, ""))
        self.offers.append(("health", "/", 'the path that says whether it is well; without HTTP: scheme = "tcp"'))

    def answer(self, path: str, *, scheme: str = "http") -> None:
        """Set the path that says over HTTP whether it is well, as a client that looks at the status alone sees it."""
        self.keys.pop("scheme", None)
        self.beside.pop("scheme", None)
        if scheme != "http":
            self.set("scheme", scheme)
        self.set("health", path)
        self.set("health_answer", "page", "any 2xx is well, as it was for the check in the other file")

    def limit(self, key: str, value: float, beside: str = "") -> None:
        """Set a resource limit."""
        self.keys.setdefault("limits", {})[key] = value
        if beside:
            self.beside["limits"] = beside

    def restart(self, key: str, value: Any) -> None:
        """Set a key of the restart policy."""
        self.keys.setdefault("restart", {})[key] = value


@dataclass(kw_only=True)
class SystemDraft:
    """The services of one foreign file, in its order, and what concerns all of them."""

    services: dict[str, ServiceDraft] = field(default_factory=dict)
    """By the name in the foreign file."""
    name: str = ""
    notes: list[str] = field(default_factory=list)
    unset: dict[str, tuple[str, bool]] = field(default_factory=dict)
    """Variables that nothing sets: what is said of each, and whether it is required."""

    def add(self, source_name: str) -> ServiceDraft:
        """Return a new service; its name is made of letters, digits, `_`, `-` and `.`, and is not taken."""
        plain = _NOT_IN_NAMES.sub("-", source_name).strip("-.") or "service"
        taken = {draft.name for draft in self.services.values()}
        name, count = plain, 2
        while name in taken:
            name, count = f"{plain}-{count}", count + 1
        draft = ServiceDraft(name=name, title="" if name == source_name else source_name)
        self.services[source_name] = draft
        return draft

    def make_task(self, draft: ServiceDraft) -> None:
        """Make a service a task that runs to its end; without tasks in the manifest, it is left out of the start."""
        if "kind" in draft.keys or draft.keys.get("enabled") is False:
            return
        draft.offers = [offer for offer in draft.offers if offer[0] not in ("port", "health")]
        for key in _OF_A_PORT:
            draft.keys.pop(key, None)
            draft.beside.pop(key, None)
        draft.set("scheme", "none")
        draft.beside.pop("scheme", None)
        if draft.say(Ability.TASK, "kind", "task"):
            lost = [key for key in NOT_OF_TASKS if draft.keys.pop(key, None) is not None and key != "restart"]
            if lost:
                draft.notes.append(f"a task has no {', '.join(lost)}: left out")
            draft.restarts_with.clear()
            return
        draft.set("enabled", False, "it runs to its end, which no service may: run its command by hand before a start")
