"""Children of a local pool."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.api.modelpool import ModelPoolSpec
from comptroller.render.errors import RenderError
from comptroller.render.pool import pool_children
from tests.golden.cases import POOLS, SETTINGS, local_pool, owner, pool


def render(spec: ModelPoolSpec, name: str = "p", gated: bool = False) -> list[dict[str, Any]]:
    return pool_children(name, "inference", spec, owner("ModelPool", name), SETTINGS, replicas=1, gated=gated)


def deployment(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return next(one for one in objects if one["kind"] == "Deployment")


def pod(objects: list[dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(objects)["spec"]["template"]["spec"]
    return spec


def engine(objects: list[dict[str, Any]]) -> dict[str, Any]:
    container: dict[str, Any] = pod(objects)["containers"][0]
    return container


def with_pod(**template: Any) -> ModelPoolSpec:
    return local_pool({"name": "vllm"}, {"class": "h100"}, {"name": "m", "source": "hf://a/b"}, pod=template)


def unchecked(volume: dict[str, Any]) -> ModelPoolSpec:
    """A spec whose volume has not been held against the API's own rules, as an older CRD would let it through."""
    spec = with_pod()
    assert spec.local is not None
    pod_template = spec.local.pod.model_copy(update={"volumes": [volume]})
    return spec.model_copy(update={"local": spec.local.model_copy(update={"pod": pod_template})})


def test_users_labels_never_override_ours() -> None:
    labels = deployment(pool("qwen3-32b-h100", replicas=1, gated=False))["spec"]["template"]["metadata"]["labels"]

    assert labels["app.kubernetes.io/managed-by"] == "comptroller"
    assert labels["team"] == "research"


def test_every_child_is_owned_and_labelled() -> None:
    for one in pool("tiny-cpu", replicas=1, gated=False):
        assert one["metadata"]["labels"]["comptroller.dev/pool"] == "tiny-cpu"
        assert one["metadata"]["ownerReferences"][0]["controller"] is True
        assert one["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] is False


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        ({"name": "x", "hostPath": {"path": "/"}}, "hostPath"),
        ({"name": "x"}, "none"),
        ({"name": "x", "nfs": {}}, "nfs"),
        ({"name": "x", "emptyDir": {}, "hostPath": {"path": "/"}}, "hostPath"),
        ({"name": "home", "emptyDir": {}}, "taken"),
    ],
)
def test_volumes_that_reach_the_node_are_refused_with_their_path(volume: dict[str, Any], problem: str) -> None:
    with pytest.raises(RenderError, match=rf"spec\.local\.pod\.volumes\[0\].*{problem}"):
        render(unchecked(volume))


def test_an_unknown_gpu_class_is_told_with_those_that_exist() -> None:
    spec = local_pool({"name": "vllm"}, {"class": "tpu"}, {"name": "m", "source": "hf://a/b"})

    with pytest.raises(RenderError, match=r"spec\.local\.accelerator\.class: tpu .* h100"):
        render(spec)


def test_gpus_are_limits_and_a_pool_without_gpus_asks_for_none() -> None:
    assert engine(pool("qwen3-32b-h100", replicas=1, gated=False))["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert "limits" not in engine(pool("tiny-cpu", replicas=1, gated=False))["resources"]


def test_another_resource_name_is_asked_for_instead() -> None:
    accelerator = {"class": "h100", "resourceName": "nvidia.com/mig-3g.40gb"}
    spec = local_pool({"name": "vllm"}, accelerator, {"name": "m", "source": "hf://a/b"})

    assert engine(render(spec))["resources"]["limits"] == {"nvidia.com/mig-3g.40gb": "1"}


def test_only_a_gated_pool_has_the_readiness_gate() -> None:
    gate = [{"conditionType": "comptroller.dev/cache-warm"}]

    assert pod(pool("qwen3-32b-h100", replicas=1, gated=True))["readinessGates"] == gate
    assert "readinessGates" not in pod(pool("qwen3-32b-h100", replicas=1, gated=False))


def test_nobody_runs_as_root_or_with_a_token() -> None:
    for name in ("qwen3-32b-h100", "qwen3-8b-4090", "tiny-cpu"):
        spec = pod(pool(name, replicas=1, gated=False))
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(
    ("name", "path"), [("qwen3-32b-h100", "/health"), ("qwen3-8b-4090", "/ready"), ("tiny-cpu", "/health")]
)
def test_probes_ask_the_light_path_and_allow_three_start_ups(name: str, path: str) -> None:
    container = engine(pool(name, replicas=1, gated=False))
    startup, declared = container["startupProbe"], POOLS[name].local

    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} == {
        path
    }
    assert declared is not None
    assert startup["periodSeconds"] * startup["failureThreshold"] >= max(60, 3 * declared.startup_seconds)


def test_a_replica_drains_as_its_engine_can() -> None:
    vllm = engine(pool("qwen3-32b-h100", replicas=1, gated=False))["lifecycle"]["preStop"]
    llamacpp = engine(pool("tiny-cpu", replicas=1, gated=False))["lifecycle"]["preStop"]
    own = local_pool({"name": "vllm", "command": ["serve"]}, {"class": "h100"}, {"name": "m", "source": "hf://a/b"})

    assert "vllm:num_requests_running" in vllm["exec"]["command"]
    assert llamacpp == {"sleep": {"seconds": 15}}
    assert engine(render(own))["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}


def test_the_grace_period_holds_the_drain() -> None:
    assert pod(render(with_pod(terminationGracePeriodSeconds=120)))["terminationGracePeriodSeconds"] == 125


@pytest.mark.parametrize("name", ["a" * 60, "4090.qwen", "x.y", "a" * 200])
def test_names_that_no_service_may_have_are_cut_and_stay_different(name: str) -> None:
    spec = with_pod()
    names = [one["metadata"]["name"] for one in render(spec, name)]
    others = [one["metadata"]["name"] for one in render(spec, name + "z")]

    assert all(len(one) <= 63 and "." not in one and one[0].isalpha() for one in names)
    assert set(names).isdisjoint(others)


def test_a_hosted_pool_has_no_children() -> None:
    assert render(POOLS["claude-sonnet"]) == []
