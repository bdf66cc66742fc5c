"""A network of this process's own, with loopback only.

Beam's job server listens on all interfaces whatever it is told, and runs the code that
it is sent. In a network namespace nobody else can send it any.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_REQUEST = struct.Struct("16sh14x")


def isolate() -> bool:
    """Moves this process, and what it starts, to a network with loopback only.

    Returns:
        False, and nothing has changed, where only root on Linux could do it.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    if ctypes.CDLL(None).unshare(_CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", _IFF_UP))
    return True
