"""Extended attributes that a backup keeps: user attributes (`user.*`) and POSIX ACLs, in the kernel's own encoding.

Attributes that the system sets (security.*, trusted.*) belong to the machine, not to the data. Not on macOS.
"""

import contextlib
import errno
import os
import re
import struct
from collections.abc import Collection

ACCESS_ACL = "system.posix_acl_access"
_DEFAULT_ACL = "system.posix_acl_default"
VALUE_MAX_BYTES = 1 << 16  # the kernel's limit, like that of a name below (man 7 xattr)
_KEPT = re.compile(r"user\.[^=\n\0]{1,250}|" + re.escape(ACCESS_ACL) + "|" + re.escape(_DEFAULT_ACL))
_GROUP_OBJ, _MASK = 0x04, 0x10
_ABSENT = frozenset({errno.ENODATA, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOENT, errno.EACCES, errno.EPERM})


def is_kept(name: str) -> bool:
    """Report whether a backup keeps an attribute of this name; a pax record cannot hold `=` or a newline in a name."""
    return _KEPT.fullmatch(name) is not None and name.isprintable()


def read_attributes(path: bytes) -> dict[str, bytes]:
    """Return the kept attributes of a file or directory; {} if it is gone or may not be read."""
    if not hasattr(os, "listxattr"):
        return {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in sorted(names) if is_kept(name)}
    except OSError as error:
        if error.errno not in _ABSENT:
            raise
        return {}


def has_capabilities(fd: int) -> bool:
    """Report whether an open program has file capabilities, which let it do some of what root may (man 7)."""
    if not hasattr(os, "getxattr"):
        return False
    try:
        return bool(os.getxattr(fd, "security.capability"))
    except OSError:
        return False


def apply_attributes(path: bytes, attributes: dict[str, bytes]) -> dict[str, str]:
    """Set the attributes. Return the reason for each that the file system or the user's rights do not allow."""
    refused = {}
    for name, value in attributes.items():
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except AttributeError:
            refused[name] = "not on this system"
        except OSError as error:
            refused[name] = error.strerror or str(error)
    return refused


def drop_other_attributes(path: bytes, kept: Collection[str]) -> None:
    """Remove the attributes that a backup keeps, except these names, from a directory that is not made anew."""
    for name in read_attributes(path):
        if name not in kept:
            with contextlib.suppress(OSError):
                os.removexattr(path, name, follow_symlinks=False)


def rights_of_group(acl: bytes) -> int:
    """Return the group's permissions in an access ACL, 0 to 7; the mode's group bits show the ACL's mask instead."""
    head, entry = struct.Struct("<I"), struct.Struct("<HHI")  # linux/posix_acl_xattr.h
    if len(acl) < head.size or (len(acl) - head.size) % entry.size:
        return 0
    rights: dict[int, int] = {tag: allowed for tag, allowed, _ in entry.iter_unpack(acl[head.size :])}
    return rights.get(_GROUP_OBJ, 0) & rights.get(_MASK, 7)
