"""The command of a Compose service: its own, that of its Dockerfile, or that of a well-known image."""

import posixpath
import shlex
from collections.abc import Sequence

from toombos_cli.config.imports.commands import leave_command_open
from toombos_cli.config.imports.compose_service import EXTENSION, ComposeService
from toombos_cli.config.imports.dockerfile import Dockerfile
from toombos_cli.config.imports.expressible import Ability
from toombos_cli.config.imports.images import IMAGES, RUNTIMES, Image, plain_name
from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.shell import braced, command_line, words_of
from toombos_cli.config.imports.variables import Variables

_CONFIGURATIONS = {
    "nginx": "/etc/nginx/nginx.conf",
    "nginx-unprivileged": "/etc/nginx/nginx.conf",
    "caddy": "/etc/caddy/Caddyfile",
}
_SHELLS = frozenset({"sh", "bash", "dash", "ash"})


def set_command(service: ComposeService, variables: Variables) -> None:
    """Set the command that runs what the container ran, or leave it to a person if nothing here says what that was."""
    node, draft = service.node, service.draft
    entrypoint, command = _given(node["entrypoint"], variables), _given(node["command"], variables)
    name = plain_name(service.image)
    if entrypoint:
        _run(service, (*entrypoint, *(command or ())))
    elif command and node[EXTENSION]:
        _run(service, command)
    elif node["build"]:
        _run_built(service, command)
    elif name in IMAGES:
        _run_known(service, IMAGES[name], name, command or ())
    elif command and (name in RUNTIMES or not command[0].startswith("-")):
        draft.notes.append(f"image {service.image}: install what the command needs")
        _run(service, command)
    elif service.image:
        leave_command_open(
            draft,
            f"the image {service.image} brings its own program: install that, and write its command; to see it:\n"
            f"  docker inspect -f '{{{{.Config.Entrypoint}}}} {{{{.Config.Cmd}}}}' {shlex.quote(service.image)}",
        )
    else:
        raise node.problem("has neither image nor build, so nothing says what to run")


def _given(node: Node, variables: Variables) -> tuple[str, ...] | None:
    """Return the words of `command` or `entrypoint`, None if there is none. No shell reads them."""
    if not node:
        return None
    if isinstance(node.value, list):
        return tuple(braced(variables.filled_word(item)) for item in node.items())
    try:
        return words_of(variables.filled_word(node))
    except ValueError:
        raise node.problem("has a quote that is not closed") from None


def _run(service: ComposeService, words: Sequence[str]) -> None:
    directory = str(service.draft.keys.get("cwd", "."))
    if len(words) == 3 and posixpath.basename(words[0]) in _SHELLS and words[1] in ("-c", "-ec"):
        service.draft.set("command", list(words))
        _note_paths(service, words[2])
        return
    mapped = [service.places.word(word, directory) for word in words]
    if mapped[0] != words[0] and "/" not in mapped[0]:
        mapped[0] = f"./{mapped[0]}"
    service.draft.set("command", mapped)
    if any(word.startswith("0.0.0.0") or word.endswith("=0.0.0.0") for word in mapped):  # noqa: S104
        service.draft.beside["command"] = "0.0.0.0 is open to the network; 127.0.0.1 is this machine alone"


def _note_paths(service: ComposeService, text: str) -> None:
    seen = [f"{inside} is {outside}" for inside, outside in service.places.pairs.items() if f"{inside}/" in text]
    if seen:
        service.draft.todo.append(f"paths in the command are those of the container: {', '.join(seen)}")


def _run_built(service: ComposeService, command: tuple[str, ...] | None) -> None:
    built = service.dockerfile
    where = posixpath.join(service.context, "Dockerfile")
    if built is None:
        if command:
            _run(service, command)
            return
        leave_command_open(service.draft, f"{where} cannot be read: write the command that its image runs")
        return
    words = _image_words(built, command)
    if not words:
        leave_command_open(service.draft, f"{where} names no command: write the one of the image it begins from")
        return
    _run(service, words)


def _image_words(built: Dockerfile, command: tuple[str, ...] | None) -> tuple[str, ...]:
    if isinstance(built.entrypoint, str):
        return _by_shell(built.entrypoint)
    entrypoint = tuple(map(braced, built.entrypoint or ()))
    if command is not None:
        return (*entrypoint, *command)
    if isinstance(built.command, str):
        return (*entrypoint, "sh", "-c", braced(built.command)) if entrypoint else _by_shell(built.command)
    return (*entrypoint, *map(braced, built.command or ()))


def _by_shell(line: str) -> tuple[str, ...]:
    try:
        found = command_line(line)
    except ValueError:
        return ("sh", "-c", braced(line))
    plain = not found.directory and not found.env
    return found.words if plain else ("sh", "-c", braced(line))


def _run_known(service: ComposeService, image: Image, name: str, command: tuple[str, ...]) -> None:
    draft = service.draft
    program = image.program or image.command[0]
    data = next(iter(service.volumes.values()), f"data/{draft.name}")
    env = draft.env | draft.default_env
    user = env.get("POSTGRES_USER", "postgres")
    config_inside = _CONFIGURATIONS.get(name, "")
    config = service.places.outside(config_inside) if config_inside else None
    if config_inside and config is None:
        config = posixpath.basename(config_inside)
        draft.todo.append(f"write its configuration to {config}")
    facts = {
        "{data}": data,
        "{config}": f"{{project}}/{config}" if config else "",
        "{user}": user,
        "{database}": env.get("POSTGRES_DB", user),
        "{number}": str(draft.port),
    }
    draft.keys.pop("cwd", None)
    draft.notes.append(f"image {service.image}: install {image.install}")
    draft.todo += [_with(text, facts) for text in image.prepare]
    own = [service.places.word(word, ".") for word in command]
    if own and not own[0].startswith("-") and not own[0] == program == "postgres":
        draft.set("command", own)
    else:
        words = [_with(word, facts) for word in image.command]
        draft.set("command", _with_options(words, own[1:] if own[:1] == [program] else own))
    if image.stop_signal and not service.node["stop_signal"]:
        draft.say(Ability.STOP_SIGNAL, "stop_signal", image.stop_signal)


def _with_options(words: list[str], options: list[str]) -> list[str]:
    if words[:2] == ["sh", "-c"] and options:
        return [*words[:2], f"{words[2]} {' '.join(map(shlex.quote, options))}"]
    return [*words, *options]


def _with(text: str, facts: dict[str, str]) -> str:
    for name, value in facts.items():
        text = text.replace(name, value)
    return text
