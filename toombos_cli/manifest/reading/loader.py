"""Reads `toombos.toml`: merges it over the packaged manifest, checks it and reports every problem with its line."""

import re
from graphlib import CycleError
from os.path import normpath
from pathlib import Path
from typing import Any, get_args

import msgspec

from toombos_cli.base.errors import ConfigurationError, Problem
from toombos_cli.base.fixes import here
from toombos_cli.base.spelling import did_you_mean, nearest
from toombos_cli.base.text import printable
from toombos_cli.manifest import FILE_NAME, OWN_LOGS
from toombos_cli.manifest.model import Manifest, Source, start_order
from toombos_cli.manifest.reading.dependencies import misfit_of, settled
from toombos_cli.manifest.reading.foreign_words import meant_by
from toombos_cli.manifest.reading.kinds import choices_of, is_table, keys_at, kind_at
from toombos_cli.manifest.reading.layers import (
    PACKAGED,
    KeyPath,
    Layer,
    layers_of,
    merged,
    packaged_layers,
    read_layers,
)
from toombos_cli.manifest.reading.placeholders import ServiceHome, UnknownPlaceholderError, expand_service
from toombos_cli.manifest.reading.references import applicable_steps, misfit_of_address, named_services
from toombos_cli.manifest.reading.type_remedies import in_words, type_mismatch, what_to_write, wrong_entry
from toombos_cli.manifest.tables.env_files import check_env_files
from toombos_cli.manifest.tables.service import Service
from toombos_cli.manifest.tables.table import ALL, NAME_PATTERN

_NAME = re.compile(NAME_PATTERN)
_FEW = 15
"""The number of keys of a table that a hint may list."""


def load_manifest(project: Path, home: ServiceHome | None = None) -> Manifest:
    """Return the project's manifest, or the packaged one if the project has none.

    Its services are as they run in the home; by default, on this machine in the project directory.

    A `toombos.toml` is complete, or overrides what it extends: `extends = "toombos"` the whole packaged manifest,
    `extends = "monitoring"` the parts that suit any system (monitoring, alerts, schedule). Tables are merged, other
    values are replaced. Raises ConfigurationError with one Problem for each mistake, NotTrustedError if another user
    could have written the file.
    """
    project = project.resolve()
    path = project / FILE_NAME
    layers = read_layers(path)
    source = Source(path=None, project=project)
    if path.is_file():
        sections = ((name, table) for name, table in layers[0].tree.items() if isinstance(table, dict))
        written = frozenset((name, key) for name, table in sections for key in table)
        source = Source(path=path, project=project, written=written)
    return _Check(layers, home).manifest(merged(layers), source)


def parse_manifest(text: str, project: Path) -> Manifest:
    """Return the manifest that a text would be in a project. Raises ConfigurationError as load_manifest."""
    layers = layers_of(Layer.parse(text, FILE_NAME))
    return _Check(layers).manifest(merged(layers), Source(path=None, project=project.resolve()))


def packaged_manifest(project: Path) -> Manifest:
    """Return the packaged manifest for a project whose own cannot be read."""
    layers = packaged_layers()
    return _Check(layers).manifest(merged(layers), Source(path=None, project=project.resolve()))


