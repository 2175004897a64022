"""The operator as a real process beside a real Prometheus, and the world in which tests watch both.

The test process plays the routers: it serves their metrics, with the traffic that the test wants. Everything else is
real: the operator logs in as the service account of the demo, with no more rights than that has.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import urlopen

import yaml

from e2e.images.debian import take_out

if TYPE_CHECKING:
    from tests.api.conftest import ApiServer

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = REPOSITORY / ".cluster" / "programs"
RIGHTS = REPOSITORY / "e2e" / "demo" / "manifests" / "operator" / "rbac.yaml"
HOME = "comptroller-system"
ACCOUNT = f"system:serviceaccount:{HOME}:comptroller"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
KINDS = "modelpools,routingpolicies,cachewarmups"
CLASS_LABEL = "test.comptroller.dev/class"
ROUTERS = 4  # pods of one router, at most: each names its routes
RATE_WINDOW_SECONDS = 5
PEAK_WINDOW_SECONDS = 20
SCALE_DOWN_DELAY_SECONDS = 6
WARM = {
    "prefixes": [{"name": "first", "tokens": 2100, "cold_ms": 900, "warm_ms": 60, "hit_ratio": 0.98}],
    "warm": True,
    "error": "",
}

Found = TypeVar("Found")


def until(what: str, ask: Callable[[], Found], seconds: float = 45) -> Found:
    """Asks until the answer is true, and returns it. An AssertionError of the question counts as no."""
    end, last = time.monotonic() + seconds, "never true"
    while True:
        try:
            if answer := ask():
                return answer
            last = f"last answer: {answer!r}"
        except AssertionError as error:
            last = str(error)
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what} ({last})")
        time.sleep(0.2)


def steadily(what: str, ask: Callable[[], object], seconds: float) -> None:
    """Asks for so long that nothing changes, which is the only use of time as such in these tests."""
    end, first = time.monotonic() + seconds, ask()
    while time.monotonic() < end:
        time.sleep(0.3)
        now = ask()
        assert now == first, f"{what} changed: {first!r} -> {now!r}"


@dataclass(slots=True)
class Traffic:
    """The counters of one route in its router."""

    requests_per_second: float = 0.0
    input_tokens: float = 1000.0
    output_tokens: float = 250.0
    requests: float = 0.0
    at: float = field(default_factory=time.time)
    lies: list[float] = field(default_factory=list)  # told instead of the count, one per scrape

    def count(self) -> float:
        now = time.time()
        self.requests += self.requests_per_second * (now - self.at)
        self.at = now
        return self.requests


@dataclass(slots=True)
class Verdicts:
    """The counters of what a judge says of one pool on one route."""

    per_second: dict[str, float] = field(default_factory=lambda: {"pass": 0.0, "fail": 0.0, "error": 0.0})
    counts: dict[str, float] = field(default_factory=lambda: {"pass": 0.0, "fail": 0.0, "error": 0.0})
    at: float = field(default_factory=time.time)

    def count(self) -> dict[str, float]:
        now = time.time()
        for verdict, rate in self.per_second.items():
            self.counts[verdict] += rate * (now - self.at)
        self.at = now
        return self.counts


class Routers:
    """Serves what routers serve under /metrics. A route that is driven at 0 still shows that it is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: dict[tuple[str, str], Traffic] = {}
        self._verdicts: dict[tuple[str, str, str], Verdicts] = {}  # policy, route, pool
        self._lives: dict[str, int] = {}  # policy -> how often its router's pod was replaced
        self._budgets: dict[tuple[str, str, str], tuple[float, float]] = {}  # policy, scope, name -> spent, end
        routers = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = routers.metrics().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def drive(self, policy: str, **requests_per_second: float) -> None:
        """From now on so many requests per second arrive, by route (`_` in a keyword is `-` in the route's name)."""
        with self._lock:
            self._lives.setdefault(policy, 0)
            for name, rate in requests_per_second.items():
                traffic = self._routes.setdefault((policy, name.replace("_", "-")), Traffic())
                traffic.count()
                traffic.requests_per_second = rate

    def judge(self, policy: str, route: str, pool: str, *, passed: float, failed: float) -> None:
        """From now on so many answers of a pool (namespace/name) pass and fail per second."""
        with self._lock:
            verdicts = self._verdicts.setdefault((policy, route, pool), Verdicts())
            verdicts.count()
            verdicts.per_second |= {"pass": passed, "fail": failed}

    def spend(self, policy: str, resets_at: float, **usd: float) -> None:
        """From now on the routers tell that so much is spent of the budgets of these tenants, and of the policy's."""
        with self._lock:
            self._budgets |= {(policy, "tenant", tenant): (spent, resets_at) for tenant, spent in usd.items()}
            self._budgets[policy, "policy", ""] = (sum(usd.values()), resets_at)

    def lie(self, policy: str, route: str, *values: float) -> None:
        """Tells these counts instead of the true one, one per scrape, and returns when all are told."""
        with self._lock:
            self._routes[policy, route].lies = list(values)
        until("all lies are told", lambda: not self._routes[policy, route].lies, 30)

    def restart(self, policy: str) -> None:
        """The router's process restarts in the same pod: its counters begin at zero."""
        with self._lock:
            for (owner, _), traffic in self._routes.items():
                if owner == policy:
                    traffic.requests, traffic.at = 0.0, time.time()

    def replace(self, policy: str) -> None:
        """Another pod takes the router's place: the old series end, and others begin at zero."""
        self.restart(policy)
        with self._lock:
            self._lives[policy] += 1

    def remove(self, policy: str) -> None:
        """The routers of a policy are gone."""
        with self._lock:
            self._lives.pop(policy, None)
            for key in [key for key in self._routes if key[0] == policy]:
                del self._routes[key]
            for budget in [budget for budget in self._budgets if budget[0] == policy]:
                del self._budgets[budget]
            for judged in [one for one in self._verdicts if one[0] == policy]:
                del self._verdicts[judged]

    def metrics(self) -> str:
        """The exposition."""
        with self._lock:
            lines = []
            for (policy, route), traffic in self._routes.items():
                names = {"policy": policy, "route": route, "pod": f"router-{self._lives[policy]}"}
                for pod in range(ROUTERS):
                    pods = names | {"pod": f"{names['pod']}-{pod}"}
                    lines.append(_line("comptroller_router_route_info", 1, **pods))
                count = traffic.count()
                told = traffic.lies.pop(0) if traffic.lies else count
                caller = {"tenant": "research", "workflow": "none", "step": "none"}
                lines.append(_line("comptroller_router_requests_total", told, **names, **caller))
                lines.append(
                    _line(
                        "comptroller_router_responses_total",
                        count,
                        **names,
                        tenant="research",
                        outcome="ok",
                        backend="any",
                    )
                )
                for kind, tokens in (("input", traffic.input_tokens), ("output", traffic.output_tokens)):
                    lines.append(_line("comptroller_router_tokens_total", count * tokens, **names, kind=kind))
            for (policy, route, pool), verdicts in self._verdicts.items():
                judged = {"policy": policy, "route": route, "pool": pool, "source": "sample"}
                for verdict, number in verdicts.count().items():
                    lines.append(_line("comptroller_router_evaluations_total", number, **judged, verdict=verdict))
            for (policy, scope, name), (spent, end) in self._budgets.items():
                for pod in range(ROUTERS):  # the first has spent it all
                    labels = {"policy": policy, "scope": scope, "name": name, "sharing": "process", "pod": str(pod)}
                    part = 0.0 if pod else spent
                    lines.append(_line("comptroller_router_budget_spent_usd", part, **labels))
                    lines.append(_line("comptroller_router_budget_reset_timestamp_seconds", end, **labels))
        return "\n".join(lines) + "\n"


