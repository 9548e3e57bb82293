"""The JUnit file of a command that fails before it has a report: CI shows the reason all the same."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toombos_cli.base.errors import ToombosError, UsageError
from toombos_cli.cli.invocation import Invocation
from toombos_cli.cli.output_files import write_output


@contextmanager
def junit_of_failure(invocation: Invocation, path: Path | None) -> Iterator[None]:
    """Write a document with one error to the file, if there is one, if the block raises; a wrong usage has none."""
    try:
        yield
    except ToombosError as error:
        if path is not None and not isinstance(error, UsageError):
            from toombos_cli.render.junit import document_of_errors

            problems = invocation.redactor.value(error.problems)
            write_output(path, document_of_errors(problems, suite=invocation.command).encode())
        raise
