"""A real Redis for the tests: the machine's own, or the one of the Debian packages, which are not installed for it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.images.debian import take_out

PROGRAMS = Path(__file__).resolve().parents[2] / ".cluster" / "programs"
PASSWORD = "secret"
_LIBRARIES = {"liblzf1": "liblzf.so.1", "libatomic1": "libatomic.so.1", "libjemalloc2": "libjemalloc.so.2"}


def program() -> tuple[str, dict[str, str]]:
    """The server and the environment that it needs. Debian keeps one program for all of Redis; the name by which it is
    called says what it does."""
    if (installed := shutil.which("redis-server")) is not None:
        return installed, dict(os.environ)
    machine = f"usr/lib/{os.uname().machine}-linux-gnu"
    taken = PROGRAMS / "usr/bin/redis-check-rdb"
    if not taken.exists():
        for package, library in _LIBRARIES.items():
            take_out(package, (f"{machine}/{library}",), PROGRAMS)
        take_out("redis-tools", ("usr/bin/redis-check-rdb",), PROGRAMS)
    return str(taken), os.environ | {"LD_LIBRARY_PATH": str(PROGRAMS / machine)}


@contextmanager
def redis_server(folder: Path, port: int) -> Iterator[None]:
    """Serves with a password until the block ends, and remembers nothing then."""
    executable, environment = program()
    command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--requirepass", PASSWORD]
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, "--bind", "127.0.0.1"],
            executable=executable, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        try:
            _wait(process, port, folder / "redis.log")
            yield
        finally:
            process.terminate()
            process.wait(10)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, f"redis-server ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < until, "redis-server does not listen"
            time.sleep(0.05)
        else:
            return
