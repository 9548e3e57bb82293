"""Extended attributes that a backup keeps: the users' own (`user.*`) and POSIX ACLs, as the kernel gives them.

What the system itself sets (security.*, trusted.*) belongs to the machine, not to the data. Not on macOS.
"""

import contextlib
import errno
import os
import re

ACLS = ("system.posix_acl_access", "system.posix_acl_default")
VALUE_MAX_BYTES = 1 << 16  # the kernel's own limit, as is that of a name (man 7 xattr)
_KEPT = re.compile(r"user\.[^=\n\0]{1,250}|" + "|".join(map(re.escape, ACLS)))
_ABSENT = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOENT, errno.EACCES, errno.EPERM})


def is_kept(name: str) -> bool:
    """Whether a backup keeps an attribute of this name. One with `=` or a newline has no place in a pax record."""
    return _KEPT.fullmatch(name) is not None and name.isprintable()


def read_attributes(path: bytes) -> dict[str, bytes]:
    """The kept attributes of a file or directory; of one that may not be read, or is gone, none."""
    if not hasattr(os, "listxattr"):
        return {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(names) if is_kept(name)}
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return {}


def apply_attributes(path: bytes, attributes: dict[str, bytes]) -> None:
    """Sets them where the file system and the user's rights allow it."""
    for name, value in attributes.items():
        with contextlib.suppress(OSError, AttributeError):
            os.setxattr(path, name, value, follow_symlinks=False)
