"""Errors of archives, apart from those of the disk and of the command line."""

from toombos_cli.base.errors import OperationError, ToombosError


class BadArchiveError(ToombosError):
    """The archive fails verification: damaged, cut off, or not what it claims to be. Nothing was restored."""

    exit_code = 1


class NewerArchiveError(OperationError):
    """The archive needs a newer toombos: it could not be judged, and nothing was restored."""
