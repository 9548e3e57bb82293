"""Linux: TCP and UDP sockets, listed by the kernel as for `ss` (sock_diag(7)).

Reading /proc/net/tcp takes ten times as long for connections and a hundred times for listeners: it walks every
bucket of the kernel's table, twice, and that table grows with the machine's memory.
"""

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

LISTENING = 1 << 10
CONNECTED = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11
"""TCP states (net/tcp_states.h) of sockets that a process owns and that have, or are connecting to, a far end."""

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_OF_ALL = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI48x")
_ANSWER = struct.Struct("=4x2s2s16s16s12x12xII")  # struct inet_diag_msg
_TIMEOUT_S = 2.0


class KernelSocket(NamedTuple):
    """One socket; `peer_host` and `peer_port` are 0.0.0.0 or :: and 0 if it listens."""

    host: str
    port: int
    peer_host: str
    peer_port: int
    uid: int
    """The user who opened it."""
    inode: int


def tcp_sockets(states: int) -> Iterator[KernelSocket]:
    """Yield the TCP sockets of this network namespace in these states. Raise OSError if the kernel lacks sock_diag."""
    return _sockets(socket.IPPROTO_TCP, states)


def udp_sockets(states: int) -> Iterator[KernelSocket]:
    """Yield the UDP sockets likewise; one with a far end is in the state TCP_ESTABLISHED."""
    return _sockets(socket.IPPROTO_UDP, states)


def _sockets(protocol: int, states: int) -> Iterator[KernelSocket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _REQUEST.pack(family, protocol, 0, states)
            size = _HEADER.size + len(request)
            kernel.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_OF_ALL, 1, 0) + request)
            for message in _messages(kernel):
                local, peer, host, peer_host, uid, inode = _ANSWER.unpack_from(message)
                width = 4 if family == socket.AF_INET else 16
                yield KernelSocket(
                    host=socket.inet_ntop(family, host[:width]),
                    port=int.from_bytes(local),
                    peer_host=socket.inet_ntop(family, peer_host[:width]),
                    peer_port=int.from_bytes(peer),
                    uid=uid,
                    inode=inode,
                )


def _messages(kernel: socket.socket) -> Iterator[bytes]:
    """Yield the replies to one request, without their headers."""
    while True:
        data = kernel.recv(1 << 18)
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError(-struct.unpack_from("=i", data, _HEADER.size)[0], "sock_diag")
            yield data[_HEADER.size : length]
            data = data[length + 3 & ~3 :]
