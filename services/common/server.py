"""Runs a service's app in this process until SIGTERM or SIGINT; `main` is the whole of a service's `__main__`."""

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

from services.common import logs
from services.common.settings import ServiceSettings, SettingsError, SettingsT

if TYPE_CHECKING:
    from uvicorn.config import Config

logger = logging.getLogger("services.server")

EXIT_OK, EXIT_CONFIGURATION, EXIT_FAILED, EXIT_INTERRUPTED = 0, 3, 4, 130


def main(settings_class: type[SettingsT], build: Callable[[SettingsT], object]) -> int:
    """Load the settings, build the app, serve it. The exit code: 0 stopped by SIGTERM, 3 settings or address, 4 failed.

    `build` imports the app itself, so that wrong settings are told before the slow imports.
    """
    gc.disable()  # imports leave nothing to collect: a tenth of the start-up was spent looking for it
    logs.configure("INFO")
    try:
        settings = settings_class.load()
    except SettingsError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem.name}: {problem.reason}\n")
        logger.critical("invalid settings", extra={"problems": [asdict(problem) for problem in error.problems]})
        return EXIT_CONFIGURATION
    logs.configure(settings.log_level, secrets=settings.secret_values())
    try:
        listener = _bound(settings.host, settings.port)
    except OSError as error:
        _log_taken(settings, error)
        return EXIT_CONFIGURATION
    with listener:
        app = build(settings)
        try:
            listener.listen(2048)
        except OSError as error:  # another process that had bound the port as well listened first
            _log_taken(settings, error)
            return EXIT_CONFIGURATION
        return _serve(app, settings, listener)


def _bound(host: str, port: int) -> socket.socket:
    """A socket that holds the port: a taken one is known before the slow imports, and nobody waits for their end."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _log_taken(settings: ServiceSettings, error: OSError) -> None:
    logger.critical("cannot listen on %s:%d: %s", settings.host, settings.port, error.strerror or error)


def uvicorn_config(app: object, *, shutdown_grace_s: float) -> "Config":
    """How every service is served."""
    from uvicorn.config import Config

    return Config(
        app,  # type: ignore[arg-type]  # an ASGI app; typing it here would import Starlette before the settings
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,  # longer than clients keep idle connections (httpx: 5 s), so that they close first
        # The last resort: running requests are cut off before, without uvicorn's errors (see `_serve`).
        timeout_graceful_shutdown=shutdown_grace_s + 1,  # type: ignore[arg-type]  # waits fractions as well
    )


def _serve(app: object, settings: ServiceSettings, listener: socket.socket) -> int:
    from uvicorn.server import Server

    class AnnouncingServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.freeze()  # what the imports left behind lives as long as the process: spare every collection the walk
            gc.set_threshold(10_000)  # requests leave few cycles behind: the default looks for them several times each
            gc.enable()
            logger.info("startup complete, listening on %s:%d", *listener.getsockname()[:2])

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            cut_off = asyncio.get_running_loop().call_later(settings.shutdown_grace_s, self._cut_off)
            await super().shutdown(sockets)
            cut_off.cancel()

        def _cut_off(self) -> None:
            """Hang up on those still served, as if they had left: that is no error of the service."""
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            for task in self.server_state.tasks:
                task.cancel()

    config = uvicorn_config(app, shutdown_grace_s=settings.shutdown_grace_s)
    # Uvicorn raises the signal again once all is stopped. By itself that kills: a clean end is to read as one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_OK))
    try:
        AnnouncingServer(config).run(sockets=[listener])
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except SystemExit as stop:  # also uvicorn's way of saying that the lifespan failed; it has logged why
        code = EXIT_FAILED if stop.code else EXIT_OK
    else:
        code = EXIT_OK
    logger.info("stopped", extra={"exit_code": code})
    return code
