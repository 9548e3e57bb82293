"""Imports httpx and httpcore without what a probe does not need; `toombos_cli` takes them from here alone.

httpx imports its own command line if click and rich are installed, as they are here, and with it pygments: 65 of
145 ms. httpcore imports h2: 20 ms more, and imports it again as soon as a connection is to speak HTTP/2; and anyio
and trio, for asynchronous connections. None as a module's entry makes its import fail, as if it were not installed.
The entries are removed afterwards. The garbage collector rests meanwhile: an import leaves hardly any garbage, and
looking for it takes 10 ms more. What was imported is frozen, so that later collections do not look at it either.
"""

import gc
import sys

_hidden = [
    name for name in ("httpx._main", "h2", "anyio", "trio") if name not in sys.modules and "httpx" not in sys.modules
]
for _name in _hidden:
    sys.modules[_name] = None  # type: ignore[assignment]
_collects = gc.isenabled()
gc.disable()
try:
    import httpcore
    import httpx
finally:
    for _name in _hidden:
        del sys.modules[_name]
    gc.freeze()
    if _collects:
        gc.enable()

__all__ = ["httpcore", "httpx"]
