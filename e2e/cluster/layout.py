"""Where everything of one cluster lies, and what is decided when it is created."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).resolve().parent

NODE_IP = "10.0.0.1"  # one for all nodes: they share a network
API_SERVICE_IP = "10.96.0.1"
DNS_SERVICE_IP = "10.96.0.10"
SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.244.0.0/16"
SIMULATED_POD_RANGE = "10.245.0.0/16"


class ClusterError(Exception):
    """Something that the caller has to know or do; the message says what."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one cluster. Only `run` belongs to the running one; binaries and images stay."""

    state: Path
    binaries: Path

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.run / "logs"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def kubeconfig(self) -> Path:
        return self.run / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        return self.logs / "audit.jsonl"

    @property
    def images(self) -> Path:
        return self.state / "images"

    @property
    def component_images(self) -> Path:
        return self.binaries / "images"

    @property
    def name(self) -> str:
        """Tells the control groups of this cluster from those of others on the machine."""
        return "cluster-" + hashlib.sha256(bytes(self.state)).hexdigest()[:8]

    def node(self, name: str) -> Path:
        return self.run / "nodes" / name


@dataclass(frozen=True, slots=True)
class Node:
    """A real node, with its number in this cluster and the GPUs that it pretends to have."""

    name: str
    number: int
    gpu: str = ""
    gpus: int = 0


@dataclass(slots=True)
class Settings:
    """What is decided when the cluster is created, and its nodes; run/cluster.json holds it."""

    isolated: bool
    audit: bool
    ports: dict[str, int]
    mounts_created: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)

    @property
    def address(self) -> str:
        return NODE_IP if self.isolated else "127.0.0.1"

    def save(self, layout: Layout) -> None:
        write_json(layout.run / "cluster.json", asdict(self))

    @staticmethod
    def load(layout: Layout) -> Settings | None:
        if (known := read_json(layout.run / "cluster.json")) is None:
            return None
        return Settings(**known | {"nodes": [Node(**node) for node in known["nodes"]]})


def read_json(path: Path) -> Any:
    """The content of a file; None when there is no such file."""
    with suppress(FileNotFoundError):
        return json.loads(path.read_text())
    return None


def write_json(path: Path, value: object) -> None:
    """Replaces a file as a whole: who is interrupted leaves the old content, never half of the new one."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(value, indent=1))
    draft.replace(path)


def wait_until(done: Callable[[], object], what: str, timeout_seconds: float = 90) -> None:
    """Polls until `done` returns something true; raises ClusterError when the time is over."""
    deadline = monotonic() + timeout_seconds
    while not done():
        if monotonic() > deadline:
            raise ClusterError(f"not within {timeout_seconds:.0f} s: {what}")
        sleep(0.1)
