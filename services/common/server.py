"""Run a service's app in this process until SIGTERM or SIGINT; a service's `__main__` only calls `main`."""

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
    """Load the settings, build the app and serve it.

    Return 0 after SIGTERM, 130 after SIGINT, 3 if settings or address are unusable, 4 if the app failed. `build`
    imports the app, so that wrong settings are reported before the slow imports.
    """
    gc.disable()  # imports create no garbage, and collecting took a tenth of the start-up
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
        except OSError as error:  # another process had bound the same port and listened first
            _log_taken(settings, error)
            return EXIT_CONFIGURATION
        return _serve(app, settings, listener)


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to the port, so that a port in use is reported before the slow imports."""
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
    """Return the uvicorn configuration of every service."""
    from uvicorn.config import Config

    from services.common.protocol import LimitedProtocol

    return Config(
        app,  # type: ignore[arg-type]  # an ASGI app; its type would import Starlette before the settings are read
        loop="uvloop",
        http=LimitedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,  # longer than clients keep idle connections (httpx: 5 s), so that they close first
        # A last resort: `_serve` cuts off running requests earlier, without uvicorn's errors.
        timeout_graceful_shutdown=shutdown_grace_s + 1,  # type: ignore[arg-type]  # fractions work too
    )


def _serve(app: object, settings: ServiceSettings, listener: socket.socket) -> int:
    from uvicorn.server import Server

    class AnnouncingServer(Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            gc.freeze()  # objects from the imports live as long as the process: exclude them from collections
            gc.set_threshold(10_000)  # requests leave few cycles, and the default collects several times per request
            gc.enable()
            logger.info("startup complete, listening on %s:%d", *listener.getsockname()[:2])

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            cut_off = asyncio.get_running_loop().call_later(settings.shutdown_grace_s, self._cut_off)
            await super().shutdown(sockets)
            cut_off.cancel()

        def _cut_off(self) -> None:
            """Drop the remaining clients as if they had disconnected, so that it is not logged as an error."""
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            for task in self.server_state.tasks:
                task.cancel()

    config = uvicorn_config(app, shutdown_grace_s=settings.shutdown_grace_s)
    # Uvicorn raises the signal again after the shutdown, which would kill the process: make it a clean exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_OK))
    try:
        AnnouncingServer(config).run(sockets=[listener])
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except SystemExit as stop:  # also raised by uvicorn if the lifespan failed; it has logged why
        code = EXIT_FAILED if stop.code else EXIT_OK
    else:
        code = EXIT_OK
    logger.info("stopped", extra={"exit_code": code})
    return code
