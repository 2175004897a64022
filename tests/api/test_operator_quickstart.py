"""The quickstart on a real API server: what it becomes, that it then rests, and that a restart changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.conftest import BINARIES
from tests.api.operator_process import (
    KINDS,
    MANAGED,
    REPOSITORY,
    RIGHTS,
    WRITES,
    Fleet,
    steadily,
    until,
)

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

QUIET_SECONDS = 60
CHILDREN = "deployments,services,configmaps,poddisruptionbudgets,networkpolicies,jobs"


@pytest.fixture(scope="module")
def quickstart(fleet: Fleet, gpu_nodes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example, applied to the fleet's namespace as its README says, under constant demand."""
    overlay = tmp_path_factory.mktemp("overlay")
    example = os.path.relpath(REPOSITORY / "examples" / "quickstart", overlay.resolve())
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump({"namespace": fleet.namespace, "resources": [example]}))
    fleet.server.kubectl("apply", "--server-side", f"--kustomize={overlay}")
    # not at the edge of a replica, where what is left over for another pool is mostly noise
    fleet.drive("research", extraction=10, planning=1, deal_review=2)
    yield overlay
    fleet.routers.remove(f"{fleet.namespace}/research")


@pytest.fixture
def converged(fleet: Fleet, quickstart: Path) -> Fleet:
    """Everything is ready, and all that is wanted is there."""

    def settled() -> bool:
        pools = [one["status"] for one in fleet.all("modelpools")]
        local = [one["replicas"] for one in pools if "replicas" in one]
        known = all(
            condition["status"] == "True"
            for one in pools
            for condition in one["conditions"]
            if condition["type"] == "MetricsAvailable"
        )
        return (
            fleet.finish_warmups()
            and known
            and all(one["desired"] == one["ready"] and not one["starting"] for one in local)
        )

    fleet.ready("modelpools", "--all")
    fleet.ready("routingpolicies", "--all")
    until("the fleet has what it wants", settled, 60)
    fleet.ready("cachewarmups", "--all")
    until("it rests", lambda: _rests(fleet))
    return fleet


def test_a_gated_pool_takes_traffic_when_its_warm_up_has_proven_the_cache(fleet: Fleet, quickstart: Path) -> None:
    # kwok ends the Jobs' pods without a word: such a replica is admitted, because the gate says so
    until("a replica is admitted", lambda: "Admitted" in _gates(fleet))
    until("all replicas are warm", lambda: fleet.finish_warmups() and set(_gates(fleet)) == {"Warm"})
    fleet.ready("cachewarmup/compliance")
    status = fleet.get("cachewarmup", "compliance")["status"]
    assert status["replicas"]["failed"] == 0
    assert status["prefixes"] == [
        {
            "name": "first",
            "tokens": 2100,
            "coldTimeToFirstTokenMs": 900,
            "warmTimeToFirstTokenMs": 60,
            "speedup": "15",
            "hitRatio": "0.98",
        }
    ]


def test_the_quickstart_becomes_these_children_and_every_kind_gets_ready(converged: Fleet) -> None:
    found = {f"{one['kind']}/{one['metadata']['name']}" for one in converged.all(CHILDREN, "-l", MANAGED)}
    expected = {
        f"{kind}/{name}"
        for name in ("qwen3-8b", "qwen3-32b", "research-router", "research-router-restricted")
        for kind in ("Deployment", "Service", "PodDisruptionBudget")
    }
    expected |= {f"Service/{pool}-replicas" for pool in ("qwen3-8b", "qwen3-32b")}
    expected |= {f"NetworkPolicy/{name}" for name in ("qwen3-8b", "qwen3-32b", "research-router-restricted")}
    expected |= {
        f"ConfigMap/{router}{suffix}"
        for router in ("research-router", "research-router-restricted")
        for suffix in ("", "-plugin")
    }
    warmups = {one for one in found if one.startswith(("Job/compliance-", "ConfigMap/compliance-"))}
    assert len(warmups) >= 2
    assert found - warmups == expected
    for one in converged.all(CHILDREN, "-l", MANAGED):
        (owner,) = one["metadata"]["ownerReferences"]
        assert owner["controller"]
        assert owner["apiVersion"] == "comptroller.dev/v1alpha1"
        assert "finalizers" not in one["metadata"] or one["kind"] == "Job"


