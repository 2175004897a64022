"""What a simulated GPU engine costs: the demo runs several on two cores, so their processor time must be small."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

from bench.asking import KINDS, Client
from bench.processes import cpu_seconds, memory_mib, server
from bench.report import Report, Table, middle

FAST = ("--alpha-ms=1", "--beta-ms=0.001", "--gamma-ms=0")  # hardly any waiting; the work per request is the same
WARM_UP = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """Processor milliseconds per request of one batch."""

    kind: str
    engine: float


def measure(requests: int = 100, runs: int = 5) -> Report:
    """`requests` of each kind, in `runs` batches."""
    size = max(1, requests // runs)
    with server(sys.executable, "-m", "e2e.engines.gpu_engine", "--port=0", *FAST) as (process, address):
        client = Client(address, "model")
        for kind in KINDS:
            client.ask(kind, WARM_UP)
        batches = []
        for _ in range(runs):
            for kind in KINDS:
                before = cpu_seconds(process.pid)
                client.ask(kind, size)
                batches.append(Batch(kind.name, 1000.0 * (cpu_seconds(process.pid) - before) / size))
        client.close()
        memory, _ = memory_mib(process.pid)
    table = Table(
        "The simulated engine, processor milliseconds per request: median (range) over batches",
        ("answer", "engine"),
        tuple((kind.name, middle((b.engine for b in batches if b.kind == kind.name), 2)) for kind in KINDS),
        (
            f"{runs} batches of {size} requests, one after the other; resident memory {memory:.0f} MiB.",
            "Alone in its batch a request pays for every iteration; under load they are shared.",
        ),
    )
    return Report("engine", (table,), {"batches": [asdict(one) for one in batches], "rss_mib": memory})
