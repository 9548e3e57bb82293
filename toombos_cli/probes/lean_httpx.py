"""Imports httpx without its own command line; `toombos_cli` takes httpx from here alone.

httpx imports its command line if click and rich are installed, as they are here, and with it pygments: 65 of 145 ms.
None as a module's entry makes its import fail, as if those packages were absent. The entry is removed afterwards.
"""

import sys

_COMMAND_LINE = "httpx._main"

_hides = "httpx" not in sys.modules and _COMMAND_LINE not in sys.modules
if _hides:
    sys.modules[_COMMAND_LINE] = None  # type: ignore[assignment]
try:
    import httpx
finally:
    if _hides:
        del sys.modules[_COMMAND_LINE]

__all__ = ["httpx"]
