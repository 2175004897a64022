"""Runs the load generator in the cluster and watches the fleet meanwhile."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import yaml

from e2e.demo import scenario
from e2e.demo.fleet import HERE, KINDS, MANIFESTS, REPOSITORY
from e2e.demo.kube import Kube, KubeError, apply, kubectl
from e2e.demo.observe import Observation, observation
from e2e.demo.progress import PhaseError, wait
from e2e.demo.results import Result, result
from e2e.demo.trace import PlannedRequest

HOSTED_APIS = ("anthropic", "openai")
PREFIX_FILE = REPOSITORY / "examples" / "quickstart" / scenario.PREFIX
ROUTER_USD = "sum by (pool, pod) (comptroller_router_usd_total)"
ARRIVALS = "sum by (route) (rate(comptroller_router_requests_total[10s]))"


@dataclass(slots=True)
class Clients:
    """The load generator's pod: its start, its results as they come, its end."""

    hosted_by_pool: dict[str, bool]
    results: list[Result] = field(default_factory=list)
    started: float | None = None  # of time.monotonic()
    ended: bool = False
    problem: str = ""

    def follow(self, kube: Kube, pod: str) -> None:
        """Reads the pod's log until its last line. A connection that breaks is taken up again where it was."""
        read = 0
        while not self.ended and not self.problem:
            try:
                for index, line in enumerate(kube.log_lines("demo", pod)):
                    if index >= read:
                        read = index + 1
                        self._take(line)
            except (httpx.HTTPError, KubeError):
                time.sleep(1)
            if not self.ended and _phase(kube, pod) in ("Failed", "Succeeded"):
                self.problem = "the load generator ended before its schedule did: kubectl -n demo logs job/load"

    def _take(self, text: str) -> None:
        try:
            line = json.loads(text)
        except ValueError:
            return  # a traceback: the phase of the pod tells
        if line["event"] == "start":
            self.started = time.monotonic()
        elif line["event"] == "request":
            self.results.append(result(line, self.hosted_by_pool))
        elif line["event"] == "end":
            self.ended = True


