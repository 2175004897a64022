"""A real API server for the tests: etcd, kube-apiserver and controllers on loopback, shared by the whole session.

There are no nodes, so pods stay Pending, until a test asks for `gpu_nodes`: kwok simulates those, and pods on them run
at once (and get ready when all of their readiness gates are open). Tests are kept apart by namespaces.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster.nodes import gpu_labels
from tests.api.operator_process import Fleet, Prometheus, Routers, running_fleet

REPOSITORY = Path(__file__).resolve().parents[2]
BINARIES = REPOSITORY / ".cluster" / "bin"
CLUSTER = REPOSITORY / "e2e" / "cluster" / "cluster.py"
GPU_NODES = {"h100-sim": ("h100", 8), "rtx4090-sim": ("rtx4090", 4)}


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The running API server, and kubectl as its administrator."""

    kubeconfig: Path
    audit_log: Path

    def kubectl(self, *arguments: str, stdin: object = None, check: bool = True) -> str:
        """The output of a kubectl command. `stdin` is text, or an object (or a list of them) to be sent as JSON."""
        text = stdin if stdin is None or isinstance(stdin, str) else json.dumps(_as_manifest(stdin))
        command = [str(BINARIES / "kubectl"), f"--kubeconfig={self.kubeconfig}", *arguments]
        result = subprocess.run(command, input=text, capture_output=True, text=True)
        if check and result.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result.stdout

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` knows, parsed."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, *objects: dict[str, Any], namespace: str | None = None) -> None:
        """Applies objects by server-side apply."""
        where = [f"--namespace={namespace}"] if namespace else []
        self.kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", *where, stdin=list(objects))

    def requests(self, user_agent: str, verbs: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        """The audited requests of a client whose user agent begins so; all verbs unless some are given.

        A request is in the log when it is answered. Writes are create, update, patch, delete and deletecollection.
        """
        with self.audit_log.open() as lines:
            events = [json.loads(line) for line in lines if line.endswith("\n")]
        return [
            event
            for event in events
            if event.get("userAgent", "").startswith(user_agent) and (not verbs or event["verb"] in verbs)
        ]


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One for the session: the first of several pytest-xdist workers starts it. It ends with pytest, even if killed."""
    if not (BINARIES / "kube-apiserver").exists():
        pytest.fail("the API server is not built: run `make setup`", pytrace=False)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    base = tmp_path_factory.getbasetemp()
    state, owner = (base.parent / "cluster", os.getppid()) if worker else (base / "cluster", os.getpid())
    with _locked(state.with_suffix(".lock")):
        running = (state / "run" / "kubeconfig").exists()
        _cluster(state, "up", "--control-plane-only", "--audit", "--kwok", f"--owner={owner}")
        server = ApiServer(state / "run" / "kubeconfig", state / "run" / "logs" / "audit.jsonl")
        if not running:
            _install_crds(server)
    yield server
    if not worker:
        _cluster(state, "down")


@pytest.fixture
def namespace(api_server: ApiServer) -> Iterator[str]:
    """A namespace of the test's own; nobody waits for its end."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    api_server.kubectl("create", "namespace", name)
    api_server.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", "--timeout=20s")
    yield name
    api_server.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def gpu_nodes(api_server: ApiServer) -> list[str]:
    """The names of two simulated nodes, with eight H100 and four RTX 4090. They stay for the rest of the session."""
    api_server.apply(*(_gpu_node(name, gpu, count) for name, (gpu, count) in GPU_NODES.items()))
    names = [f"node/{name}" for name in GPU_NODES]
    api_server.kubectl("wait", "--for=condition=Ready", *names, "--timeout=30s")
    return list(GPU_NODES)


@pytest.fixture(scope="session")
def routers() -> Iterator[Routers]:
    """The metrics of all routers; tests say how many requests arrive."""
    served = Routers()
    yield served
    served.close()


@pytest.fixture(scope="session")
def prometheus(routers: Routers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A real Prometheus that scrapes them."""
    source = Prometheus(tmp_path_factory.mktemp("prometheus"), routers.port)
    source.start()
    yield source
    source.stop()


@pytest.fixture(scope="module")
def fleet(
    api_server: ApiServer, routers: Routers, prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """An operator with a namespace and eight GPUs for the tests of one file."""
    with running_fleet(api_server, routers, prometheus, tmp_path_factory.mktemp("operator")) as one:
        yield one


def _gpu_node(name: str, gpu: str, count: int) -> dict[str, Any]:
    resources = {"cpu": "192", "memory": "2Ti", "pods": "250", "nvidia.com/gpu": str(count)}
    labels = {"type": "kwok", "kubernetes.io/hostname": name, **gpu_labels(gpu, count)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"capacity": resources, "allocatable": resources},
    }


def _install_crds(server: ApiServer) -> None:
    files = [f"--filename={path}" for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
    if files:
        server.kubectl("apply", "--server-side", *files)
        server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


def _cluster(state: Path, *arguments: str) -> None:
    command = [sys.executable, str(CLUSTER), f"--state={state}", f"--bin={BINARIES}", *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        pytest.fail(f"{arguments[0]} of the API server: {result.stderr.strip()}", pytrace=False)


def _as_manifest(value: object) -> object:
    return {"apiVersion": "v1", "kind": "List", "items": value} if isinstance(value, list) else value


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
