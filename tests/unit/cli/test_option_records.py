"""Options of a command that are declared once, as the fields of a dataclass."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from toombos_cli.cli.invocation import Invocation, command


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    dish: str
    times: int = 1
    sauces: list[str] | None = None
    hot: bool = False


SHOWN: dict[str, Any] = {
    "dish": typer.Argument(),
    "times": typer.Option("-n", "--times"),
    "sauces": typer.Option("--sauce"),
    "hot": typer.Option("--hot"),
}


def order(*argv: str) -> tuple[int, str]:
    """Return exit code and output of a command that takes a Wish and another option."""

    @command
    def cook(
        invocation: Invocation, wish: Annotated[Wish, SHOWN], guests: Annotated[int, typer.Option("--guests")] = 2
    ) -> None:
        typer.echo(f"{wish} for {guests}, json {invocation.options.json}")

    app = typer.Typer(add_completion=False)
    app.command()(cook)
    done = CliRunner().invoke(app, argv)
    return done.exit_code, done.output.strip()


@pytest.mark.parametrize(
    ("argv", "made"),
    [
        (["soup"], "Wish(dish='soup', times=1, sauces=None, hot=False) for 2, json False"),
        (["soup", "-n", "3", "--hot"], "Wish(dish='soup', times=3, sauces=None, hot=True) for 2, json False"),
        (
            ["soup", "--sauce", "a", "--sauce", "b", "--guests", "9", "--json"],
            "Wish(dish='soup', times=1, sauces=['a', 'b'], hot=False) for 9, json True",
        ),
    ],
    ids=[
        "the defaults are those of the record",
        "the options have the types of the fields",
        "the command has other and global options",
    ],
)
def test_a_record_is_filled_from_the_command_line(argv: list[str], made: str) -> None:
    assert order(*argv) == (0, made)


def test_a_field_of_another_type_is_a_usage_error() -> None:
    code, output = order("soup", "--times", "many")
    assert code == 2
    assert "many" in output


def test_a_field_without_an_option_is_an_error_in_the_declaration() -> None:
    with pytest.raises(KeyError, match="hot"):

        @command
        def cook(
            invocation: Invocation,
            wish: Annotated[Wish, {name: shown for name, shown in SHOWN.items() if name != "hot"}],
        ) -> None:
            pass
