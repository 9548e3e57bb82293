"""The manifest's `[environment.NAME]` tables: the variables that the services read, as `config check` judges them."""

from typing import Literal

from toombos_cli.manifest.tables.service import Table

Role = Literal[
    "",
    "dry_run",  # switches dry-run mode
    "use_mocks",  # sends what is published to the mocks
    "stage",  # development, production and so on
    "log_level",
    "access_key",  # what callers must show
    "encryption_key",  # decrypts the `enc:` values of .env
    "mock_url",  # where the mock named by `service` is found
    "live_url",  # the real counterpart, used in live mode only
    "live_key",
    "database",
    "egress_hosts",  # hosts besides loopback that dry-run mode may ask, separated by commas
    "bind_host",
    "bind_port",
    "env_file",  # another file that services read for .env
    "simulation",  # makes a mock slow or faulty on purpose
]


class Variable(Table, frozen=True):
    """One setting of the system. `default` is what the services assume when nobody sets it.

    `role` tells the rules of `config check` what the variable means; `channel` joins the variables of one publisher.
    """

    description: str
    type: Literal["str", "bool", "int", "float", "url", "path", "json", "choice", "dsn"] = "str"
    default: str = ""
    """`json` is JSON text or the path of a file that holds it; a `dsn` is a URL shown without its password."""
    choices: tuple[str, ...] = ()
    """What a `choice` may be; of a `dsn`, the kinds of database."""
    any_case: bool = False
    """A choice in any case counts."""
    secret: bool = False
    generate: bool = False
    """`config init` gives it a fresh random secret."""
    required: bool = False
    required_when: dict[str, str] = {}
    """Required when all these variables have these values."""
    required_unless: str = ""
    """Another variable that does instead of this one."""
    required_in_live: bool = False
    minimum_length: int = 0
    """In live mode; a shorter value is a warning in dry-run mode."""
    minimum: float | None = None
    maximum: float | None = None
    role: Role = ""
    service: str = ""
    channel: str = ""
    environment_only: bool = False
    """Read from the process environment alone: in `.env` it would have no effect."""
    used_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.choices and self.type not in ("choice", "dsn"):
            raise ValueError("choices go with type = 'choice' or 'dsn'")
        if self.type == "choice" and not self.choices:
            raise ValueError("type = 'choice' needs choices")
        if self.default and self.type == "choice" and self.default not in self.choices:
            raise ValueError("default must be one of the choices")
        if self.generate and not self.secret:
            raise ValueError("generate goes with secret = true")
        if self.secret and self.default:
            raise ValueError("a secret has no default")
