"""Runs a Python module as in a pod of its own: `python3 launch.py ADDRESS -m MODULE [ARGUMENTS]`.

In a pod, "all addresses" is the pod's own one. Processes share loopback, where it would be everybody's.
"""

from __future__ import annotations

import errno
import runpy
import socket
import sys
from typing import Any


def main() -> None:
    own, flag, module = sys.argv[1:4]
    if flag != "-m":
        raise SystemExit("usage: launch.py ADDRESS -m MODULE [ARGUMENTS]")
    bind = socket.socket.bind

    def bind_own(self: socket.socket, address: Any) -> None:
        if self.family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "a pod has one IPv4 address here")
        bind(self, (own, *address[1:]) if address[0] in ("", "0.0.0.0") else address)

    socket.socket.bind = bind_own  # type: ignore[method-assign,assignment]
    sys.argv = [module, *sys.argv[4:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
