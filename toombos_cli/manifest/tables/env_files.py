"""The manifest's `env_files`: further files like `.env`, for all services or for one."""

from string import whitespace

OPTIONAL = "?"
"""The last character of the name of a file that may be missing."""


def check_env_files(names: tuple[str, ...]) -> None:
    """Raise ValueError for a name that cannot be that of a file."""
    for name in names:
        if not name.strip(whitespace + OPTIONAL) or "\0" in name:
            raise ValueError(f'env_files must name files, not {name!r} (for example "prod.env", or "local.env?")')
