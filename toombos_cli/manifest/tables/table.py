"""The base of every table of the manifest."""

import msgspec

ALL = "all"
"""What `--at` and `--hosts` take for every place and every host, so that none can have this name."""


NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""What the name of a service, a place or a host looks like, as a regular expression."""


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A manifest table: immutable, and an unknown key is an error.

    It is encoded without default values, so that another version only meets a key that it does not know if the key
    is newer and in use.
    """