class Watch:
    """Takes observations. Ledgers and counters count from the moment it was made."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._books_before = self._books()
        self._router_before = self._router_usd() or {}
        self._router_last = dict(self._router_before)
        self.observations: list[Observation] = []

    def look(self, at: float) -> Observation:
        """One more observation; when something does not answer, the part that it would have said is the last known."""
        last = self.observations[-1] if self.observations else Observation(at)
        try:
            seen = observation(
                at,
                self._kube.items(f"{KINDS}/modelpools"),
                self._kube.items(f"{KINDS}/routingpolicies"),
                self.books(),
                self.router_usd(),
                self.arrivals(),
            )
        except KubeError:
            seen = replace(last, at=at)
        self.observations.append(seen)
        return seen

    def books(self) -> list[dict[str, Any]]:
        """What the hosted APIs have charged since the start, by their own ledgers."""
        pairs = zip(self._books(), self._books_before, strict=True)
        return [
            {
                "requests": now["requests"] - before["requests"],
                "usd": float(now["usd"]) - float(before["usd"]),
                "canary_requests": now["canary_requests"] - before["canary_requests"],
            }
            for now, before in pairs
        ]

    def canaries(self) -> int | None:
        try:
            return sum(int(book["canary_requests"]) for book in self.books())
        except KubeError:
            return None

    def router_usd(self) -> float | None:
        """What the routers have counted for hosted pools since the start, also those pods that are gone by now."""
        now = self._router_usd()
        if now is None:
            return None
        self._router_last |= now
        return sum(usd - self._router_before.get(key, 0.0) for key, usd in self._router_last.items())

    def arrivals(self) -> dict[str, float]:
        """Requests per second by route over the last ten seconds; nothing when Prometheus does not answer."""
        return {one["metric"].get("route", ""): float(one["value"][1]) for one in self._query(ARRIVALS) or ()}

    def _query(self, expression: str) -> list[dict[str, Any]] | None:
        try:
            answer = self._kube.service("monitoring", "prometheus", 9090, "/api/v1/query", query=expression)
        except KubeError:
            return None
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def _books(self) -> list[dict[str, Any]]:
        return [self._kube.service("hosted-apis", name, 8080, "/ledger") for name in HOSTED_APIS]

    def _router_usd(self) -> dict[tuple[str, str], float] | None:
        """Dollars by (hosted pool, router pod), as Prometheus has them."""
        hosted = {name for name, is_hosted in pools_by_hosted(self._kube).items() if is_hosted}
        series = self._query(ROUTER_USD)
        if series is None:
            return None
        counted = {(one["metric"].get("pool", ""), one["metric"].get("pod", "")): one["value"][1] for one in series}
        return {key: float(usd) for key, usd in counted.items() if key[0].rsplit("/")[-1] in hosted}


def pools_by_hosted(kube: Kube) -> dict[str, bool]:
    return {one["metadata"]["name"]: "hosted" in one["spec"] for one in kube.items(f"{KINDS}/modelpools")}


def endpoints(kube: Kube) -> dict[str, str]:
    """Where clients ask for each route: base URL up to and including /v1."""
    policy = kube.get(f"{KINDS}/routingpolicies/research")
    routes = (policy.get("status") or {}).get("routes") or ()
    found = {route["name"]: str(route.get("endpoint") or "").rstrip("/") for route in routes}
    missing = [route.name for route in scenario.ROUTES if not found.get(route.name)]
    if missing:
        raise PhaseError(f"status.routes of policy research has no endpoint for {missing[0]}")
    return {name: url if url.endswith("/v1") else f"{url}/v1" for name, url in found.items()}


def start_clients(kube: Kube, requests: Sequence[PlannedRequest]) -> Clients:
    """Starts the Job and a thread that reads its log; returns when the first request is about to be sent."""
    schedule = schedule_document(requests, endpoints(kube))
    kubectl("--namespace=demo", "delete", "job/load", "--ignore-not-found", "--wait=true")
    files = {
        "load.py": (HERE / "load.py").read_text(),
        "schedule.json": json.dumps(schedule, separators=(",", ":")),
        "prefix.md": PREFIX_FILE.read_text(),
    }
    job: dict[str, Any] = yaml.safe_load((MANIFESTS / "load.yaml").read_text())
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "load", "namespace": "demo"}, "data": files})
    apply(job)
    pods: list[str] = []

    def missing() -> list[str]:
        found = kube.items("/api/v1/namespaces/demo/pods", labelSelector="job-name=load")
        names = [one["metadata"]["name"] for one in found if one["status"].get("phase") not in (None, "Pending")]
        pods[:] = names
        return [] if names else ["the load generator's pod"]

    wait("the start of the load generator", missing, 60, poll_seconds=0.3)
    clients = Clients(pools_by_hosted(kube))
    threading.Thread(target=clients.follow, args=(kube, pods[0]), daemon=True).start()
    wait("the first request", lambda: [] if clients.started or clients.problem else ["the first request"], 30, 0.1)
    return clients


def schedule_document(requests: Sequence[PlannedRequest], urls: dict[str, str]) -> dict[str, Any]:
    """What the load generator reads."""
    routes = {
        route.name: {
            "endpoint": urls[route.name],
            "prefix": route.prefix is not None,
            "marker": scenario.CANARY if route.restricted else None,
        }
        for route in scenario.ROUTES
    }
    planned = [
        {
            "at": one.at,
            "route": one.route,
            "number": one.number,
            "question_tokens": one.question_tokens,
            "answer_tokens": one.answer_tokens,
        }
        for one in requests
    ]
    return {"routes": routes, "requests": planned}


def watch_until(
    watch: Watch,
    clients: Clients,
    done: Callable[[Observation], bool],
    show: Callable[[Observation], None],
    limit: float,
) -> bool:
    """Observes every one and a half seconds until `done`, or until `limit` seconds of the replay: then False."""
    started = clients.started or time.monotonic()
    while True:
        began = time.monotonic()
        seen = watch.look(began - started)
        show(seen)
        if clients.problem:
            raise PhaseError(clients.problem)
        if done(seen):
            return True
        if seen.at > limit:
            return False
        time.sleep(max(0.1, 1.5 - (time.monotonic() - began)))


def prefix_tokens() -> int:
    return -(-len(Path(PREFIX_FILE).read_bytes()) // 4)


def _phase(kube: Kube, pod: str) -> str:
    try:
        found: str = kube.get(f"/api/v1/namespaces/demo/pods/{pod}")["status"].get("phase", "")
    except KubeError:
        return ""
    return found
