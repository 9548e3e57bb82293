"""The corrected form of a line that is not TOML: every proposal was parsed before it is made."""

import re
from collections.abc import Iterator

from toombos_cli.base.redaction import is_secret_name
from toombos_cli.base.untrusted import UntrustedError, decode_untrusted_toml

_PYTHON_WORDS = {"True": "true", "False": "false"}
_QUOTES = str.maketrans("\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}", '""')


def corrected_line(line: str) -> str | None:
    """Return what the line was most likely meant to be, or None; a line with a secret's name is not repeated."""
    plain = line.strip()
    if not plain or is_secret_name(re.split(r"[=:\s]", plain, maxsplit=1)[0].strip("\"'")):
        return None
    return next((proposal for proposal in _proposals(plain) if _is_toml(proposal)), None)


def _proposals(line: str) -> Iterator[str]:
    yield line.translate(_QUOTES)
    if line.startswith("["):
        name = line.strip("[] ")
        yield f"[[{name}]]" if line.startswith("[[") else f"[{name}]"
        yield f'["{name}"]'
        return
    key, sign, value = line.partition("=")
    if not sign:
        key, sign, value = line.partition(":")
    if not sign:
        return
    key, value = key.strip(), value.strip()
    yield f"{key} = {value}"
    for closer in ('"', "'", "]", '"]', "}", '"}'):
        yield f"{key} = {value}{closer}"
    if value in _PYTHON_WORDS:
        yield f"{key} = {_PYTHON_WORDS[value]}"
    if len(value) > 1 and value[0] == value[-1] == '"' and "'" not in value:
        yield f"{key} = '{value[1:-1]}'"
    if value and not re.search(r"[\"'\[\]{}#]", value):
        yield f'{key} = "{value}"'


def _is_toml(line: str) -> bool:
    try:
        return bool(decode_untrusted_toml(line))
    except UntrustedError:
        return False
