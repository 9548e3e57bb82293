"""The health check of a Compose service."""

from toombos_cli.config.imports.compose_service import ComposeService
from toombos_cli.config.imports.expressible import Ability
from toombos_cli.config.imports.health import asked_by, words_of_check
from toombos_cli.config.imports.images import IMAGES, plain_name
from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.quantities import seconds
from toombos_cli.config.imports.shell import braced, with_references
from toombos_cli.config.imports.variables import Variables

_INTERVAL_S, _RETRIES = 30.0, 3.0
"""Compose's defaults."""
_STARTUP_S = 60.0
"""The manifest's default."""


def take_health(service: ComposeService, variables: Variables) -> None:
    """Set how a service is judged: by the path or port that its check plainly asks for, else by the check itself."""
    check = service.node["healthcheck"]
    test = check["test"]
    if not test or check["disable"].is_true() or [item.scalar() for item in test.items()][:1] == ["NONE"]:
        image = IMAGES.get(plain_name(service.image)) if not service.node["build"] else None
        if image and image.health and service.draft.port == image.port:
            service.draft.answer(image.health)
        return
    _timing(service, check, variables)
    words, as_words = _words(test, variables)
    names = frozenset({str(service.node.path[-1]), variables.filled(service.node["hostname"])} - {""})
    asked = asked_by(words, names=names)
    draft = service.draft
    if asked and asked.path is not None and asked.port is not None:
        if draft.port != asked.port:
            draft.listen(asked.port)
        draft.answer(asked.path, scheme=asked.scheme)
        return
    if asked and (draft.port or asked.port):
        if not draft.port and asked.port:
            draft.listen(asked.port)
        return
    draft.say(Ability.HEALTH_COMMAND, "health", {"command": list(as_words)})


def _words(test: Node, variables: Variables) -> tuple[list[str], tuple[str, ...]]:
    """Return the words to look at, [] if they need a shell, and the command of the check for a manifest."""
    first, *rest = test.items()
    if isinstance(test.value, list) and first.scalar() == "CMD":
        words = [variables.filled_word(item) for item in rest]
        return words, with_references(tuple(map(braced, words)))
    text = " ".join(variables.filled_word(item) for item in (rest if first.scalar() == "CMD-SHELL" else [first, *rest]))
    return words_of_check(text), with_references(("sh", "-c", braced(text)))


def _timing(service: ComposeService, check: Node, variables: Variables) -> None:
    def given(key: str) -> float | None:
        return seconds(check[key], variables.filled(check[key])) if check[key] else None

    interval, timeout = given("interval"), given("timeout")
    retries = check["retries"].number()
    draft = service.draft
    if interval:
        draft.set("probe_interval_s", interval)
    if timeout:
        draft.set("probe_timeout_s", timeout)
    if retries and retries >= 1:
        draft.set("unhealthy_after", int(retries))
    if not (check["interval"] or check["retries"] or check["start_period"]):
        return
    startup = (given("start_period") or 0.0) + (interval or _INTERVAL_S) * (retries or _RETRIES)
    if startup > _STARTUP_S:
        draft.set("startup_timeout_s", startup)