def test_the_restricted_router_has_no_way_out(converged: Fleet) -> None:
    name = "research-router-restricted"
    config = converged.config(name)
    assert {one["model_name"] for one in config["model_list"]} == {"deal-review"}
    inside = f".{converged.namespace}.svc.cluster.local:8000/v1"
    assert all(one["litellm_params"]["api_base"].endswith(inside) for one in config["model_list"])
    assert "claude" not in json.dumps(config)
    assert "gpt" not in json.dumps(config)

    pod = converged.get("deployment", name)["spec"]["template"]["spec"]
    variables = [one for container in pod["containers"] for one in container.get("env") or []]
    assert not [one for one in variables if "secretKeyRef" in one.get("valueFrom", {})]
    assert not [container for container in pod["containers"] if container.get("envFrom")]
    assert pod["automountServiceAccountToken"] is False
    sources = [source for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", [])]
    secrets = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    secrets += [source["secret"]["name"] for source in sources if "secret" in source]
    assert set(secrets) == {"research-keys"}  # of clients, to know them by

    rules = converged.get("networkpolicy", name)["spec"]
    assert rules["policyTypes"] == ["Egress"]
    labels = converged.get("deployment", name)["spec"]["template"]["metadata"]["labels"]
    assert rules["podSelector"]["matchLabels"].items() <= labels.items()
    to = [target for rule in rules["egress"] for target in rule["to"]]
    assert not [target for target in to if "ipBlock" in target]
    assert all(rule["to"] for rule in rules["egress"])
    dns = [target for target in to if "namespaceSelector" in target]
    assert [one["namespaceSelector"]["matchLabels"] for one in dns] == [{"kubernetes.io/metadata.name": "kube-system"}]
    pools = {one["podSelector"]["matchLabels"]["comptroller.dev/pool"] for one in to if one not in dns}
    assert pools == {"qwen3-8b", "qwen3-32b"}

    open_router = converged.get("deployment", "research-router")["spec"]["template"]["spec"]["containers"][0]["env"]
    keys = {
        one["valueFrom"]["secretKeyRef"]["name"] for one in open_router if "secretKeyRef" in one.get("valueFrom", {})
    }
    assert keys == {"anthropic", "openai"}  # so the check above would see one


def test_what_users_have_written_stays_theirs(converged: Fleet, quickstart: Path) -> None:
    command = [str(BINARIES / "kubectl"), f"--kubeconfig={converged.server.kubeconfig}", "diff", "--server-side"]
    difference = subprocess.run([*command, f"--kustomize={quickstart}"], capture_output=True, text=True)
    assert (difference.returncode, difference.stdout) == (0, "")
    for one in converged.all(KINDS, "--show-managed-fields"):
        metadata = one["metadata"]
        assert metadata["generation"] == 1
        assert "finalizers" not in metadata
        assert "annotations" not in metadata
        assert "labels" not in metadata
        by_manager = {entry["manager"]: entry for entry in metadata["managedFields"]}
        assert set(by_manager) == {"kubectl", "comptroller"}
        ours = by_manager["comptroller"]
        assert ours["subresource"] == "status"
        assert set(ours["fieldsV1"]) == {"f:status"}


def test_a_converged_fleet_is_not_written_to_for_a_minute(converged: Fleet) -> None:
    mark = converged.mark()
    before, statuses = _versions(converged), _statuses(converged)
    steadily("the number of replicas", lambda: _replicas(converged), QUIET_SECONDS)
    assert (converged.writes(mark), _statuses(converged)) == ([], statuses)
    assert _versions(converged) == before
    totals = converged.get("routingpolicy", "research")["status"]["totals"]
    assert float(totals["requestsPerSecond"]) > 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_restart_changes_nothing(converged: Fleet, number: int) -> None:
    before, mark = _versions(converged), converged.mark()
    code = converged.operator.end(number)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    converged.operator.start()
    _decided(converged, 8)
    assert converged.writes(mark) == []
    assert _versions(converged) == before


def test_a_restart_while_demand_is_unknown_changes_no_replica_and_no_route(converged: Fleet) -> None:
    replicas, routers = _replicas(converged), _router_configs(converged)
    converged.prometheus.kill()
    try:
        converged.operator.end(signal.SIGKILL)
        converged.operator.start()
        until("it says that it is blind", lambda: _metrics(converged) == "False")
        _decided(converged, 8)
        assert (_replicas(converged), _router_configs(converged)) == (replicas, routers)
    finally:
        converged.prometheus.start()
    until("it sees again", lambda: _metrics(converged) == "True")
    assert _replicas(converged) == replicas


def test_it_asked_for_nothing_but_what_the_clusterrole_grants(converged: Fleet) -> None:
    documents = yaml.safe_load_all(RIGHTS.read_text())
    rules = next(one for one in documents if one["kind"] == "ClusterRole")["rules"]
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    requests = [one for one in converged.requests() if "objectRef" in one]
    asked = {_right(one) for one in requests}
    assert {resource for _, resource, _ in asked} >= {"modelpools", "modelpools/status", "deployments", "pods/status"}
    assert asked - granted == set()
    assert not [right for right in asked if right[1].startswith("secrets")]
    refused = {_right(one) for one in requests if one["responseStatus"]["code"] == 403}
    assert refused == set()
    # a write of a user's object is a write of its status
    written = {resource for _, resource, verb in asked if verb in WRITES}
    assert not written & set(KINDS.split(","))


def test_its_log_has_no_exception(converged: Fleet) -> None:
    assert converged.operator.complaints() == []


def _right(event: dict[str, Any]) -> tuple[str, str, str]:
    what = event["objectRef"]
    resource = "/".join(one for one in (what["resource"], what.get("subresource")) if one)
    return what.get("apiGroup", ""), resource, event["verb"]


def _decided(fleet: Fleet, rounds: int) -> None:
    """Waits until the operator has decided some more times."""
    name = "comptroller_decision_seconds_count"
    first = fleet.operator.metric(name)
    until(f"{rounds} decisions", lambda: fleet.operator.metric(name) >= first + rounds, 60)


def _rests(fleet: Fleet) -> bool:
    """Whether nothing was written during five decisions."""
    mark = fleet.mark()
    _decided(fleet, 5)
    return not fleet.writes(mark)


def _gates(fleet: Fleet) -> list[str]:
    """The reasons of the readiness gates of the gated pool's pods."""
    pods = fleet.all("pods", "-l", "comptroller.dev/pool=qwen3-32b,app.kubernetes.io/component=engine")
    conditions = [one for pod in pods for one in pod.get("status", {}).get("conditions", [])]
    return [one["reason"] for one in conditions if one["type"] == "comptroller.dev/cache-warm"]


def _replicas(fleet: Fleet) -> dict[str, int]:
    return {one["metadata"]["name"]: one["spec"]["replicas"] for one in fleet.all("deployments")}


def _router_configs(fleet: Fleet) -> dict[str, Any]:
    return {name: fleet.config(name) for name in ("research-router", "research-router-restricted")}


def _statuses(fleet: Fleet) -> dict[str, Any]:
    return {one["metadata"]["name"]: one["status"] for one in fleet.all(KINDS)}


def _versions(fleet: Fleet) -> dict[str, str]:
    """The resource version of every object of users, and of every child."""
    return {
        f"{one['kind']}/{one['metadata']['name']}": one["metadata"]["resourceVersion"]
        for one in fleet.all(f"{KINDS},{CHILDREN}")
    }


def _metrics(fleet: Fleet) -> str:
    status: str = fleet.condition("modelpool", "qwen3-8b", "MetricsAvailable").get("status", "")
    return status
