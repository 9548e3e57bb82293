"""The screen in a browser of this machine, by textual-serve: loopback only, and behind a token that opens it once."""

import hmac
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable

from aiohttp import web
from textual_serve.server import Server

from toombos_cli.base.fixes import here
from toombos_cli.base.quoting import joined

_HOST = "127.0.0.1"
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'self' data:; script-src 'self' 'unsafe-inline'; connect-src 'self' ws:;"
    " style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
}
_IN_HEAD = """<title>toombos</title>
<script>
  const focusTerminal = () => document.querySelector("textarea.xterm-helper-textarea")?.focus();
  addEventListener("load", focusTerminal); // or keys go nowhere until somebody clicks
  addEventListener("focus", focusTerminal);
</script>
</head>"""
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GuardedServer(Server):
    """Serves the screen to the one browser that came with the token first; everybody else gets 403.

    The token is in the address that is printed. It counts once and is exchanged for a cookie that scripts and other
    sites cannot use. Requests for another host name or from another origin are refused whatever they bring.
    """

    def __init__(self, argv: tuple[str, ...], *, port: int) -> None:
        with socket.create_server((_HOST, port)) as probe:  # so that the address is known before it is served
            port = probe.getsockname()[1]
        super().__init__(f"exec {joined(argv)}", host=_HOST, port=port, title="toombos")
        self._token: str | None = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        self._cookie = f"toombos_ui_{port}"  # browsers keep one set of cookies for all ports of a host

    @property
    def address(self) -> str:
        """The address with the token."""
        return f"{self.public_url}/?token={self._token}"

    def initialize_logging(self) -> None:
        """Log nothing: a log would have the token."""

    async def on_startup(self, app: web.Application) -> None:
        """Print the address instead of a banner with the command."""
        sys.stderr.write(
            f"the screen is at {self.address}\nIt opens once, in one browser of this machine. Ctrl-C ends it.\n"
        )
        sys.stderr.flush()

    async def handle_index(self, request: web.Request) -> web.Response:
        """Return the page, with a title, and with the focus on the terminal."""
        page: web.Response = await super().handle_index(request)  # type: ignore[assignment]
        page.text = (page.text or "").replace("</head>", _IN_HEAD, 1)
        return page

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        app.on_response_prepare.append(_add_headers)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        own = f"{_HOST}:{self.port}"
        if request.host != own or request.headers.get("Origin", f"http://{own}") != f"http://{own}":
            raise web.HTTPForbidden(text="this host or origin is refused\n")
        if hmac.compare_digest(request.cookies.get(self._cookie, "").encode(), self._session.encode()):
            return await handler(request)
        given = request.query.get("token", "")
        if request.path != "/" or self._token is None or not hmac.compare_digest(given.encode(), self._token.encode()):
            raise web.HTTPForbidden(text=f"open the address that {here('ui', '--web')} has printed; it counts once\n")
        self._token = None
        response = web.HTTPSeeOther("/")
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="Strict", path="/")
        raise response


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
