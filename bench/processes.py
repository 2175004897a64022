"""Processor time and memory of other processes, read from the kernel; and their end, by their id."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.conditions import ROOT


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process since its start, all its threads, in user and system mode; to the nanosecond.

    The clock of another process, as clock_getcpuclockid(3) makes it; /proc/PID/stat counts in hundredths of a second.
    """
    return time.clock_gettime((~pid << 3) | 2)


def memory_mib(pid: int) -> tuple[float, float]:
    """Resident memory of a process now, and the most it ever had."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", text, re.MULTILINE))
    return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024


@contextmanager
def server(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of ours that prints `listening on HOST:PORT`: the process and its address. Ended with SIGTERM."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own programs
    try:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        line = process.stdout.readline()
        if not line.startswith("listening on "):
            raise RuntimeError(f"{' '.join(command)} did not start: {line!r}")
        yield process, f"http://{line.split()[-1]}"
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process that we have started, and waits for it."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
