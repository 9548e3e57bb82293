"""Errors of archives; disk and usage errors are in base/errors.py."""

from toombos_cli.base.errors import OperationError, ToombosError


class BadArchiveError(ToombosError):
    """The archive fails verification: damaged, cut off, or not what it claims to be. Nothing was restored."""

    exit_code = 1


class NewerArchiveError(OperationError):
    """The archive needs a newer toombos: it could not be verified, and nothing was restored."""
