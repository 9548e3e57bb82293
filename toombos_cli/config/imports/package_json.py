"""The scripts of a package.json: the ones that keep running become services."""

from pathlib import Path

from toombos_cli.base.fixes import here
from toombos_cli.config.imports.draft import SystemDraft
from toombos_cli.config.imports.node import Node
from toombos_cli.config.imports.shell import braced

_SERVING = ("start", "dev", "serve")
"""The scripts that run until they are stopped, by npm's custom: the first one that there is becomes a service."""
_LOCK_FILES = (("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lockb", "bun"), ("bun.lock", "bun"))
_MANAGERS = frozenset({"npm", "pnpm", "yarn", "bun"})


def read_package_json(root: Node, base: str) -> SystemDraft:
    """Return a service for each script that serves; `base` is the directory of the file as seen from the project.

    Raise ConfigurationError if no script is known to keep running.
    """
    scripts = {name: node.scalar() for name, node in root["scripts"].entries().items()}
    system = SystemDraft(name=root["name"].scalar().rpartition("/")[2])
    chosen = _chosen(list(scripts))
    if not chosen:
        names = ", ".join(scripts) or "none"
        raise root["scripts"].problem(
            f"no script is known to keep running (there are: {names})",
            hint=f'name the one that does "start", or write a manifest by hand: {here("config", "init", "--manifest")}',
        )
    manager = _manager(root)
    for name in chosen:
        draft = system.add(name)
        draft.notes.append(f"{name}: {scripts[name]}")
        draft.set("command", [manager, "run", braced(name)])
        if base != ".":
            draft.set("cwd", base)
        draft.reach_unknown(None)
    others = [name for name in scripts if name not in chosen]
    if others:
        system.notes.append(
            f"Other scripts, each of which could be a service if it keeps running: {', '.join(others)}."
        )
    return system


def _chosen(scripts: list[str]) -> list[str]:
    """Return `start`, else all of `start:*`, else the same for the next word."""
    for word in _SERVING:
        if word in scripts:
            return [word]
        if parts := [name for name in scripts if name.startswith(f"{word}:")]:
            return parts
    return []


def _manager(root: Node) -> str:
    named = root["packageManager"].scalar().partition("@")[0]
    if named in _MANAGERS:
        return named
    directory: Path = root.source.path.parent
    return next((manager for lock, manager in _LOCK_FILES if (directory / lock).is_file()), "npm")
