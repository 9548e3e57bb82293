"""Errors for people: what failed, where, and the next command."""

from typing import TYPE_CHECKING

from toombos_cli.base.errors import Problem
from toombos_cli.render.presentable import presentable

if TYPE_CHECKING:
    from rich.console import Console


def print_problems(problems: tuple[Problem, ...], stderr: "Console") -> None:
    """Print each problem on stderr: `error: place: message`, then its hint on its own unwrapped line."""
    for problem in presentable(problems):
        place = f"{problem.where}: " if problem.where else ""
        stderr.print("error: ", style="bold red", end="")
        stderr.print(f"{place}{problem.message}", soft_wrap=True)
        if problem.hint:
            stderr.print(f"hint: {problem.hint}", style="cyan", soft_wrap=True)
