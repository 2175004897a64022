"""The process that all others of a cluster descend from.

It starts, kills and lists components for requests of one JSON line on the socket `run/control` (see control.py).
With nodes it is process 1 of new namespaces, so its end, however it comes, ends every pod, mount, interface and
packet filter of the cluster. Without nodes its children ask the kernel to die with it.

    python3 -m e2e.cluster.supervisor RUN [--isolated HOSTNAME] [--owner PID]
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import linux, sandbox
from e2e.cluster.layout import write_json


@dataclass(slots=True)
class Component:
    """A process that was started here once; `exit_code` is None while it runs."""

    command: list[str]
    process: subprocess.Popen[bytes]
    exit_code: int | None = None


class Supervisor:
    """Serves requests, one after the other, in the directory of the running cluster."""

    def __init__(self) -> None:
        self.components: dict[str, Component] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"verb": "start", "name": str(name), "command": command}:
                return self.start(name, command)
            case {"verb": "stop", "name": str(name)}:
                return self.stop(name)
            case {"verb": "list"}:
                return {
                    name: {"pid": component.process.pid, "exit_code": component.exit_code}
                    for name, component in self.components.items()
                }
        return {"error": f"not understood: {request}"}

    def start(self, name: str, command: list[str] | None) -> dict[str, Any]:
        """Starts a component; without a command the way it was started before. No-op while it runs."""
        known = self.components.get(name)
        if known and known.exit_code is None:
            return {"pid": known.process.pid}
        if command is None:
            if known is None:
                return {"error": f"there was never a component {name}: " + ", ".join(sorted(self.components))}
            command = known.command
        with Path("logs", f"{name}.log").open("ab") as log:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=linux.die_with_parent
                )
            except OSError as error:
                return {"error": f"{name}: {error}"}
        self.components[name] = Component(command, process)
        return {"pid": process.pid}

    def stop(self, name: str) -> dict[str, Any]:
        """Kills a component, as a failing machine would."""
        known = self.components.get(name)
        if known is None:
            return {"error": f"there is no component {name}: " + ", ".join(sorted(self.components))}
        if known.exit_code is None:
            known.process.kill()
            known.exit_code = known.process.wait()
        return {}

    def reap(self) -> None:
        """Collects whatever ended: components, and the orphans that process 1 inherits."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                for component in self.components.values():
                    if component.process.pid == ended[0] and component.exit_code is None:
                        component.exit_code = component.process.returncode = os.waitstatus_to_exitcode(ended[1])


def serve(ready: int, owner: int | None) -> None:
    """Serves until a signal to end, or until the owner ends; then the components end, too."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # what counts is the number that arrives at the socket
    signal.set_wakeup_fd(wake.fileno())

    supervisor = Supervisor()
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as selector:
        listener.bind("control")
        listener.listen()
        selector.register(listener, selectors.EVENT_READ, "request")
        selector.register(woken, selectors.EVENT_READ, "signal")
        if owner is not None:
            selector.register(owner, selectors.EVENT_READ, "owner")
        os.write(ready, b"ready\n")
        os.close(ready)
        while True:
            events = {key.data for key, _ in selector.select()}
            if "owner" in events:
                break
            if "signal" in events:
                if {signal.SIGTERM, signal.SIGINT} & set(woken.recv(1024)):
                    break
                supervisor.reap()
            if "request" in events:
                converse(listener, supervisor)
    for component in supervisor.components.values():
        if component.exit_code is None:
            component.process.kill()


def converse(listener: socket.socket, supervisor: Supervisor) -> None:
    """Answers one request. Whoever connects and says nothing, or leaves, must not stop the cluster."""
    connection, _ = listener.accept()
    connection.settimeout(5)
    with connection, suppress(OSError, ValueError), connection.makefile("rw") as stream:
        stream.write(json.dumps(supervisor.answer(json.loads(stream.readline()))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--isolated", metavar="HOSTNAME")
    parser.add_argument("--owner", type=int, metavar="PID", help="end when this process ends")
    options = parser.parse_args()

    os.chdir(options.run)
    owner = os.pidfd_open(options.owner) if options.owner else None  # before /proc and ids are others
    ready = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if not options.isolated:
        record(os.getpid())
        serve(ready, owner)
        return

    recorded, go = os.pipe()
    linux.unshare(sandbox.NAMESPACES)
    if child := os.fork():
        record(child)
        os.write(go, b"!")
        return
    os.close(go)
    if os.read(recorded, 1):  # else the parent died, and nobody would know of this process
        sandbox.furnish(options.isolated)
        serve(ready, owner)


def record(pid: int) -> None:
    write_json(Path("supervisor.json"), {"pid": pid, "start_time": linux.start_time(pid)})


if __name__ == "__main__":
    main()
