"""What the router costs: processor milliseconds per request of a real LiteLLM with the rendered configuration.

Each batch asks the upstream directly, then through LiteLLM alone, then through our router, so that all three meet the
same machine. LiteLLM alone has the same backends and settings, and its own check of a master key drawn for the run, but
no gateway, key check, hooks, metrics or limits of ours.
The upstream is a process of its own and counts nowhere.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import yaml

from bench.asking import KINDS, LONG, SHORT, Client, Kind
from bench.processes import cpu_seconds, end, free_port, memory_mib, server
from bench.report import Report, Table, middle
from comptroller.render.router.build import key_variable
from comptroller.render.router.litellm import litellm_config
from comptroller.render.router.plan import RouterPlan
from tests.router.plans import plans
from tests.router.running import PYTHON, RunningRouter, running, wait_until_ready
from tests.router.stubs import Upstream

KEY = "key-of-the-benchmark"
ROUTE = "single"  # one pool answers it
WARM_UP = 10
IDLE_SECONDS = 5.0
ALONE = "from litellm.proxy.proxy_cli import run_server; run_server(prog_name='litellm')"


@dataclass(frozen=True, slots=True)
class Batch:
    """Milliseconds per request of one batch. `wall` is the median of the answers, not of the processor."""

    kind: str
    router: float
    litellm_alone: float
    client_through: float
    client_direct: float
    wall_through: float
    wall_direct: float

    @property
    def ratio(self) -> float:
        """Client and router together over the client alone."""
        return (self.router + self.client_through) / self.client_direct


def measure(requests: int = 100, runs: int = 5, idle_seconds: float = IDLE_SECONDS) -> Report:
    """`requests` of each kind, in `runs` batches."""
    if not PYTHON.exists():
        return Report("router", (), {}, skipped=f"there is no LiteLLM at {PYTHON}: run `make setup`")
    size = max(1, requests // runs)
    with server(sys.executable, "-m", "bench.upstream") as (_, upstream), _routers(upstream) as (router, alone):
        started = cpu_seconds(router.process.pid)
        direct = Client(upstream, "model-one")
        through = {
            alone.process.pid: Client(alone.url, ROUTE, alone.key),
            router.process.pid: Client(router.url, ROUTE, KEY),
        }
        for kind in KINDS:
            for client in (direct, *through.values()):
                client.ask(kind, WARM_UP)
        batches = [_batch(direct, through, kind, size) for _ in range(runs) for kind in KINDS]
        for client in (direct, *through.values()):
            client.close()
        idle_from = cpu_seconds(router.process.pid)
        time.sleep(idle_seconds)
        idle = (cpu_seconds(router.process.pid) - idle_from) * 60.0 / idle_seconds
        memory, _ = memory_mib(router.process.pid)
    values = {
        "batches": [asdict(one) for one in batches],
        "requests_per_batch": size,
        "start_cpu_seconds": started,
        "idle_cpu_seconds_per_minute": idle,
        "rss_mib": memory,
    }
    return Report("router", (_table(batches, size, runs), _process(started, idle, memory)), values)


def _batch(direct: Client, through: dict[int, Client], kind: Kind, count: int) -> Batch:
    """`through` has LiteLLM alone and then our router, by their processes."""
    begun = time.process_time()
    wall_direct = median(direct.ask(kind, count))
    client_direct = time.process_time() - begun
    found = []
    for pid, client in through.items():
        begun, before = time.process_time(), cpu_seconds(pid)
        wall = median(client.ask(kind, count))
        found.append((cpu_seconds(pid) - before, time.process_time() - begun, wall))
    (alone, _, _), (router, client_through, wall_through) = found
    return Batch(
        kind.name,
        router=1000.0 * router / count,
        litellm_alone=1000.0 * alone / count,
        client_through=1000.0 * client_through / count,
        client_direct=1000.0 * client_direct / count,
        wall_through=1000.0 * wall_through,
        wall_direct=1000.0 * wall_direct,
    )


def _table(batches: list[Batch], size: int, runs: int) -> Table:
    rows = []
    for kind in KINDS:
        found = [one for one in batches if one.kind == kind.name]
        rows.append(
            (
                kind.name,
                middle(one.router for one in found),
                middle(one.litellm_alone for one in found),
                middle((one.client_through for one in found), 2),
                middle((one.client_direct for one in found), 2),
                middle(one.ratio for one in found),
                middle(one.wall_through - one.wall_direct for one in found),
            )
        )
    tokens = LONG.tokens - SHORT.tokens
    longer = [median(one.router for one in batches if one.kind == kind.name) for kind in (SHORT, LONG)]
    return Table(
        "The router, processor milliseconds per request: median (range) over batches",
        ("answer", "router", "LiteLLM alone", "client through router", "client direct", "ratio", "added wall ms"),
        tuple(rows),
        (
            f"{runs} batches of {size} requests, one after the other over one connection; one route, one pool.",
            "Ratio: client and router together over the client that asks the upstream directly.",
            f"Each further token of a stream, sent on its own: {(longer[1] - longer[0]) / tokens:.2f} ms.",
            "LiteLLM alone: the same backends, its own key check; without our gateway, hooks, metrics, limits.",
            "The wall time holds for this machine at this load only.",
        ),
    )


def _process(started: float, idle: float, memory: float) -> Table:
    return Table(
        "The router's process",
        ("", "figure"),
        (
            ("start, processor s", f"{started:.1f}"),
            ("idle, processor s per minute", f"{idle:.2f}"),
            ("resident memory, MiB", f"{memory:.0f}"),
        ),
    )


@dataclass(frozen=True, slots=True)
class Alone:
    """LiteLLM without our plugin."""

    url: str
    process: subprocess.Popen[str]
    key: str


@contextmanager
def _routers(upstream: str) -> Iterator[tuple[RunningRouter, Alone]]:
    address = {name: Upstream(name, port=int(upstream.rsplit(":", 1)[1])) for name in ("one", "two", "outside")}
    plan = plans(address)["open"]
    environment = {key_variable("outside"): "unused"}
    with tempfile.TemporaryDirectory(prefix="bench-router-") as name:
        folder, keys = Path(name), {"team-a": {"first": KEY}}
        with _alone(folder, plan, environment) as alone, running(folder / "own", plan, keys, environment) as router:
            wait_until_ready(router)
            wait_until_ready(RunningRouter(alone.url, folder / "own", alone.process))  # type: ignore[arg-type]
            yield router, alone


@contextmanager
def _alone(folder: Path, plan: RouterPlan, environment: dict[str, str]) -> Iterator[Alone]:
    config = yaml.safe_load(litellm_config(plan))
    config.pop("x_comptroller")
    config["litellm_settings"].pop("callbacks")
    config["general_settings"].pop("custom_auth")
    (folder / "alone.yaml").write_text(yaml.safe_dump(config))
    port, key = free_port(), "sk-" + secrets.token_urlsafe(48)
    command = [str(PYTHON), "-c", ALONE, f"--config={folder / 'alone.yaml'}", "--host=127.0.0.1", f"--port={port}"]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LITELLM_LOG": "WARNING",
        "LITELLM_MASTER_KEY": key,
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **environment,
    }
    with (folder / "alone.log").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "--num_workers=1", "--telemetry=False"], env=environment, stdout=log, stderr=log, text=True
        )
        try:
            yield Alone(f"http://127.0.0.1:{port}", process, key)
        finally:
            end(process)
