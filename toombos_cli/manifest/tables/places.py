"""The manifest's `[places.NAME]` tables: where else the services run, and what may be done to them there."""

import re

from toombos_cli.base.addresses import url_address, url_host
from toombos_cli.manifest.tables.env_files import check_env_files
from toombos_cli.manifest.tables.expectations import check_headers, header_variables
from toombos_cli.manifest.tables.table import Table

HOST_PATTERN = r"(?:\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]|[A-Za-z0-9_](?:[A-Za-z0-9._-]*))"
"""What a host looks like in a URL, as a regular expression."""
URL_PATTERN = rf"(?:https?://{HOST_PATTERN}(?::[0-9]+)?/?|tcp://{HOST_PATTERN}:[0-9]+)"
"""What the address of a service looks like, as a regular expression."""
BARE_HOST_PATTERN = r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]*"
"""What a host looks like beside a URL, as a regular expression."""


class PlaceAddress(Table, frozen=True):
    """Where one service is at a place, and how it is asked there."""

    url: str
    """Its base URL, such as `https://shop.example` or `tcp://10.0.0.5:5432`; it has no path."""
    headers: dict[str, str] = {}
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    insecure: bool = False

    def __post_init__(self) -> None:
        check_url(self.url)
        _check_access(self)
        given = [key for key in ("ca_file", "client_cert", "insecure") if getattr(self, key)]
        if given and not self.url.startswith("https:"):
            raise ValueError(f"{given[0]} is set, but only https:// has certificates")


class PlaceTable(Table, frozen=True):
    """A place where the services run besides this machine: another machine, a cluster, a container engine.

    `headers` and the keys about TLS are those of every service there that has none of its own. A header that is a
    credential names a variable: `Authorization = "Bearer ${env.TOKEN}"`.
    """

    host: str = ""
    """The host of every service that `services` does not name, on the port and in the scheme that it has here."""
    services: dict[str, str | PlaceAddress] = {}
    headers: dict[str, str] = {}
    ca_file: str = ""
    client_cert: str = ""
    client_key: str = ""
    insecure: bool = False
    env_files: tuple[str, ...] = ()
    """Files like `.env` with the values that variables have for this place."""
    variables: bool = False
    """Whether the place may receive the variables that smoke steps, `[load]` and the services' own headers use."""
    load: bool = False
    """Whether `toombos load` may send load there."""
    writes: bool = False
    """Whether the writing steps of `toombos smoke` may run there, if the system says that it is in dry-run mode."""

    def __post_init__(self) -> None:
        if not self.host and not self.services:
            raise ValueError("a place needs host, or services with their addresses")
        if self.host and not re.fullmatch(BARE_HOST_PATTERN, self.host):
            raise ValueError(f"host must be a name or an address, not {self.host!r}")
        for address in self.services.values():
            if isinstance(address, str):
                check_url(address)
        check_env_files(self.env_files)
        _check_access(self)

    def address_of(self, service: str, scheme: str, port: int) -> PlaceAddress | None:
        """Return the address of a service that has this scheme and port here; None if the place does not give one."""
        given = self.services.get(service)
        if given is None:
            if not self.host or not port:
                return None
            given = f"{scheme}://{url_host(self.host)}:{port}"
        return PlaceAddress(url=given) if isinstance(given, str) else given


def check_url(url: str) -> None:
    """Raise ValueError for what is not the address of a service."""
    if not re.fullmatch(URL_PATTERN, url):
        raise ValueError(f"{url!r} is not an address: write http://HOST:PORT, https://HOST or tcp://HOST:PORT")
    try:
        _, port = url_address(url)
    except ValueError:
        port = None
    if not port:
        raise ValueError(f"{url!r} has no port from 1 to 65535")


def _check_access(table: PlaceAddress | PlaceTable) -> None:
    """Raise ValueError for headers and certificates that contradict themselves, and for a credential as a value."""
    if table.client_key and not table.client_cert:
        raise ValueError("client_key is set, but client_cert is not")
    if table.insecure and table.ca_file:
        raise ValueError("insecure accepts any certificate, but ca_file is set as well: remove one of them")
    if any("\0" in path for path in (table.ca_file, table.client_cert, table.client_key)):
        raise ValueError("the name of a file must not contain the character NUL")
    check_headers(table.headers)
    if not table.headers:
        return
    from toombos_cli.base.redaction import is_secret_name  # few places have headers

    for name, value in table.headers.items():
        if (is_secret_name(name) or name.lower() in _CREDENTIALS) and not header_variables({name: value}):
            raise ValueError(f"headers: {name} is a credential: name its variable, as in '${{env.TOKEN}}'")


_CREDENTIALS = ("authorization", "proxy-authorization", "cookie")
