"""The cluster, through the Kubernetes API and nothing else: so that the demo runs on any cluster.

`kubectl proxy` does the login, whatever it is (certificates, tokens, cloud plug-ins); everything else is HTTP to it,
Services included: `/api/v1/namespaces/NS/services/NAME:PORT/proxy/...`. Where pods are local processes, Services and
logs are reached in another way (`Reach`).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx


class KubeError(RuntimeError):
    """The cluster refused something, or did not answer."""


class Reach(Protocol):
    """A way to Services and logs beside the API server, for pods that have no kubelet and no network."""

    def service_url(self, namespace: str, name: str, port: int) -> str | None: ...

    def log_lines(self, namespace: str, pod: str) -> Iterator[str]: ...

    def last_words(self, namespace: str, pod: str, lines: int) -> str: ...


@dataclass(frozen=True, slots=True)
class Kube:
    """A logged-in client of one cluster."""

    client: httpx.Client
    reach: Reach | None = None

    def get(self, path: str, **query: str) -> Any:
        """JSON of a path of the API. Raises KubeError."""
        try:
            response = self.client.get(path, params=query)
        except httpx.HTTPError as error:
            raise KubeError(f"GET {path}: {error or type(error).__name__}") from error
        if response.status_code != 200:
            raise KubeError(f"GET {path}: {response.status_code} {response.text[:300]}")
        return response.json()

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(path, **query)["items"]
        return found

    def service(self, namespace: str, name: str, port: int, path: str, **query: str) -> Any:
        """JSON that a Service answers. Raises KubeError."""
        if self.reach is not None:
            if (url := self.reach.service_url(namespace, name, port)) is None:
                raise KubeError(f"there is no Service {namespace}/{name}")
            return self.get(f"{url}{path}", **query)
        return self.get(f"/api/v1/namespaces/{namespace}/services/{name}:{port}/proxy{path}", **query)

    def log_lines(self, namespace: str, pod: str) -> Iterator[str]:
        """The log of a pod as it grows, until its container ends or the connection does."""
        if self.reach is not None:
            yield from self.reach.log_lines(namespace, pod)
            return
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        with self.client.stream("GET", path, params={"follow": "true"}, timeout=None) as response:
            if response.status_code != 200:
                raise KubeError(f"log of {pod}: {response.status_code}")
            yield from response.iter_lines()

    def last_words(self, namespace: str, pod: str, lines: int = 15) -> str:
        """The end of the log of a container that has ended."""
        if self.reach is not None:
            return self.reach.last_words(namespace, pod, lines)
        return kubectl(f"--namespace={namespace}", "logs", pod, "--previous", f"--tail={lines}")


@contextmanager
def connect(reach: Reach | None = None) -> Iterator[Kube]:
    """A client for the cluster of $KUBECONFIG, for as long as the block lasts."""
    command = ["kubectl", "proxy", "--port=0", "--reject-paths=^$"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if "Starting to serve on" not in line:
                raise KubeError(f"kubectl proxy did not start: {line.strip() or 'no word'}; is KUBECONFIG right?")
            address = line.rsplit(maxsplit=1)[-1]
            with httpx.Client(base_url=f"http://{address}", timeout=10, trust_env=False) as client:
                yield Kube(client, reach)
        finally:
            process.terminate()


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Runs kubectl; returns what it prints. Raises KubeError with its last words."""
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KubeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-1500:]}")
    return done.stdout


def apply(*objects: Mapping[str, Any]) -> None:
    """Applies objects, server side, under a name of its own: files applied later do not take its fields away."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=demo", "--filename=-", stdin=text)


def apply_directory(directory: Path, *, kustomize: bool = True) -> None:
    flag = f"--kustomize={directory}" if kustomize else f"--filename={directory}"
    kubectl("apply", "--server-side", "--force-conflicts", flag)


def wait_command(what: Sequence[str], namespace: str, timeout_seconds: int, condition: str = "Ready") -> list[str]:
    timeout = f"--timeout={timeout_seconds}s"
    return ["kubectl", "wait", f"--namespace={namespace}", f"--for=condition={condition}", timeout, *what]
