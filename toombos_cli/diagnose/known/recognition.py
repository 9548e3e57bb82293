"""Which programs a service is, by its command and its log, and which service of the project a line names."""

import shlex
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from toombos_cli.base.addresses import is_loopback
from toombos_cli.manifest.tables.service import Service

_WORDS = 8
"""Programs, wrappers and their scripts stand among this many first words of a command line."""


def names_of(commands: Iterable[Iterable[str]]) -> frozenset[str]:
    """Return the names of the programs, scripts and modules at the beginning of command lines, also behind a shell."""
    return frozenset(name for words in commands for name in _names(tuple(words)))


def _names(words: tuple[str, ...]) -> Iterator[str]:
    for word in words[:_WORDS]:
        if " " in word:
            yield from _names(_split(word))
        elif not word.startswith("-") and "=" not in word:
            yield PurePath(word).name.partition(":")[0]


def _split(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text.replace(";", " ").replace("&&", " "), comments=True))
    except ValueError:
        return ()


def service_at(address: str, services: Iterable[Service]) -> str:
    """Return the name of the service at `HOST:PORT` or at the path of a socket, or ""."""
    host, _, port = address.rpartition(":")
    for service in services:
        if service.unix and address.removeprefix("unix:").startswith(service.unix):
            return service.name
        is_here = not host or host in (service.host, "localhost") or is_loopback(host.strip("[]"))
        if is_here and port.isdecimal() and service.port == int(port):
            return service.name
    return ""
