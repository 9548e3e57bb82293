"""Follows links within the origins of the manifest's services: captured ones, and redirects."""

from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from toombos_cli.base.addresses import is_loopback, url_address
from toombos_cli.base.exact_numbers import as_text, encode_exact
from toombos_cli.base.text import one_line
from toombos_cli.manifest.tables.service import Service
from toombos_cli.probes import is_this_machine

Origin = tuple[str, str, int | None]
_SCHEMES = ("http", "https")
"""Behind a proxy that ends TLS, a service writes links with https."""


def path_of_link(link: Any, *, found_at: str, service: Service, headers: Mapping[str, str]) -> str:
    """Return path and query of a link, relative to the URL of the response that held it.

    `headers` are those of the request to come. Raises ValueError for no link, and if it leads to another origin than
    the service's, by its address or by the Host header that the service knows itself by.
    """
    if link is None or not as_text(link).strip():
        raise ValueError(f"{encode_exact(link)} is not a link")
    url = urljoin(found_at or f"{service.url}/", as_text(link).strip())
    host = next((value for name, value in headers.items() if name.lower() == "host"), "")
    if origin_of(url) not in {origin_of(service.url), *(origin_of(f"{scheme}://{host}") for scheme in _SCHEMES)}:
        raise ValueError(f"the link {one_line(url)} leads to another origin than {service.url}, so it is not followed")
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class RedirectRule:
    """Which redirects of a step are followed: those to a service of the manifest, and with a secret only to some."""

    def __init__(self, services: Mapping[str, Service], *, sends_variables: bool, allowed: Collection[str]) -> None:
        self._origins = {origin_of(service.url) for service in services.values() if service.url}
        self._sends_variables = sends_variables
        self._allowed = allowed

    def __call__(self, url: str) -> bool:
        """Report whether a redirect to this URL is followed."""
        origin = origin_of(url)
        is_near = not self._sends_variables or origin[1] in self._allowed or is_this_machine(origin[1])
        return origin in self._origins and is_near


def origin_of(url: str) -> Origin:
    """Return scheme, host and port of a URL; the host is "" if it has none, and the names of the loopback are one."""
    try:
        host, port = url_address(url)
        return urlsplit(url).scheme, "localhost" if is_loopback(host) else host, port
    except ValueError:
        return "", "", None
