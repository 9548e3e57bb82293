"""How names and values of the configuration are shown: anything that could be a secret is masked."""

import re
from collections.abc import Mapping

from toombos_cli.base.redaction import MASK, is_secret_name
from toombos_cli.base.spelling import nearest
from toombos_cli.manifest.tables.environment import Variable
from toombos_cli.settings.encryption import ENCRYPTED_PREFIX, is_encrypted
from toombos_cli.settings.strength import looks_random
from toombos_cli.settings.types import type_error

_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,49}|[a-z_][a-z0-9_]{0,49}")
_MISSPELT = 0.85
"""The least similarity of a misspelled name to the right one: below it, a secret may have been pasted in front."""
_UNSHOWN = "(a name that is not shown)"


def shown_name(name: str, documented: Mapping[str, Variable]) -> str:
    """Return the name if it looks like one: a broken-off line of a key or certificate is parsed as a name too."""
    if name in documented or (_NAME.fullmatch(name) and not re.search(r"\d.*\d.*\d.*\d", name)):
        return name
    from difflib import SequenceMatcher  # slow to import, and most names look like one

    guess = nearest(name, documented) if re.fullmatch(r"\w{1,50}", name) else None
    misspelt = guess is not None and SequenceMatcher(None, name.upper(), guess.upper()).ratio() >= _MISSPELT
    return name if misspelt else _UNSHOWN


def shown_value(name: str, value: str, variable: Variable | None) -> str:
    """Return the value, or the mask for a secret, an undocumented variable or a value of the wrong type."""
    if not value:
        return ""
    if is_encrypted(value):
        return ENCRYPTED_PREFIX + MASK
    if variable is None or variable.secret or is_secret_name(name) or type_error(variable, value):
        return MASK
    if variable.type in ("str", "path") and _holds_another_setting(value):
        return MASK
    return masked_url(value) if variable.type in ("url", "dsn") else value


def shown_manifest_value(name: str, value: str, variable: Variable | None) -> str:
    """Return a value from the manifest, masked only if it is or looks like a secret: toombos.toml shows it anyway."""
    if is_encrypted(value):
        return ENCRYPTED_PREFIX + MASK
    if value and ((variable and variable.secret) or is_secret_name(name) or looks_random(value)):
        return MASK
    return masked_url(value) if "://" in value else value


def masked_url(url: str) -> str:
    """Return the URL without password, query and fragment, each of which may contain a secret."""
    from toombos_cli.settings.databases import USERINFO  # not needed to show names

    scheme, _, rest = url.partition("://")
    user = ""
    if found := re.match(USERINFO, rest, re.DOTALL):
        rest = rest[found.end() :]
        user = "" if found["user"] is None else f"{found['user']}:{MASK}@" if found["password"] else f"{MASK}@"
    place, query, _ = rest.partition("#")[0].partition("?")
    return f"{scheme}://{user}{place}" + (f"?{MASK}" if query else "")


def _holds_another_setting(value: str) -> bool:
    """Report whether a plain value looks like two lines without the line end: the second may be a secret."""
    words = re.findall(r"\w+", value)
    return bool(re.search(r"=|://", value)) or any(is_secret_name(word) or looks_random(word) for word in words)
