"""Addresses between services: what was a host name in a network of containers is an address of this machine."""

import re

from toombos_cli.config.imports.draft import ServiceDraft, SystemDraft
from toombos_cli.config.imports.secrets import is_secret
from toombos_cli.config.imports.shell import braced

_LOOPBACK = "127.0.0.1"
_HOST_NAMES = re.compile(r"(?:^|_)(?:HOST|HOSTNAME|SERVER|ADDR|ADDRESS)$", re.IGNORECASE)


def localise(system: SystemDraft) -> None:
    """Replace the names of services in the variables of the others by their addresses here.

    A name counts in a URL (`redis://cache:6379`), as `cache:6379`, and alone in a variable such as CACHE_HOST.
    """
    others = {name: draft for name, draft in system.services.items() if re.fullmatch(r"[A-Za-z0-9_.-]+", name)}
    if not others:
        return
    names = "|".join(sorted(map(re.escape, others), key=len, reverse=True))
    inside = re.compile(rf"(?P<before>://(?:[^\s/@]*@)?|^|,)(?P<name>{names})(?P<port>:\d+)(?![\w.-])")
    portless = re.compile(rf"(?P<before>://(?:[^\s/@]*@)?)(?P<name>{names})(?P<port>)(?=[/?]|$)")
    for draft in system.services.values():
        for variables in (draft.env, draft.default_env):
            for name in list(variables):
                if name not in draft.placeholders:
                    _localise(draft, variables, name, others, (inside, portless))


def _localise(
    draft: ServiceDraft,
    variables: dict[str, str],
    name: str,
    others: dict[str, ServiceDraft],
    patterns: tuple[re.Pattern[str], ...],
) -> None:
    value = variables[name]
    secret = name in draft.secret_names or is_secret(name, value)

    def address(match: re.Match[str], *, plain: bool) -> str:
        other, port = others[match["name"]], match["port"]
        if plain or not other.port:
            return f"{match['before']}{_LOOPBACK}{port}"
        if port == f":{other.port}":
            return f"{match['before']}{{services.{other.name}.host}}:{{services.{other.name}.port}}"
        return f"{match['before']}{{services.{other.name}.host}}{port}"

    literal, written = value, braced(value)
    for pattern in patterns:
        literal = pattern.sub(lambda m: address(m, plain=True), literal)
        written = pattern.sub(lambda m: address(m, plain=False), written)
    if literal == value and value in others and _HOST_NAMES.search(name):
        literal = _LOOPBACK
        written = f"{{services.{others[value].name}.host}}" if others[value].port else _LOOPBACK
    if literal == value:
        return
    variables[name] = literal
    if not secret:
        draft.placeholders[name] = written
