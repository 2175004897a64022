"""What the operator costs as a process on a real API server: from cold to converged, while nothing happens, per change.

The control plane is real (etcd, API server, controllers, scheduler), as is Prometheus; nodes and their pods are
simulated by kwok, and this process plays the routers' metrics. Writes are counted in the API server's audit log, not
by the operator. The module is not called operator.py: run by its path, that would shadow the standard library's.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.conditions import ROOT
from bench.processes import cpu_seconds, memory_mib
from bench.report import Report, Table, middle
from tests.api.conftest import BINARIES, CLUSTER, ApiServer
from tests.api.operator_objects import hosted_pool, local_pool, policy
from tests.api.operator_process import (
    ACCOUNT,
    CLASS_LABEL,
    WRITES,
    Operator,
    Prometheus,
    Routers,
    gpu_node,
    login,
    prometheus_program,
)

GPU_CLASS = "bench-gpu"
NAMESPACE = "bench"
POOLS_PER_POLICY = 5
PODS_PER_NODE = 100
REQUESTS_PER_SECOND = 3.0  # per policy: one replica of one pool answers them
TICK_SECONDS = 1.0
RATE_WINDOW_SECONDS = 5
QUIET_SECONDS = 4.0  # without a write: that was it
SAMPLE_SECONDS = 0.2
PATIENCE_SECONDS = 90.0
DEFAULT_TICK_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Settled:
    """What the operator did until it was quiet: processor and wall seconds up to its last write."""

    cpu_seconds: float
    wall_seconds: float
    writes: int


@dataclass(frozen=True, slots=True)
class Idle:
    """A while in which nothing happened."""

    wall_seconds: float
    cpu_seconds: float
    writes: int
    reads: int
    decisions: int


class Watched:
    """The operator's process with its writes in the audit log."""

    def __init__(self, log: Path, pid: int) -> None:
        self.pid = pid
        self._log = log.open("rb")
        self.seen: list[tuple[str, str]] = []  # verb and what, of every request

    def close(self) -> None:
        self._log.close()

    def writes(self) -> int:
        """How many so far."""
        self._read()
        return sum(verb in WRITES for verb, _ in self.seen)

    def reads(self) -> int:
        self._read()
        return len(self.seen) - self.writes()

    def kinds(self) -> dict[str, int]:
        """Writes by verb and kind."""
        return dict(Counter(f"{verb} {what}" for verb, what in self.seen if verb in WRITES).most_common())

    def _read(self) -> None:
        while line := self._log.readline():
            if not line.endswith(b"\n"):
                self._log.seek(-len(line), os.SEEK_CUR)  # still being written
                return
            if ACCOUNT.encode() in line and (event := json.loads(line))["user"]["username"] == ACCOUNT:
                what = event.get("objectRef") or {}
                kind = "/".join(one for one in (what.get("resource"), what.get("subresource")) if one)
                self.seen.append((event["verb"], kind))

    def until_quiet(self, is_done: Callable[[], bool], since: tuple[float, float, int]) -> Settled:
        """Waits until it is done and has not written for a while. `since`: wall, processor and writes before."""
        wall, cpu, count = since
        last = (time.monotonic(), cpu_seconds(self.pid), self.writes())
        while time.monotonic() - last[0] < QUIET_SECONDS or last[2] == count or not is_done():
            if time.monotonic() - wall > PATIENCE_SECONDS:
                raise TimeoutError("the operator does not come to rest")
            time.sleep(SAMPLE_SECONDS)
            now = (time.monotonic(), cpu_seconds(self.pid), self.writes())
            last = now if now[2] != last[2] else last
        return Settled(last[1] - cpu, last[0] - wall, last[2] - count)

    def now(self) -> tuple[float, float, int]:
        """Wall, processor and writes."""
        return time.monotonic(), cpu_seconds(self.pid), self.writes()


