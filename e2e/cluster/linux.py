"""What the standard library lacks of Linux: namespaces (os.unshare is of Python 3.12) and death signals."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

NEW_MOUNT = 0x0002_0000
NEW_HOSTNAME = 0x0400_0000
NEW_IPC = 0x0800_0000
NEW_PID = 0x2000_0000
NEW_NETWORK = 0x4000_0000

_SET_PARENT_DEATH_SIGNAL = 1
_SIGKILL = 9
_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Moves this process into new namespaces; that of processes begins with its next child."""
    _raise_if(_libc.unshare(flags))


def join(namespace: Path, kind: int) -> None:
    """Moves this thread into a namespace, given as a file of /proc/PID/ns."""
    with namespace.open() as opened:
        _raise_if(_libc.setns(opened.fileno(), kind))


def die_with_parent() -> None:
    """Lets the kernel kill this process when its parent ends, however it ends."""
    _raise_if(_libc.prctl(_SET_PARENT_DEATH_SIGNAL, _SIGKILL, 0, 0, 0))


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks after boot; None when it has ended.

    Process ids come again, so a recorded process is (pid, start time).
    """
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(numbers[18])


def _raise_if(failed: int) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
