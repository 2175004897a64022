"""Brings a cluster to the point where the replay can begin, and takes away what it has brought.

Everything is applied as a user would apply it: the CRDs, the operator, and the quickstart with an overlay for simulated
hardware. Keys are made here, at random, and live in Secrets only.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from e2e.demo.kube import Kube, KubeError, apply, apply_directory, kubectl
from e2e.demo.observe import not_ready
from e2e.demo.progress import PhaseError, note, wait

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
MANIFESTS = HERE / "manifests"
NAMESPACES = ("comptroller-system", "monitoring", "hosted-apis", "inference", "demo")
MARK = "comptroller.dev/demo"
MOST_RESTARTS = 3
KINDS = "/apis/comptroller.dev/v1alpha1/namespaces/inference"


def claim(kube: Kube) -> None:
    """Makes the demo's namespaces. Raises PhaseError, and leaves everything as it is, if one of them exists and is
    somebody else's, or if somebody else runs Comptroller in this cluster."""
    for one in kube.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"):
        if one["spec"]["group"] == "comptroller.dev" and MARK not in (one["metadata"].get("labels") or {}):
            raise PhaseError(
                f"the cluster has {one['metadata']['name']} already, which this demo has not made: "
                "use an empty cluster, such as one of kind, or unset KUBECONFIG"
            )
    there = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in kube.items("/api/v1/namespaces")}
    foreign = [name for name in NAMESPACES if name in there and MARK not in there[name]]
    if foreign:
        raise PhaseError(
            f"the cluster has a namespace {foreign[0]} that this demo has not made, and it would be changed: "
            "use an empty cluster, such as one of kind, or unset KUBECONFIG"
        )
    marked = {MARK: "true"}
    apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n, "labels": marked}} for n in NAMESPACES))


def reserve_gpu_nodes(kube: Kube) -> None:
    """Keeps everything but GPU pods away from GPU nodes, as clusters with GPUs do. For our own test cluster."""
    for node in kube.items("/api/v1/nodes"):
        if (node["metadata"].get("labels") or {}).get("nvidia.com/gpu.present") == "true":
            name = node["metadata"]["name"]
            kubectl("taint", "node", name, "nvidia.com/gpu=present:NoSchedule", "--overwrite")


def make_keys(kube: Kube) -> None:
    """Client key and API keys, unless an earlier run has left them."""
    apis = {name: _existing(kube, "hosted-apis", "api-keys", name) or _new_key() for name in ("openai", "anthropic")}
    client = _existing(kube, "inference", "research-keys", "client") or _new_key()
    apply(
        _secret("hosted-apis", "api-keys", apis),
        _secret("inference", "openai", {"api-key": apis["openai"]}),
        _secret("inference", "anthropic", {"api-key": apis["anthropic"]}),
        _secret("inference", "research-keys", {"client": client}),
        _secret("demo", "client", {"key": client}),
    )


def install(kube: Kube) -> None:
    """CRDs, hosted APIs, Prometheus and operator; waits until all run."""
    crds = REPOSITORY / "crds"
    if not any(crds.glob("*.yaml")):
        raise PhaseError(f"no CRDs in {crds}: run make generate")
    apply_directory(crds, kustomize=False)
    kubectl("label", f"--filename={crds}", "--overwrite", f"{MARK}=true")
    kubectl("wait", "--for=condition=Established", "--timeout=30s", f"--filename={crds}")
    kept = bool(kube.items("/apis/apps/v1/namespaces/comptroller-system/deployments"))
    for name in ("hosted-apis", "monitoring", "operator"):
        apply_directory(MANIFESTS / name)
    kubectl("label", "clusterrole,clusterrolebinding", "comptroller", "--overwrite", f"{MARK}=true")
    if kept:  # a fleet from an earlier run: its images may have changed under the same names
        kubectl("--namespace=comptroller-system", "rollout", "restart", "deployment/comptroller")
    wait("the start of operator, Prometheus and hosted APIs", lambda: _unavailable(kube, NAMESPACES[:3]), 180)


def apply_quickstart(kube: Kube) -> None:
    """The quickstart on simulated hardware; waits until every kind says Ready, as `kubectl wait` would."""
    apply_directory(HERE / "overlay")
    wait("the fleet", lambda: not_ready(fleet_objects(kube)), 300)
    found = kubectl("--namespace=inference", "wait", "--for=condition=Ready", "mp,rp,cw", "--all", "--timeout=10s")
    note(f"kubectl wait --for=condition=Ready mp,rp,cw --all: {len(found.splitlines())} objects are Ready")


def fleet_objects(kube: Kube) -> list[dict[str, Any]]:
    kinds = ("modelpools", "routingpolicies", "cachewarmups")
    return [one for kind in kinds for one in kube.items(f"{KINDS}/{kind}")]


def remove() -> None:
    """Takes away what the demo has brought, which it knows by its mark, and nothing else."""
    note("removing what the demo has applied")
    delete = ("delete", "--ignore-not-found", "--wait=true", "--timeout=90s")
    for arguments in (
        ("--namespace=inference", "routingpolicies,cachewarmups,modelpools", "--all"),
        *((kind, f"--selector={MARK}=true") for kind in ("namespace", "clusterrole,clusterrolebinding", "crd")),
    ):
        try:
            kubectl(*delete, *arguments)
        except KubeError as error:
            note(str(error))


def _unavailable(kube: Kube, namespaces: Iterable[str]) -> list[str]:
    """Deployments without an available pod. Raises PhaseError when a container keeps ending."""
    missing = []
    for namespace in namespaces:
        for one in kube.items(f"/apis/apps/v1/namespaces/{namespace}/deployments"):
            status = one.get("status") or {}
            current = status.get("observedGeneration", 0) >= one["metadata"]["generation"]
            if not current or status.get("updatedReplicas", 0) < 1 or not status.get("availableReplicas"):
                missing.append(f"{namespace}/{one['metadata']['name']}")
        if missing:
            _check_for_crashes(kube, namespace)
    return missing


def _check_for_crashes(kube: Kube, namespace: str) -> None:
    newest = sorted(
        kube.items(f"/api/v1/namespaces/{namespace}/pods"), key=lambda pod: pod["metadata"]["creationTimestamp"]
    )
    for pod in newest[-1:]:
        for container in pod["status"].get("containerStatuses") or ():
            if container.get("restartCount", 0) >= MOST_RESTARTS and not container.get("ready"):
                name = pod["metadata"]["name"]
                words = kube.last_words(namespace, name)
                raise PhaseError(f"{namespace}/{name} keeps ending. Its last words:\n{words}")


def _secret(namespace: str, name: str, values: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def _new_key() -> str:
    return f"sk-{secrets.token_hex(24)}"


def _existing(kube: Kube, namespace: str, name: str, key: str) -> str | None:
    try:
        data = kube.get(f"/api/v1/namespaces/{namespace}/secrets/{name}").get("data") or {}
    except KubeError:
        return None
    return base64.b64decode(data[key]).decode() if key in data else None
