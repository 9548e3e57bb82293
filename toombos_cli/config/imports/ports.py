"""Port numbers in foreign files: as their own keys spell them, and as a command seems to name one."""

import re

from toombos_cli.config.imports.draft import ServiceDraft

MOST = 65535
_OPTION = re.compile(r"(?:--port|--bind|--listen|-b|-p)(?:[=\s]+)(?:\S*:)?(\d{2,5})\b|\b0\.0\.0\.0:(\d{2,5})\b")


def named_port(draft: ServiceDraft) -> int | None:
    """Return the port that a service's variable PORT or its command line seems to name, or None.

    It is offered in a comment, and never used: only the program knows what the words mean.
    """
    given = draft.env.get("PORT", "")
    if "PORT" not in draft.placeholders and is_port(given):
        return int(given)
    found = _OPTION.search(" ".join(draft.keys.get("command", ())))
    number = (found[1] or found[2]) if found else ""
    return int(number) if is_port(number) else None


def is_port(text: str) -> bool:
    """Report whether a text is the number of a port."""
    return text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= MOST
