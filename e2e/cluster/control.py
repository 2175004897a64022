"""The other end of the supervisor's socket: starts a supervisor, asks it, ends it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import linux
from e2e.cluster.layout import REPOSITORY, ClusterError, Layout, read_json, wait_until


@dataclass(frozen=True, slots=True)
class Control:
    """Commands for the components of one cluster."""

    layout: Layout

    def pid(self) -> int | None:
        """The supervisor's process; None when the cluster does not run."""
        known = read_json(self.layout.run / "supervisor.json")
        if known and linux.start_time(known["pid"]) == known["start_time"]:
            return int(known["pid"])
        return None

    def running(self) -> int:
        if (pid := self.pid()) is None:
            raise ClusterError("the cluster does not run: use the verb up")
        return pid

    def launch(self, isolated: bool, owner: int | None) -> None:
        """Starts the supervisor and waits until it listens."""
        command = [sys.executable, "-m", "e2e.cluster.supervisor", str(self.layout.run)]
        command += ["--isolated", self.layout.name] if isolated else []
        command += ["--owner", str(owner)] if owner else []
        log = self.layout.logs / "supervisor.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise ClusterError(f"the supervisor did not start: {log.read_text()[-2000:]}")
        process.stdout.close()

    def start(self, name: str, command: list[str] | None = None) -> None:
        self._ask(verb="start", name=name, command=command)

    def stop(self, name: str) -> None:
        self._ask(verb="stop", name=name)

    def components(self) -> dict[str, dict[str, int | None]]:
        return self._ask(verb="list")

    def wait_for(self, name: str, done: Callable[[], object], timeout_seconds: float = 90) -> None:
        """Waits for what a component brings about; fails at once, with its last words, when it ends before."""

        def done_or_dead() -> object:
            if (code := self.components()[name]["exit_code"]) is not None:
                words = (self.layout.logs / f"{name}.log").read_text(errors="replace")[-2000:]
                raise ClusterError(f"{name} ended with {code}: {words}")
            return done()

        wait_until(done_or_dead, f"{name} is ready, see {self.layout.logs}/{name}.log", timeout_seconds)

    def end(self) -> None:
        """Ends the supervisor, and with it everything."""
        if pid := self.pid():
            os.kill(pid, signal.SIGTERM)
            with suppress(ClusterError):
                wait_until(lambda: self.pid() is None, "end of the supervisor", 10)
                return
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: self.pid() is None, "end of the supervisor", 30)

    def _ask(self, **request: object) -> dict[str, Any]:
        self.running()
        try:
            answer = self._converse(json.dumps(request))
        except (OSError, ValueError) as error:
            raise ClusterError(f"the supervisor does not answer ({error}): use the verbs down and up") from error
        if "error" in answer:
            raise ClusterError(answer["error"])
        return answer

    def _converse(self, line: str) -> dict[str, Any]:
        with short_path(self.layout.run) as run, socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(f"{run}/control")
            with connection.makefile("rw") as stream:
                stream.write(line + "\n")
                stream.flush()
                answer: dict[str, Any] = json.loads(stream.read())
        return answer


@contextmanager
def short_path(directory: Path) -> Iterator[str]:
    """A short name of a directory: the path of a socket may have 107 bytes, and pytest's are longer."""
    opened = os.open(directory, os.O_PATH)
    try:
        yield f"/proc/self/fd/{opened}"
    finally:
        os.close(opened)