def measure(pools: int = 50, runs: int = 5, idle_seconds: float = 10.0) -> Report:
    """A fleet of so many pools; `runs` changes of one object."""
    if not (BINARIES / "kube-apiserver").exists():
        return Report("operator", (), {}, skipped="the API server is not built: run `make setup`")
    prometheus_program()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-operator-")))
        server = stack.enter_context(_control_plane(folder / "cluster"))
        routers = Routers()
        stack.callback(routers.close)
        policies = _apply_fleet(server, pools)
        for name in policies:
            routers.drive(f"{NAMESPACE}/{name}", chat=REQUESTS_PER_SECOND)
        (folder / "prometheus").mkdir()
        prometheus = Prometheus(folder / "prometheus", routers.port)
        prometheus.start()
        stack.callback(prometheus.stop)
        time.sleep(2 * RATE_WINDOW_SECONDS)  # a full window of data, as a cluster has it whose operator restarts
        operator = Operator(folder, login(server, folder), _settings(prometheus.url))
        begun = time.monotonic()
        stack.callback(_end, operator)
        operator.start()
        return _measured(server, operator, begun, pools, runs, idle_seconds)


def _measured(
    server: ApiServer, operator: Operator, begun: float, pools: int, runs: int, idle_seconds: float
) -> Report:
    assert operator.process is not None  # noqa: S101 - it was started
    with closing(Watched(server.audit_log, operator.process.pid)) as watched:
        cold = watched.until_quiet(lambda: _all_ready(server), (begun, 0.0, 0))
        kinds = watched.kinds()
        idle = _idle(watched, operator, idle_seconds)
        now, most = memory_mib(watched.pid)
        changes = [_change(server, watched, number, idle) for number in range(min(runs, pools - pools // 10))]
    values = {
        "pools": pools,
        "cold": asdict(cold),
        "writes_by_kind": kinds,
        "idle": asdict(idle),
        "rss_mib": now,
        "rss_most_mib": most,
        "changes": [asdict(one) for one in changes],
        "tick_seconds": TICK_SECONDS,
        "complaints": operator.complaints(),
    }
    return Report("operator", (_table(pools, cold, idle, (now, most), changes, kinds),), values)


def _table(
    pools: int, cold: Settled, idle: Idle, memory: tuple[float, float], changes: list[Settled], kinds: dict[str, int]
) -> Table:
    per_decision = idle.cpu_seconds / max(idle.decisions, 1)
    return Table(
        f"The operator's process, {pools} pools in {len(_policies(pools))} policies",
        ("", "figure"),
        (
            ("cold to converged, processor s", f"{cold.cpu_seconds:.2f}"),
            ("  the same on the wall, s", f"{cold.wall_seconds:.1f}"),
            ("  writes to the API server", str(cold.writes)),
            ("idle, processor s per minute", f"{60 * idle.cpu_seconds / idle.wall_seconds:.2f}"),
            ("  decisions and reads in that time", f"{idle.decisions} and {idle.reads}"),
            ("  processor ms per decision", f"{1000 * per_decision:.0f}"),
            ("  writes in that time", str(idle.writes)),
            ("resident memory, MiB", f"{memory[0]:.0f} (most {memory[1]:.0f})"),
            ("one changed pool, processor ms", middle((1000 * one.cpu_seconds for one in changes), 0)),
            ("  writes", middle((one.writes for one in changes), 0)),
        ),
        (
            f"Idle: {idle.wall_seconds:.0f} s at a tick of {TICK_SECONDS:g} s, fifteen times as often as by default;",
            f"at {DEFAULT_TICK_SECONDS:g} s the same decisions would take about "
            f"{per_decision * 60 / DEFAULT_TICK_SECONDS:.2f} s per minute (computed, without lists anew).",
            "A changed pool: min 1 -> 2 and its new replica ready, up to the last write, less what idling takes.",
            "First writes: " + ", ".join(f"{count} {kind}" for kind, count in list(kinds.items())[:6]),
        ),
    )


def _idle(watched: Watched, operator: Operator, seconds: float) -> Idle:
    decisions, reads = operator.metric("comptroller_decisions_total"), watched.reads()
    wall, cpu, writes = watched.now()
    time.sleep(seconds)
    wall_after, cpu_after, writes_after = watched.now()
    return Idle(
        wall_after - wall,
        cpu_after - cpu,
        writes_after - writes,
        watched.reads() - reads,
        int(operator.metric("comptroller_decisions_total") - decisions),
    )


def _change(server: ApiServer, watched: Watched, number: int, idle: Idle) -> Settled:
    """One more replica of one pool, as a user asks for it."""
    since = watched.now()
    patch = json.dumps({"spec": {"local": {"replicas": {"min": 2}}}})
    name = f"modelpool/{_local_name(number)}"
    server.kubectl("patch", name, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")
    found = watched.until_quiet(lambda: True, since)
    idling = idle.cpu_seconds / idle.wall_seconds * found.wall_seconds
    return Settled(max(0.0, found.cpu_seconds - idling), found.wall_seconds, found.writes)


def _all_ready(server: ApiServer) -> bool:
    items = server.get("modelpools,routingpolicies", f"--namespace={NAMESPACE}")["items"]
    return all(_is_ready(one) for one in items)


def _is_ready(item: dict[str, Any]) -> bool:
    found = (item.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in found)


def _local_name(number: int) -> str:
    return f"own-{number:03}"


def _policies(pools: int) -> list[str]:
    return [f"policy-{number:02}" for number in range(math.ceil(pools / POOLS_PER_POLICY))]


def _apply_fleet(server: ApiServer, pools: int) -> list[str]:
    """Nodes, pools (a tenth of them hosted) and policies; returns the policies' names."""
    hosted = [f"api-{number:02}" for number in range(max(1, pools // 10))]
    own = [_local_name(number) for number in range(pools - len(hosted))]
    policies = _policies(pools)
    objects = [local_pool(name, GPU_CLASS, performance=_speed(number)) for number, name in enumerate(own)]
    objects += [hosted_pool(name) for name in hosted]
    for number, name in enumerate(policies):
        objects.append(policy(name, *own[number :: len(policies)], hosted[number % len(hosted)]))
    secrets = [_secret("research-keys", "client"), *(_secret(name, "api-key") for name in hosted)]
    server.kubectl("create", "namespace", NAMESPACE)
    nodes = 1 + 3 * pools // PODS_PER_NODE
    server.apply(*(_node(f"{GPU_CLASS}-{number}", 3 * pools // nodes + 1) for number in range(nodes)))
    server.apply(*secrets, *objects, namespace=NAMESPACE)
    return policies


def _speed(number: int) -> dict[str, Any]:
    """Pools of real fleets differ; equal ones would be a riddle of its own to a solver."""
    return {"alphaMs": f"{6 + number / 20:.2f}", "betaMs": "0.05", "gammaMs": "0.0004", "maxConcurrency": 64}


def _node(name: str, gpus: int) -> dict[str, Any]:
    node = gpu_node(name, gpus)
    node["metadata"]["labels"][CLASS_LABEL] = GPU_CLASS
    return node


def _secret(name: str, key: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {key: "of-no-use"}}


def _settings(prometheus_url: str) -> dict[str, Any]:
    return {
        "prometheus": {
            "url": prometheus_url,
            "rateWindowSeconds": RATE_WINDOW_SECONDS,
            "peakWindowSeconds": RATE_WINDOW_SECONDS,
        },
        "loop": {"tickSeconds": TICK_SECONDS, "restartHoldSeconds": RATE_WINDOW_SECONDS},
        "gpuClasses": {
            GPU_CLASS: {
                "nodeSelector": {CLASS_LABEL: GPU_CLASS},
                "memoryGib": 80,
                "idleWatts": 100,
                "busyWatts": 600,
                "priceUsd": "30000",
                "rentUsdPerHour": "4",
                "alphaMs": 6,
                "betaMs": 0.05,
                "gammaMs": 0.0004,
            }
        },
        "watchNamespaces": [NAMESPACE],
    }


@contextmanager
def _control_plane(state: Path) -> Iterator[ApiServer]:
    """A cluster of our own with the CRDs; it ends with this process, whatever happens to it."""
    _cluster(state, "up", "--control-plane-only", "--audit", "--kwok", f"--owner={os.getpid()}")
    try:
        server = ApiServer(state / "run" / "kubeconfig", state / "run" / "logs" / "audit.jsonl")
        server.kubectl("apply", "--server-side", f"--filename={ROOT / 'crds'}")
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        yield server
    finally:
        _cluster(state, "down")


def _cluster(state: Path, *arguments: str) -> None:
    command = [sys.executable, str(CLUSTER), f"--state={state}", f"--bin={BINARIES}", *arguments]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603


def _end(operator: Operator) -> None:
    if operator.process is not None:
        operator.end()
