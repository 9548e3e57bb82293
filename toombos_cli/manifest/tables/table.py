"""The base of every table of the manifest."""

import msgspec


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A manifest table: immutable, and an unknown key is an error.

    It is encoded without default values, so that another version only meets a key that it does not know if the key
    is newer and in use.
    """
