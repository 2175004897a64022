"""Builders: the least that makes a snapshot, with names for what a test is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comptroller.allocation.decision import Decision
from comptroller.allocation.snapshot import (
    BackendRule,
    Budget,
    Demand,
    HostedPool,
    LocalPool,
    Measurement,
    Memory,
    Outlook,
    Profile,
    Route,
    Rules,
    Sample,
    Snapshot,
    StartingReplica,
    Unknown,
)

H100 = Profile(alpha_ms=5.5, beta_ms=0.04, gamma_ms=0.00016, max_concurrency=64)


def local(name: str = "own", **changes: Any) -> LocalPool:
    """An owned H100 pool with nothing running: 7.91 requests/s per replica for the default route, 8.55 kept full."""
    starting = tuple(StartingReplica(60.0) for _ in range(changes.pop("starting", 0)))
    pool = LocalPool(
        key=f"ai/{name}", model=name, gpu_class="h100", gpus_per_replica=1, jurisdiction="EU", perimeter="onPremises",
        minimum=0, maximum=8, serving=0, starting=starting, previous=None, profile=H100, startup_seconds=180.0,
        idle_usd_per_replica_hour=0.03, busy_extra_usd_per_replica_hour=0.13,
    )  # fmt: skip
    return replace(pool, **changes)


def hosted(name: str = "api", **changes: Any) -> HostedPool:
    """A dear API: $0.00675 for a default request, $24.30/h for each request per second."""
    pool = HostedPool(
        key=f"ai/{name}", model=name, jurisdiction="US", perimeter="external", input_usd_per_million_tokens=3.0,
        cached_input_usd_per_million_tokens=0.3, output_usd_per_million_tokens=15.0,
    )  # fmt: skip
    return replace(pool, **changes)


def demand(rps: float | Measurement, peak: float | Measurement | None = None, **changes: Any) -> Demand:
    """1000 tokens in, 250 out; the peak is the mean unless given."""
    rate = rps if isinstance(rps, Sample | Unknown) else Sample(float(rps))
    top = rate if peak is None else peak if isinstance(peak, Sample | Unknown) else Sample(float(peak))
    return replace(Demand(rate, 1000.0, 250.0, peak_requests_per_second=top), **changes)


def route(name: str = "chat", *pools: str, rps: float | Measurement = 1.0, **changes: Any) -> Route:
    """A route over the named pools: first token within 800 ms, 30 ms per output token, p95."""
    asked = changes.pop("demand", None) or demand(rps, changes.pop("peak", None))
    one = Route(
        key=f"ai/policy/{name}", name=name, policy="ai/policy", demand=asked,
        backends=tuple(BackendRule(f"ai/{pool}") for pool in pools or ("own", "api")),
        time_to_first_token_ms=800.0, time_per_output_token_ms=30.0,
    )  # fmt: skip
    return replace(one, **changes)


def outlook(*scenarios: Mapping[str, float], probabilities: tuple[float, ...] = ()) -> Outlook:
    """Equally likely scenarios, each the requests/s by name of the route."""
    names = sorted({name for one in scenarios for name in one})
    return Outlook(
        probabilities or tuple(1.0 / len(scenarios) for _ in scenarios),
        {f"ai/policy/{name}": tuple(float(one[name]) for one in scenarios) for name in names},
    )


def budget(left: float | Measurement, hours: float = 1.0, *names: str, **changes: Any) -> Budget:
    """A binding budget of the named routes (`chat` unless given) with so many dollars left for so many hours."""
    remaining = left if isinstance(left, Sample | Unknown) else Sample(float(left))
    parts = {f"ai/policy/{name}": 1.0 for name in names or ("chat",)}
    return replace(Budget("ai/policy", parts, remaining, 3600.0 * hours), **changes)


def snapshot(*things: LocalPool | HostedPool | Route, gpus: float | Measurement = 64.0, **changes: Any) -> Snapshot:
    """A snapshot at second 1000; every GPU class that occurs has `gpus` GPUs."""
    pools = tuple(one for one in things if isinstance(one, LocalPool))
    found = gpus if isinstance(gpus, Sample | Unknown) else Sample(float(gpus))
    made = Snapshot(
        at_seconds=1000.0,
        local_pools=pools,
        hosted_pools=tuple(one for one in things if isinstance(one, HostedPool)),
        routes=tuple(one for one in things if isinstance(one, Route)),
        gpus={(pool.gpu_class, pool.site): found for pool in pools},
        rules=Rules(),
        memory=Memory(),
    )
    return replace(made, **changes)


def planned_state(before: Snapshot, decision: Decision, *, ready: bool = False, after_seconds: float = 0.0) -> Snapshot:
    """The world once the decision has been applied: its replicas exist; with `ready` they all serve."""
    pools = []
    for pool in before.local_pools:
        target = decision.pools[pool.key].replicas
        serving = target if ready else min(pool.serving, target)
        pools.append(
            replace(
                pool,
                serving=serving,
                previous=target,
                starting=tuple(StartingReplica(60.0) for _ in range(target - serving)),
            )
        )
    return replace(
        before, local_pools=tuple(pools), memory=decision.memory, at_seconds=before.at_seconds + after_seconds
    )