class _Check:
    """Decodes one merged tree and collects the problems."""

    def __init__(self, layers: tuple[Layer, ...], home: ServiceHome | None = None) -> None:
        self.layers = layers
        self.home = home
        self.problems: list[Problem] = []

    def manifest(self, tree: dict[str, Any], source: Source) -> Manifest:
        tables = tree.pop("services", {})
        declared = list(tables) if isinstance(tables, dict) else []
        services = self._services(tables, self.home or ServiceHome(project=source.project))
        sections = {}
        for field in msgspec.structs.fields(Manifest):
            if field.name in tree and field.name not in ("services", "source"):
                sections[field.name] = self._section(tree.pop(field.name), field.type, (field.name,))
        known = [field.name for field in msgspec.structs.fields(Manifest) if field.name != "source"]
        for key in tree:
            self._unknown((key,), key, known)
        sections.setdefault("name", printable(source.project.name))
        if not services and not self.problems:
            self._add((), "no services", hint=f'add [services.NAME] tables, or extends = "{PACKAGED}"')
        self._env_files(sections)
        self._relations(services)
        self._references(sections, declared, services)
        self._names_of_machines(sections)
        if self.problems:
            raise ConfigurationError("the manifest is invalid", problems=tuple(sorted(self.problems, key=_place)))
        if "smoke" in sections:
            sections["smoke"] = applicable_steps(sections["smoke"], set(declared) - services.keys())
        everywhere = sections.get("health_words")
        if everywhere is not None:
            services = {
                name: msgspec.structs.replace(service, words=everywhere.changed_by(service.words))
                for name, service in services.items()
            }
        return Manifest(services=services, source=source, **sections)

    def _services(self, tables: Any, home: ServiceHome) -> dict[str, Service]:
        if not isinstance(tables, dict):
            self._add(("services",), "services must be a table of tables: [services.NAME]")
            return {}
        decoded: dict[str, Service] = {}
        for name, table in tables.items():
            path = ("services", name)
            if not isinstance(table, dict):
                self._add(path, f"must be a table: [services.{name}]")
            elif not _NAME.fullmatch(name):
                self._add(path, f"service name {name!r}: use letters, digits and '_', and '-' or '.' after the first")
            elif "name" in table:
                self._unknown((*path, "name"), "name", [])
            else:
                names = table.get("depends_on")
                if isinstance(names, list):
                    table = table | {"depends_on": {str(other): {} for other in names}}
                service = self._decode(table | {"name": name}, Service, path)
                if service is not None:
                    decoded[name] = service
        return self._expanded(decoded, home)

    def _expanded(self, services: dict[str, Service], home: ServiceHome) -> dict[str, Service]:
        if self.problems:  # placeholders may name a service that could not be decoded
            return services
        expanded = {}
        own_logs = {str(home.project / log): log for log in OWN_LOGS}
        for name, service in services.items():
            if not service.enabled:
                continue
            try:
                expanded[name] = expand_service(service, services, home)
            except UnknownPlaceholderError as error:
                hint = f"did you mean {{{error.nearest}}}?" if error.nearest else None
                self._add(("services", name, error.key), f"services.{name}.{error.key}: {error}", hint=hint)
                continue
            own_log = own_logs.get(normpath(expanded[name].log))
            if own_log is not None and service.role != "monitoring":
                message = f"services.{name}.log: {own_log} is the log of {OWN_LOGS[own_log]}"
                self._add(("services", name, "log"), message, hint=f'log = "logs/{name}-service.log"')
        disabled = services.keys() - expanded.keys()
        return {name: settled(service, services, disabled) for name, service in expanded.items()}

    def _env_files(self, sections: dict[str, Any]) -> None:
        try:
            check_env_files(sections.get("env_files") or ())
        except ValueError as error:
            self._add(("env_files",), str(error))

    def _relations(self, services: dict[str, Service]) -> None:
        taken: dict[tuple[str, int], str] = {}
        for name, service in services.items():
            for dependency in service.depends_on:
                if dependency not in services:
                    self._add(
                        ("services", name, "depends_on"),
                        f"{name} depends on {dependency!r}, which is no service",
                        hint=did_you_mean(dependency, services, f"services: {', '.join(services)}"),
                    )
                elif misfit := misfit_of(service, services[dependency]):
                    self._add(("services", name, "depends_on", dependency), misfit.message, hint=misfit.hint)
            other = taken.setdefault((service.host, service.port), name)
            if other != name and service.port:
                self._add(("services", name, "port"), f"port {service.port} is already the port of {other}")
        try:
            start_order(services)
        except CycleError as error:
            circle = " -> ".join(reversed(error.args[1]))
            self._add(("services", error.args[1][0], "depends_on"), f"dependencies form a cycle: {circle}")

    def _references(self, sections: dict[str, Any], declared: list[str], services: dict[str, Service]) -> None:
        """Check that each service that a section names is declared, even if disabled, and that targets have a port."""
        for path, name in named_services(sections):
            if name not in declared:
                hint = did_you_mean(name, declared, f"services: {', '.join(declared)}")
                self._add(path, f"no service is named {name!r}", hint=hint)
            elif path[0] == "places" and name in services:
                place = sections["places"][path[1]]
                if misfit := misfit_of_address(services[name], place.services[name]):
                    self._add(path, misfit)
            elif path[0] in ("smoke", "load") and name in services and not services[name].listens:
                self._add(path, f"{name} has no port, so it cannot receive requests")

    def _names_of_machines(self, sections: dict[str, Any]) -> None:
        """Check the names that `--at` and `--hosts` take; `all` and the comma are words of their own there."""
        for section in ("places", "hosts"):
            for name in sections.get(section) or ():
                if not _NAME.fullmatch(name) or name == ALL:
                    example = f"use letters, digits, '_', '-' and '.', but not {ALL!r}"
                    self._add((section, name), f"{section[:-1]} name {name!r}: {example}")

    def _section(self, value: Any, kind: Any, path: KeyPath) -> Any:
        """Decode a section; decode a table of tables or an array of tables one table at a time."""
        arguments: tuple[Any, ...] = get_args(kind)
        if isinstance(value, dict) and len(arguments) == 2 and is_table(arguments[1]):
            return {key: self._decode(table, arguments[1], (*path, key)) for key, table in value.items()}
        if isinstance(value, list) and arguments and is_table(arguments[0]):
            return tuple(self._decode(table, arguments[0], (*path, i)) for i, table in enumerate(value))
        return self._decode(value, kind, path)

    def _decode(self, value: Any, kind: Any, path: KeyPath) -> Any:
        """Return the decoded value, or None after recording every problem: the search continues after each one."""
        left_out: set[str | int] = set()
        while True:
            try:
                decoded = msgspec.convert(value, kind)
            except msgspec.ValidationError as error:
                culprit = self._note(error, value, path, left_out)
                value = _without(value, culprit) if culprit else None
                if value is None:
                    return None
                left_out.update(culprit)
            else:
                return None if left_out else decoded

    def _note(self, error: msgspec.ValidationError, value: Any, path: KeyPath, left_out: set[str | int]) -> KeyPath:
        """Record one problem. Return the path below `path` of the key to leave out, or () if there is none."""
        text, _, at = str(error).partition(" - at `$")
        # msgspec writes a key of a mapping as [...]: its position is unknown, and only the type of its value is known.
        parts = re.sub(r"(\[\.\.\.\])+`?$", "", at)
        inner = tuple(_index(p) for p in re.findall(r"[A-Za-z0-9_-]+", parts.split("[...]")[0]))
        whole = tuple(_index(p) for p in re.findall(r"[A-Za-z0-9_-]+|\.\.\.", parts))
        if unknown := re.match(r"Object contains unknown field `(.+)`$", text):
            known = keys_at((*path, *whole)) or keys_at((*path, *whole, "..."))
            self._unknown((*path, *inner, unknown[1]), unknown[1], known)
            return (*inner, unknown[1])
        if text.startswith("Object missing required field"):
            missing = text.split("`")[1]
            if missing not in left_out:
                others = [name for layer in self.layers[1:] for name in layer.tree.get(str(path[0]), ())]
                guess = nearest(str(path[1]), others) if len(path) == 2 else None
                hint = f"did you mean [{path[0]}.{guess}]?" if guess else None
                self._add((*path, *inner), f"{'.'.join(map(str, path))}: {missing} is missing", hint=hint)
            return ()
        name = ".".join(map(str, (*path, *inner)))
        choices = choices_of(kind_at((*path, *whole)))
        if text.startswith("Invalid enum value") and choices:
            wrong = text.removeprefix("Invalid enum value ")
            hint = did_you_mean(wrong.strip("'"), choices)
            self._add((*path, *inner), f"{name}: {wrong} is not one of {', '.join(choices)}", hint=hint)
            return inner
        if mismatch := type_mismatch(text):
            return self._mistyped(*mismatch, value, path, inner)
        begins_with_key = text.split()[0] in keys_at((*path, *inner))  # a table's own rule starts with the wrong key
        at_key = (text.split()[0],) if begins_with_key else ()
        if left_out.intersection(at_key):  # it was already reported; now its default breaks the rule
            return ()
        self._add((*path, *inner, *at_key), f"{name}: {text[0].lower() + text[1:]}")
        return inner

    def _mistyped(self, expected: list[str], got: str, value: Any, path: KeyPath, inner: KeyPath) -> KeyPath:
        """Record a value of the wrong type. Return the path below `path` of the key to leave out."""
        key = next((place for place, part in enumerate(inner) if isinstance(part, int)), len(inner))
        inner, item = inner[:key], [part + 1 for part in inner[key:] if isinstance(part, int)]
        written, kind = _value_at(value, inner), kind_at((*path, *inner))
        entry = None if item else wrong_entry(written, kind)
        if entry is not None and isinstance(written, dict):
            inner, written, kind = (*inner, entry), written[entry], get_args(kind)[1]
        name = ".".join(map(str, (*path, *inner))) + "".join(f", item {number}" for number in item[:1])
        if inner[-1:] == ("depends_on",):  # a list was made a table before it was checked
            expected = ["array", *expected]
        hint = what_to_write(str(inner[-1]), written, kind, ["array"] if item else expected) if inner else None
        if hint is None and (keys := keys_at((*path, *inner))) and "object" in expected:
            hint = f"its keys: {', '.join(keys)}"
        self._add((*path, *inner), f"{name}: {in_words(expected, got)}", hint=hint)
        return inner

    def _unknown(self, path: KeyPath, key: str, known: list[str]) -> None:
        every = f"known keys: {', '.join(known)}" if known else None
        if len(known) > _FEW:
            every = here("help", "manifest")
        hint = meant_by(key, known) or did_you_mean(key, known, every)
        self._add(path, f"unknown key {'.'.join(map(str, path))}", hint=hint)

    def _add(self, path: KeyPath, message: str, *, hint: str | None = None) -> None:
        from toombos_cli.manifest.reading.positions import nearest_line

        for layer in self.layers:
            line = nearest_line(layer.lines, path)
            if line is not None:
                self.problems.append(Problem(message=message, where=f"{layer.label}:{line}", hint=hint))
                return
        self.problems.append(Problem(message=message, where=self.layers[0].label, hint=hint))


def _index(part: str) -> str | int:
    return int(part) if part.isdigit() else part


def _place(problem: Problem) -> tuple[str, int]:
    label, _, line = (problem.where or "").rpartition(":")
    return (label, int(line)) if line.isdigit() else (line, 0)


def _value_at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _without(value: Any, path: KeyPath) -> Any:
    """Return a copy of the tree without the key at `path`, or None if there is no such key."""
    if not path or not isinstance(value, dict) or path[0] not in value:
        return None
    rest = dict(value)
    if len(path) == 1:
        del rest[path[0]]
        return rest
    inner = _without(rest[path[0]], path[1:])
    if inner is None:
        return None
    rest[path[0]] = inner
    return rest
