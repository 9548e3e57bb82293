"""The manifest's `[environment.NAME]` tables: the variables that the services read, as `config check` judges them."""

from typing import Literal

from toombos_cli.manifest.service import Table


class Variable(Table, frozen=True):
    """One setting of the system. `default` is what the services assume when nobody sets it."""

    description: str
    type: Literal["str", "bool", "int", "float", "url", "path", "json", "choice"] = "str"
    default: str = ""
    choices: tuple[str, ...] = ()
    secret: bool = False
    required_in_live: bool = False
    minimum_length: int = 0
    minimum: float | None = None
    used_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.type == "choice") != bool(self.choices):
            raise ValueError("choices go with type = 'choice', and that type needs them")
