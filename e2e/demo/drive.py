"""Phases 3 to 7, against the cluster of $KUBECONFIG: apply, replay, cool down, sum up, judge."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from rich.console import Console

from e2e.demo import fleet, scenario
from e2e.demo.kube import Kube, KubeError, connect
from e2e.demo.observe import Observation
from e2e.demo.progress import PhaseError, note, phase, say
from e2e.demo.replay import Clients, Watch, prefix_tokens, start_clients, watch_until
from e2e.demo.summary import FrontierPrice, as_json, lines, summarise
from e2e.demo.table import Screen
from e2e.demo.trace import load_step, read_windows, scaled_rates, schedule
from e2e.demo.verdict import Check, Evidence, checks, replicas_before
from e2e.processes.reach import LocalReach

LAST_ANSWERS_SECONDS = 60.0
COOL_DOWN_SECONDS = 100.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--own-cluster", action="store_true", help="it is our test cluster: reserve its GPU nodes")
    parser.add_argument("--remove", action="store_true", help="take away what was applied when it is over")
    parser.add_argument("--report", type=Path, help="write the summary there, as JSON")
    parser.add_argument("--replay-only", action="store_true", help="the fleet is there from an earlier run")
    parser.add_argument("--processes", type=Path, metavar="DIR", help="pods are local processes of the cluster there")
    given = parser.parse_args()
    try:
        with connect(LocalReach(given.processes) if given.processes else None) as kube:
            if not given.replay_only:
                fleet.claim(kube)  # what was not claimed is not removed
            try:
                return tell(kube, given)
            finally:
                if given.remove:
                    fleet.remove()
    except (PhaseError, KubeError, httpx.HTTPError) as error:
        say(f"demo: {error}")
        return 2
    except KeyboardInterrupt:
        say("demo: interrupted")
        return 130


def tell(kube: Kube, given: argparse.Namespace) -> int:
    """The story; returns the exit code."""
    if not given.replay_only:
        with phase(3, "CRDs, hosted APIs, Prometheus, operator"):
            if given.own_cluster:
                fleet.reserve_gpu_nodes(kube)
            fleet.make_keys(kube)
            fleet.install(kube)
        with phase(4, "the quickstart: pools, policy, warm-up, until all are Ready"):
            fleet.apply_quickstart(kube)
    seen, price = replay(kube)
    routes_with_prefix = [route.name for route in scenario.ROUTES if route.prefix]
    summary = summarise(seen, price, dict.fromkeys(routes_with_prefix, prefix_tokens()))
    verdict = checks(seen)
    if given.report:
        given.report.write_text(json.dumps(as_json(summary, verdict), indent=1, default=str) + "\n")
    print_end(lines(summary), verdict)
    return 0 if all(check.passed for check in verdict) else 1


def replay(kube: Kube) -> tuple[Evidence, FrontierPrice]:
    """Phases 5 and 6: the load, and what the fleet makes of it."""
    windows, stretch = read_windows(scenario.TRACE), scenario.STRETCH
    requests = schedule(windows, stretch, scenario.ROUTES)
    step = load_step(scaled_rates(windows, stretch, scenario.ROUTES), stretch.window_seconds)
    total = stretch.seconds
    console = Console()
    what = (
        f"replay: {stretch.windows * 10} minutes of production traffic in {total:.0f} s, {len(requests)} requests, "
        f"load step after {step:.0f} s"
    )
    watch = Watch(kube)
    with phase(5, what):
        clients = start_clients(kube, requests)
        with Screen(console, "replay", total) as screen:

            def show(seen: Observation) -> None:
                screen.show(seen, clients.results)

            if not watch_until(watch, clients, lambda _: clients.ended, show, total + LAST_ANSWERS_SECONDS):
                raise PhaseError("the last answers did not come: kubectl -n demo logs job/load")
    with phase(6, "cool-down: until the replicas that the load needed are gone"):
        cool_down(watch, clients, console, step)
    restricted = frozenset(route.name for route in scenario.ROUTES if route.restricted)
    evidence = Evidence(watch.observations, clients.results, step, total, len(requests), restricted, watch.canaries())
    return evidence, frontier_price(kube)


def cool_down(watch: Watch, clients: Clients, console: Console, step: float) -> None:
    began = time.monotonic() - (clients.started or 0.0)
    partial = Evidence(watch.observations, (), step, began, 0, frozenset(), None)
    before = replicas_before(partial)
    with Screen(console, "cool-down", began + COOL_DOWN_SECONDS) as screen:
        watch_until(
            watch,
            clients,
            lambda seen: seen.desired <= before and seen.ready <= before,
            lambda seen: screen.show(seen, clients.results),
            began + COOL_DOWN_SECONDS,
        )


def frontier_price(kube: Kube) -> FrontierPrice:
    """The dearest hosted pool: what answering everything there would cost."""
    pools = [one for one in fleet.fleet_objects(kube) if one["kind"] == "ModelPool" and "hosted" in one["spec"]]
    dearest = max(pools, key=lambda one: float(one["spec"]["hosted"]["prices"]["outputUsdPerMillionTokens"]))
    prices = dearest["spec"]["hosted"]["prices"]
    uncached = prices["inputUsdPerMillionTokens"]
    return FrontierPrice(
        dearest["spec"]["model"]["name"],
        float(uncached),
        float(prices.get("cachedInputUsdPerMillionTokens") or uncached),
        float(prices["outputUsdPerMillionTokens"]),
    )


def print_end(rows: Sequence[tuple[str, str]], verdict: Sequence[Check]) -> None:
    say("[7/7] summary")
    width = max(len(label) for label, _ in rows)
    for label, text in rows:
        note(f"{label:{width}}  {text}")
    say("")
    for check in verdict:
        say(f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.detail}")
        if not check.passed:
            say(f"       look at: {check.look_at}")


if __name__ == "__main__":
    sys.exit(main())