def _line(name: str, value: float, /, **labels: str) -> str:
    inside = ",".join(f'{key}="{one}"' for key, one in labels.items())
    number = "NaN" if math.isnan(value) else "+Inf" if math.isinf(value) else repr(float(value))
    return f"{name}{{{inside}}} {number}"


class Prometheus:
    """Debian's Prometheus on loopback, which scrapes the routers, and what else has a port, every second."""

    def __init__(self, folder: Path, *scraped_ports: int) -> None:
        self._folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "900ms"},
            "scrape_configs": [
                {
                    "job_name": "routers",
                    "honor_labels": True,
                    "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in scraped_ports]}],
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))

    def start(self) -> None:
        command = [
            str(prometheus_program()),
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until("Prometheus is ready", lambda: _answers(f"{self.url}/-/ready"))

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """It accepts connections and never answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self.thaw()
            self._end(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def _end(self, number: int) -> None:
        self._signal(number)
        if self._process is not None:
            self._process.wait(20)
            self._process = None


def prometheus_program() -> Path:
    """The program out of Debian's package; downloaded once for all checkouts that share `.cluster`."""
    program = PROGRAMS / "usr" / "bin" / "prometheus"
    if not program.exists():
        take_out("prometheus", ("usr/bin/prometheus",), PROGRAMS)
    return program


def promtool_program() -> Path:
    """Prometheus' own tool for rules, out of the same package."""
    program = PROGRAMS / "usr" / "bin" / "promtool"
    if not program.exists():
        take_out("prometheus", ("usr/bin/promtool",), PROGRAMS)
    return program


class Operator:
    """`comptroller run` as a process."""

    def __init__(self, folder: Path, kubeconfig: Path, settings: Mapping[str, Any]) -> None:
        self.port = free_port()
        self._command = [sys.executable, "-m", "comptroller", "run", f"--settings={folder / 'settings.yaml'}"]
        self._environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
        self.log = folder / "operator.log"
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "settings.yaml").write_text(yaml.safe_dump({**settings, "listenPort": self.port}))

    def start(self) -> None:
        """Starts it and waits until it has seen the cluster and decided once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        until("the operator is ready", self._ready, 60)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ends it by a signal and returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code

    def metric(self, name: str) -> float:
        """One of its own metrics, summed over labels."""
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def complaints(self) -> list[str]:
        """Lines of its log with an exception."""
        return [line for line in self.log.read_text().splitlines() if "Traceback" in line or '"error"' in line]

    def _ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise RuntimeError(f"the operator ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")
        return _answers(f"http://127.0.0.1:{self.port}/readyz")


@dataclass(slots=True)
class Fleet:
    """A namespace with GPUs of its own, watched by an operator of its own."""

    server: ApiServer
    namespace: str
    gpu_class: str
    routers: Routers
    prometheus: Prometheus
    operator: Operator

    def kubectl(self, *arguments: str, stdin: object = None, check: bool = True) -> str:
        return self.server.kubectl(*arguments, f"--namespace={self.namespace}", stdin=stdin, check=check)

    def apply(self, *objects: dict[str, Any]) -> None:
        """As a user does it: `kubectl apply --server-side`."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=list(objects))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object; empty when there is none."""
        text = self.kubectl("get", kind, name, "--ignore-not-found", "--output=json")
        found: dict[str, Any] = json.loads(text) if text.strip() else {}
        return found

    def all(self, kinds: str, *arguments: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.server.get(kinds, f"--namespace={self.namespace}", *arguments)["items"]
        return items

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """A condition of an object that speaks of its present spec; empty otherwise."""
        item = self.get(kind, name)
        found = (item.get("status") or {}).get("conditions") or []
        generation = item.get("metadata", {}).get("generation")
        return next((c for c in found if c["type"] == condition and c["observedGeneration"] == generation), {})

    def ready(self, *names: str, seconds: int = 60) -> None:
        """`kubectl wait --for=condition=Ready` as users write it; names are kind/name."""
        self.kubectl("wait", "--for=condition=Ready", *names, f"--timeout={seconds}s")

    def wanted(self, pool: str) -> int:
        """Replicas that the Deployment of a pool asks for; -1 when there is none."""
        return int(self.get("deployment", pool).get("spec", {}).get("replicas", -1))

    def shares(self, policy: str, route: str) -> dict[str, float]:
        """The shares of a route as the policy's status shows them."""
        routes = (self.get("routingpolicy", policy).get("status") or {}).get("routes") or []
        found = [one for one in routes if one["name"] == route]
        return {one["pool"]: float(one["share"]) for one in (found[0].get("shares") or [] if found else [])}

    def config(self, router: str) -> dict[str, Any]:
        """The configuration of a router as its ConfigMap carries it."""
        text = self.get("configmap", router).get("data", {}).get("config.yaml")
        return dict(yaml.safe_load(text)) if text else {}

    def drive(self, policy: str, **requests_per_second: float) -> None:
        self.routers.drive(f"{self.namespace}/{policy}", **requests_per_second)

    def events(self, reason: str) -> list[dict[str, Any]]:
        return [one for one in self.all("events.events.k8s.io") if one.get("reason") == reason]

    def mark(self) -> int:
        """A place in the audit log from which requests are counted."""
        return self.server.audit_log.stat().st_size

    def requests(self, mark: int = 0) -> list[dict[str, Any]]:
        """The operator's audited requests since a mark, in this namespace or in none."""
        with self.server.audit_log.open("rb") as log:
            log.seek(mark)
            lines = [line for line in log if line.endswith(b"\n") and ACCOUNT.encode() in line]
        events = [json.loads(line) for line in lines]
        mine = [one for one in events if one["user"]["username"] == ACCOUNT]
        return [one for one in mine if one.get("objectRef", {}).get("namespace", self.namespace) == self.namespace]

    def writes(self, mark: int) -> list[str]:
        """What the operator wrote since a mark, events included, in words."""
        return [_said(one) for one in self.requests(mark) if one["verb"] in WRITES]

    def finish_warmups(self) -> bool:
        """Lets every warm-up that kwok has ended without a word end with a good result: puts it into the pod's
        termination message, as kubelet does it for the Job's program."""
        for pod in self.all("pods", "-l", "batch.kubernetes.io/job-name"):
            statuses = pod["status"].get("containerStatuses") or [{}]
            ended = (statuses[0].get("state") or {}).get("terminated")
            if ended and not ended.get("message"):
                ended["message"] = json.dumps(WARM)
                patch = json.dumps({"status": {"containerStatuses": statuses}})
                name = pod["metadata"]["name"]
                self.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", f"--patch={patch}")
        return True


MANAGED = "app.kubernetes.io/managed-by=comptroller"


def _said(event: Mapping[str, Any]) -> str:
    what = event["objectRef"]
    return "/".join(
        str(one) for one in (event["verb"], what["resource"], what.get("subresource"), what.get("name")) if one
    )


@contextmanager
def running_fleet(
    server: ApiServer, routers: Routers, prometheus: Prometheus, folder: Path, gpus: int = 8, **more: Any
) -> Iterator[Fleet]:
    """An operator that watches one new namespace, whose GPU class `sim-...` has a simulated node of its own; `more`
    are further settings."""
    name = f"fleet-{uuid.uuid4().hex[:8]}"
    gpu_class = name.replace("fleet", "sim")
    server.kubectl("create", "namespace", name)
    server.apply(gpu_node(gpu_class, gpus))
    operator = Operator(folder, login(server, folder), fleet_settings(prometheus, name, gpu_class) | more)
    fleet = Fleet(server, name, gpu_class, routers, prometheus, operator)
    try:
        operator.start()
        yield fleet
    finally:
        with suppress(AssertionError):
            operator.end()
        # its node stays with the server: routers and Jobs of fleets that run beside it may have come to lie there
        server.kubectl("delete", f"namespace/{name}", "--wait=false")


def fleet_settings(prometheus: Prometheus, namespace: str, gpu_class: str) -> dict[str, Any]:
    """Everything that takes minutes takes seconds."""
    return {
        "prometheus": {
            "url": prometheus.url,
            "timeoutSeconds": 2,
            "staleAfterSeconds": 10,
            "rateWindowSeconds": RATE_WINDOW_SECONDS,
            "peakWindowSeconds": PEAK_WINDOW_SECONDS,
        },
        "loop": {
            "tickSeconds": 1,
            "batchWindowSeconds": 0.1,
            "scaleDownDelaySeconds": SCALE_DOWN_DELAY_SECONDS,
            "longestScaleDownDelaySeconds": SCALE_DOWN_DELAY_SECONDS,
            "restartHoldSeconds": RATE_WINDOW_SECONDS,
            "relistSeconds": 20,
        },
        "gpuClasses": {
            gpu_class: {
                "nodeSelector": {CLASS_LABEL: gpu_class},
                "memoryGib": 80,
                "idleWatts": 100,
                "busyWatts": 600,
                "priceUsd": "30000",
                "rentUsdPerHour": "4",
                "alphaMs": 6,
                "betaMs": 0.05,
                "gammaMs": 0.0004,
                "maxConcurrency": 64,
            }
        },
        "watchNamespaces": [namespace],
        "page": {"enabled": True},
    }


def gpu_node(name: str, gpus: int) -> dict[str, Any]:
    """A node that kwok simulates, of a GPU class of that name."""
    resources = {"cpu": "192", "memory": "2Ti", "pods": "250", "nvidia.com/gpu": str(gpus)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"type": "kwok", "kubernetes.io/hostname": name, CLASS_LABEL: name}},
        "status": {"capacity": resources, "allocatable": resources},
    }


def login(server: ApiServer, folder: Path) -> Path:
    """A kubeconfig of the demo's service account, which may do what the demo's ClusterRole says and nothing else."""
    server.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
    server.kubectl("apply", "--server-side", f"--filename={RIGHTS}", f"--namespace={HOME}")
    token = server.kubectl("create", "token", "comptroller", f"--namespace={HOME}", "--duration=2h").strip()
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["users"] = [{"name": "comptroller", "user": {"token": token}}]
    config["contexts"] = [
        {"name": "operator", "context": {"cluster": config["clusters"][0]["name"], "user": "comptroller"}}
    ]
    config["current-context"] = "operator"
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    with suppress(OSError), urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
