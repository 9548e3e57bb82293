"""`x-toombos` of a Compose service: keys of the manifest that Compose has no word for, written by export."""

import msgspec

from toombos_cli.base.untrusted import UntrustedError, decode_untrusted
from toombos_cli.config.imports.compose_service import EXTENSION, INSIDE, ComposeService
from toombos_cli.config.imports.draft import ServiceDraft
from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.shell import braced
from toombos_cli.config.imports.variables import Variables
from toombos_cli.manifest.tables.expectations import Expectation
from toombos_cli.manifest.tables.service import QUESTIONS, Service

EXTENSION_KEYS = (
    *("title", "role", "groups", "scheme", "health", "health_answer", "ready", "live", "metrics", "openapi", "log"),
    *("startup_timeout_s", "latency_warn_ms", "exit_codes_of_invalid_configuration", "restart_when_unhealthy"),
    *("run", "inputs", "timeout_s"),
)
"""In the order in which they are written; a table among them is JSON."""
_EVERYWHERE = "0.0.0.0"  # noqa: S104  (compared with: nothing listens there)
_TYPES = {field.name: field.type for field in msgspec.structs.fields(Service)}


def take_extension(service: ComposeService, variables: Variables) -> None:
    """Set the keys of `x-toombos` in place of what the rest of the file suggests, if there is one."""
    extension = service.node[EXTENSION]
    if not extension:
        return
    draft = service.draft
    given = {key: _value(key, node, variables) for key, node in extension.entries().items() if key in EXTENSION_KEYS}
    if "health" in given:
        for key in ("scheme", "health_answer"):
            draft.keys.pop(key, None)
            draft.beside.pop(key, None)
    for key, value in given.items():
        draft.set(key, value)
    draft.title = str(draft.keys.pop("title", draft.title))
    _return_from_container(draft)


def _return_from_container(draft: ServiceDraft) -> None:
    """Write placeholders for what had another value in the container: the address, the interpreter, the project."""
    words = [word.replace(_EVERYWHERE, "{host}") for word in draft.keys.get("command", ())]
    if words:
        draft.keys["command"] = ["{python}", *words[1:]] if words[0] == "python3" else words
        draft.beside.pop("command", None)
    for name, value in draft.env.items():
        if value == _EVERYWHERE:
            draft.placeholders[name] = "{host}"
        elif value == str(draft.port) and "PORT" in name:
            draft.placeholders[name] = "{port}"
        elif value.startswith(f"{INSIDE}/"):
            draft.placeholders[name] = f"{{project}}{braced(value.removeprefix(INSIDE))}"


def _value(key: str, node: Node, variables: Variables) -> object:
    if isinstance(node.value, list):
        items = [variables.filled(item) for item in node.items()]
        return _converted(key, items, node)
    text = variables.filled(node)
    if key in QUESTIONS and text.startswith("{"):
        try:
            expectation = decode_untrusted(text, Expectation)
        except UntrustedError as error:
            raise node.problem(f"is not a table of toombos: {error}") from None
        words = tuple(map(braced, expectation.command))
        return msgspec.to_builtins(msgspec.structs.replace(expectation, command=words))
    return _converted(key, text, node)


def _converted(key: str, value: object, node: Node) -> object:
    try:
        return msgspec.to_builtins(msgspec.convert(value, _TYPES[key], strict=False))
    except msgspec.ValidationError as error:
        raise node.problem(f"{key} is not what toombos wrote: {error}") from None
