"""Runs a Python module as in a pod of its own: `python3 launch.py ADDRESS -m MODULE [ARGUMENTS]`.

In a pod, "all addresses" is the pod's own one. Processes share loopback, where it would be everybody's.
"""

from __future__ import annotations

import runpy
import socket
import sys
from typing import Any

EVERYWHERE = (None, "", "0.0.0.0", "::")


def main() -> None:
    own, flag, module = sys.argv[1:4]
    if flag != "-m":
        raise SystemExit("usage: launch.py ADDRESS -m MODULE [ARGUMENTS]")
    look_up = socket.getaddrinfo

    def look_up_here(host: Any, *arguments: Any, **options: Any) -> Any:
        return look_up(own if host in EVERYWHERE else host, *arguments, **options)

    socket.getaddrinfo = look_up_here
    sys.argv = [module, *sys.argv[4:]]
    del sys.path[0]  # this file's folder
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
