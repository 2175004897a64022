"""The life of one pod: its files, its process, its probes, its end."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from e2e.cluster.layout import Layout
from e2e.cluster.linux import die_with_parent
from e2e.processes.api import STRATEGIC, Api, ApiError, kubeconfig
from e2e.processes.container import (
    KUBECONFIG,
    TERMINATION_LOG,
    MissingError,
    Programs,
    Read,
    Rewriting,
    command,
    environment,
    volume_files,
    wants_login,
)
from e2e.processes.network import container_port
from e2e.processes.reach import ENDED_FILE
from e2e.processes.status import Seen, status

Object = Mapping[str, Any]
LONGEST_MESSAGE_BYTES = 4096
LONGEST_BACK_OFF_SECONDS = 30.0
POLL_SECONDS = 0.5
CONFLICT = 409
NOT_FOUND = 404


@dataclass(slots=True)
class RunningPod:
    """One pod on our nodes. `current` is how the API server has it now."""

    api: Api
    layout: Layout
    programs: Programs
    words: Rewriting
    address: str
    read: Read
    prepare_network: Callable[[], Any]
    current: Object
    _seen: Seen = field(default_factory=Seen)
    _process: asyncio.subprocess.Process | None = None
    _command: tuple[list[str], dict[str, str]] = field(default_factory=lambda: ([], {}))
    _told: object = None
    _leaving: bool = False

    @property
    def path(self) -> str:
        metadata = self.current["metadata"]
        return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"

    @property
    def _container(self) -> Object:
        found: Object = self.current["spec"]["containers"][0]
        return found

    async def run(self) -> None:
        """From the first file to the last exit. Cancelled, it leaves the process to `stop`."""
        if len(self.current["spec"]["containers"]) != 1 or self.current["spec"].get("initContainers"):
            print(f"{self.path}: only pods of one container run here", file=sys.stderr)
        policy = self.current["spec"].get("restartPolicy", "Always")
        await self._until_there(self._log_in)
        while not self._leaving:
            if not await self._until_there(self._prepare):
                return
            code = await self._run_once()
            self._see(ready=False, started=False, exit_code=code, finished_at=now(), message=self._message())
            if policy == "Never" or (policy == "OnFailure" and code == 0) or self._leaving:
                self._see(over=True, waiting="")
                (self.words.root / ENDED_FILE).touch()
                await self.tell()
                return
            self._see(restarts=self._seen.restarts + 1, waiting="CrashLoopBackOff")
            await self.tell()
            await asyncio.sleep(min(2.0**self._seen.restarts, LONGEST_BACK_OFF_SECONDS))

    async def stop(self, *, at_once: bool = False) -> None:
        """The preStop pause, SIGTERM, the grace period, SIGKILL."""
        self._leaving = True
        grace = float(self.current["metadata"].get("deletionGracePeriodSeconds") or 0)
        pause = ((self._container.get("lifecycle") or {}).get("preStop") or {}).get("sleep", {}).get("seconds", 0)
        if self._process is not None and self._process.returncode is None:
            if not at_once and pause:
                await asyncio.sleep(min(pause, grace))
            await end(self._process, 3.0 if at_once else max(1.0, grace - pause))

    async def give_up(self) -> None:
        """Nothing of it can run here; the status says so until it is deleted."""
        self._see(waiting="CreateContainerError", ready=False)
        await self.tell()

    async def forget(self) -> None:
        """Tells the API server that nothing of the pod is left, so that it removes it."""
        if not self._seen.over:
            code = -1 if self._process is None else self._process.returncode
            self._see(over=True, ready=False, waiting="", exit_code=0 if code is None else code, finished_at=now())
            await self.tell()
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.current["metadata"]["uid"]}}
        with suppress(ApiError):
            await self.api.request("DELETE", self.path, options)
        for mount in self.words.root.glob("*"):  # the log stays
            if mount.is_dir():
                shutil.rmtree(mount, ignore_errors=True)

    async def tell(self) -> None:
        """Writes the status if it says something new."""
        wanted = status(self.current, self.address, self._seen, now())
        fixed = json.dumps({**wanted, "startTime": "", "conditions": [_timeless(one) for one in wanted["conditions"]]})
        if fixed == self._told:
            return
        try:
            await self.api.request("PATCH", f"{self.path}/status", {"status": wanted}, STRATEGIC)
            self._told = fixed
        except ApiError as error:
            if error.status not in (CONFLICT, NOT_FOUND):
                print(f"{self.path}: its status was refused: {error}", file=sys.stderr)

    async def write_files(self) -> None:
        """Writes what the volumes hold, each file in one step, and only what is new. Raises `MissingError`."""
        by_name = {volume["name"]: volume for volume in self.current["spec"].get("volumes") or ()}
        for mount in self._container.get("volumeMounts") or ():
            folder = self.words.path(mount["mountPath"])
            folder.mkdir(parents=True, exist_ok=True)
            wanted = volume_files(by_name[mount["name"]], self.read)
            for name, content in (wanted or {}).items():
                _write(folder / name, self._rewritten(content))
            for old in [one for one in folder.iterdir() if wanted is not None and one.is_file()]:
                if old.name not in (wanted or {}):
                    old.unlink(missing_ok=True)
        await self.prepare_network()

    def _rewritten(self, content: bytes) -> bytes:
        try:
            return self.words.content(content.decode()).encode()
        except UnicodeDecodeError:
            return content

    async def _until_there(self, attempt: Callable[[], Any]) -> bool:
        """Tries until nothing is missing: then True; False when the pod is deleted before."""
        while not self._leaving:
            try:
                await attempt()
            except (MissingError, ApiError) as error:
                print(f"{self.path}: waits: {error}", file=sys.stderr)
                await self.tell()
                await asyncio.sleep(1)
            else:
                return True
        return False

    async def _log_in(self) -> None:
        self.words.root.mkdir(parents=True, exist_ok=True)
        if not wants_login(self.current):
            return
        metadata, account = self.current["metadata"], self.current["spec"]["serviceAccountName"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 86400}}
        answer = await self.api.request("POST", path, asked)
        content = json.dumps(kubeconfig(self.api, self.layout, answer["status"]["token"]))
        _write(self.words.root / KUBECONFIG, content.encode())

    async def _prepare(self) -> None:
        await self.write_files()
        variables = environment(self.current, self.address, self.programs, self.words, self.read)
        self._command = command(self._container, self.address, self.programs, self.words), variables
        await self.prepare_network()  # also for the names that are in these

    async def _run_once(self) -> int:
        """Starts the process and probes it until it ends; returns the exit code, 128 + n after signal n."""
        arguments, variables = self._command
        (self.words.root / TERMINATION_LOG).unlink(missing_ok=True)
        with (self.words.root / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *arguments, env=variables, cwd=self.words.root, stdin=asyncio.subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
        self._see(waiting="", started_at=now(), exit_code=None)
        await self.tell()
        probing = asyncio.create_task(self._probe())
        try:
            code = await self._process.wait()
        finally:
            probing.cancel()
        return code if code >= 0 else 128 - code

    async def _probe(self) -> None:
        """Start-up probe until it passes once, then the readiness probe for ever. Liveness is not looked at."""
        startup, readiness = self._container.get("startupProbe"), self._container.get("readinessProbe")
        async with aiohttp.ClientSession(trust_env=False) as session:
            while startup and not await self._passes(session, startup):  # noqa: ASYNC110 - it is polling
                await asyncio.sleep(float(startup.get("periodSeconds", 10)))
            self._see(started=True)
            failures, period = 0, float((readiness or {}).get("periodSeconds", 10))
            while True:
                passed = readiness is None or await self._passes(session, readiness)
                failures = 0 if passed else failures + 1
                if passed or failures >= (readiness or {}).get("failureThreshold", 3):
                    self._see(ready=passed)
                await self.tell()
                settled = self._seen.ready and readiness is not None
                await asyncio.sleep(period if settled else POLL_SECONDS)

    async def _passes(self, session: aiohttp.ClientSession, probe: Object) -> bool:
        asked = probe["httpGet"]
        port = container_port(self.current, asked["port"])
        timeout = aiohttp.ClientTimeout(total=float(probe.get("timeoutSeconds", 1)))
        try:
            async with session.get(f"http://{self.address}:{port}{asked['path']}", timeout=timeout) as response:
                return response.status < 400
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _message(self) -> str:
        with suppress(OSError):
            content = (self.words.root / TERMINATION_LOG).read_bytes()
            return content[:LONGEST_MESSAGE_BYTES].decode(errors="replace")
        return ""

    def _see(self, **changes: Any) -> None:
        self._seen = replace(self._seen, **changes)


async def end(process: asyncio.subprocess.Process, grace_seconds: float) -> None:
    """Ends a process, and whatever of its session is left after it."""
    with suppress(ProcessLookupError):
        process.terminate()
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), grace_seconds)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _timeless(condition: Object) -> Object:
    return {key: value for key, value in condition.items() if key != "lastTransitionTime"}


def _write(path: Path, content: bytes) -> None:
    """Puts a file in place in one step, readable to nobody else: it may hold a key."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.touch(mode=0o600)
    draft.write_bytes(content)
    draft.replace(path)
