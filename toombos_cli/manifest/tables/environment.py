"""The manifest's `[environment.NAME]` tables: the variables of the services, with the rules of `config check`."""

from typing import Literal

from toombos_cli.manifest.tables.table import Table

Role = Literal[
    "",
    "dry_run",  # switches dry-run mode
    "use_mocks",  # publishes to the mocks
    "stage",  # development, production and so on
    "log_level",
    "access_key",  # the key that callers must send
    "encryption_key",  # decrypts the `enc:` values of .env
    "mock_url",  # the address of the mock named by `service`
    "live_url",  # the address of the real service, used in live mode only
    "live_key",
    "database",
    "egress_hosts",  # hosts besides loopback that dry-run mode may contact, separated by commas
    "bind_host",
    "bind_port",
    "env_file",  # the file that services read instead of .env
    "simulation",  # makes a mock slow or faulty on purpose
]


class Variable(Table, frozen=True):
    """One setting of the system. `default` is the value that the services use if it is not set.

    `role` tells the rules of `config check` what the variable means; `channel` groups the variables of a publisher.
    """

    description: str
    type: Literal["str", "bool", "int", "float", "url", "path", "json", "choice", "dsn"] = "str"
    default: str = ""
    """A `json` is JSON text or the path of a JSON file; a `dsn` is a database URL, shown without its password."""
    choices: tuple[str, ...] = ()
    """The values of a `choice`, or the kinds of database of a `dsn`."""
    any_case: bool = False
    """Accept a choice in upper or lower case."""
    secret: bool = False
    generate: bool = False
    """`config init` sets it to a new random secret."""
    required: bool = False
    required_when: dict[str, str] = {}
    """Required if all these variables have these values."""
    required_unless: str = ""
    """Not required if this other variable is set."""
    required_in_live: bool = False
    minimum_length: int = 0
    """A shorter value fails in live mode, and is a warning in dry-run mode."""
    minimum: float | None = None
    maximum: float | None = None
    role: Role = ""
    service: str = ""
    channel: str = ""
    environment_only: bool = False
    """Read only from the process environment: it has no effect in `.env`."""
    used_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.choices and self.type not in ("choice", "dsn"):
            raise ValueError("choices need type = 'choice' or 'dsn'")
        if self.type == "choice" and not self.choices:
            raise ValueError("type = 'choice' needs choices")
        if self.default and self.type == "choice" and self.default not in self.choices:
            raise ValueError("default must be one of the choices")
        if self.generate and not self.secret:
            raise ValueError("generate needs secret = true")
        if self.secret and self.default:
            raise ValueError("a secret must not have a default")
