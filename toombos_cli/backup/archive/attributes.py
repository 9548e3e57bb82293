"""Extended attributes that a backup keeps: the users' own (`user.*`) and POSIX ACLs, as the kernel gives them.

What the system itself sets (security.*, trusted.*) belongs to the machine, not to the data. Not on macOS.
"""

import errno
import os
import re
import struct

ACCESS_ACL = "system.posix_acl_access"
_DEFAULT_ACL = "system.posix_acl_default"
VALUE_MAX_BYTES = 1 << 16  # the kernel's own limit, as is that of a name (man 7 xattr)
_KEPT = re.compile(r"user\.[^=\n\0]{1,250}|" + re.escape(ACCESS_ACL) + "|" + re.escape(_DEFAULT_ACL))
_GROUP_OBJ, _MASK = 0x04, 0x10
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


def apply_attributes(path: bytes, attributes: dict[str, bytes]) -> dict[str, str]:
    """Sets them; the reason for each that the file system or the user's rights do not allow."""
    refused = {}
    for name, value in attributes.items():
        try:
            os.setxattr(path, name, value, follow_symlinks=False)
        except AttributeError:
            refused[name] = "not on this system"
        except OSError as error:
            refused[name] = error.strerror or str(error)
    return refused


def rights_of_group(acl: bytes) -> int:
    """What an access ACL lets the file's group do, 0 to 7; the mode shows in its place what the ACL lets anybody do."""
    head, entry = struct.Struct("<I"), struct.Struct("<HHI")  # linux/posix_acl_xattr.h
    if len(acl) < head.size or (len(acl) - head.size) % entry.size:
        return 0
    rights: dict[int, int] = {tag: allowed for tag, allowed, _ in entry.iter_unpack(acl[head.size :])}
    return rights.get(_GROUP_OBJ, 0) & rights.get(_MASK, 7)
