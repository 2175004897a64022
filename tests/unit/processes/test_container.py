"""From a container's words to a local command."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from e2e.processes.container import (
    MissingError,
    Programs,
    Rewriting,
    command,
    environment,
    rewriting,
    volume_files,
    wants_login,
)

PROGRAMS = Programs(Path("/repo"), Path("/venv/python"), Path("/router/python"), Path("/bin/prometheus"))
MOUNTS = ("/etc/comptroller/router", "/etc/comptroller/keys/team-a", "/load", "/tmp")


def resolve(namespace: str, name: str) -> str:
    return {("inference", "qwen"): "127.9.1.1", ("hosted-apis", "openai"): "127.9.1.2"}[namespace, name]


def words(mounts: tuple[str, ...] = MOUNTS) -> Rewriting:
    return Rewriting(Path("/pods/a"), mounts, resolve)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/etc/comptroller/router/config.yaml", "/pods/a/etc/comptroller/router/config.yaml"),
        ("--schedule=/load/schedule.json", "--schedule=/pods/a/load/schedule.json"),
        ("/etc/comptroller/keys", "/pods/a/etc/comptroller/keys"),  # a folder above a mount
        ("/etc/hosts", "/etc/hosts"),
        ("/loaded", "/loaded"),
        ("/var/tmp", "/var/tmp"),
        ("http://qwen.inference.svc.cluster.local:8000/v1", "http://127.9.1.1:8000/v1"),
        ("openai.hosted-apis.svc:80", "127.9.1.2:80"),
    ],
)
def test_paths_of_mounts_and_names_of_services_become_local_ones(text: str, expected: str) -> None:
    assert words().word(text) == expected


def test_prose_in_a_mounted_file_is_left_alone_but_its_long_paths_and_names_are_not() -> None:
    text = "keys: /etc/comptroller/keys/team-a\nnote: what /load and /tmp are\nurl: http://qwen.inference.svc:1\n"
    expected = "keys: /pods/a/etc/comptroller/keys/team-a\nnote: what /load and /tmp are\nurl: http://127.9.1.1:1\n"
    assert words().content(text) == expected


def container(image: str, **fields: Any) -> dict[str, Any]:
    return {"name": "one", "image": f"comptroller/{image}:dev", **fields}


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            container("simulation", command=["python3", "-m", "engines.gpu_engine"], args=["--host", "0.0.0.0"]),
            ["/venv/python", "-m", "engines.gpu_engine", "--host", "127.9.0.1"],
        ),
        (
            container("litellm", command=["python3", "-m", "router_plugin"], args=["--port", "4000"]),
            ["/router/python", "-m", "router_plugin", "--port", "4000", "--host", "127.9.0.1"],
        ),
        (
            container("prometheus", args=["--x=/tmp/y"], ports=[{"containerPort": 9090}]),
            ["/bin/prometheus", "--x=/pods/a/tmp/y", "--web.listen-address=127.9.0.1:9090"],
        ),
        (
            container("operator", command=["python3", "-m", "comptroller.warmup"]),
            ["/venv/python", "-m", "comptroller.warmup", "--result", "/pods/a/termination-log"],
        ),
    ],
)
def test_each_image_has_its_program_and_listens_on_the_pods_address(one: dict[str, Any], expected: list[str]) -> None:
    assert command(one, "127.9.0.1", PROGRAMS, words()) == expected


def test_the_operator_runs_with_its_image_s_entry_point_in_a_network_of_its_own() -> None:
    found = command(container("operator", args=["run"]), "127.9.0.1", PROGRAMS, words())
    assert found[1].endswith("launch.py")
    assert found[2:] == ["127.9.0.1", "-m", "comptroller", "run"]


def test_a_foreign_image_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="vllm/vllm-openai"):
        command({"name": "x", "image": "vllm/vllm-openai:v1"}, "127.9.0.1", PROGRAMS, words())


OBJECTS: dict[tuple[str, str], dict[str, Any]] = {
    ("ConfigMap", "texts"): {"data": {"a.md": "one", "b.md": "two"}},
    ("Secret", "keys"): {"data": {"key": base64.b64encode(b"sk-1").decode()}},
}


def read(kind: str, name: str) -> dict[str, Any] | None:
    return OBJECTS.get((kind, name))


def test_volumes_are_files_and_keys_may_be_picked_and_renamed() -> None:
    assert volume_files({"configMap": {"name": "texts"}}, read) == {"a.md": b"one", "b.md": b"two"}
    assert volume_files({"secret": {"secretName": "keys"}}, read) == {"key": b"sk-1"}
    picked = {"projected": {"sources": [{"configMap": {"name": "texts", "items": [{"key": "b.md", "path": "0"}]}}]}}
    assert volume_files(picked, read) == {"0": b"two"}
    assert volume_files({"emptyDir": {}}, read) is None


def test_a_pod_waits_for_what_is_missing_unless_it_is_optional() -> None:
    with pytest.raises(MissingError, match="Secret gone is not there"):
        volume_files({"secret": {"secretName": "gone"}}, read)
    assert volume_files({"secret": {"secretName": "gone", "optional": True}}, read) == {}


def pod(**fields: Any) -> dict[str, Any]:
    mounts = [{"name": "x", "mountPath": "/etc/comptroller/plugin/router_plugin"}]
    one = container("litellm", volumeMounts=mounts, **fields)
    return {"metadata": {"name": "p", "namespace": "inference"}, "spec": {"containers": [one]}}


def test_the_environment_is_the_container_s_and_nothing_of_this_machine() -> None:
    asked = [
        {"name": "PYTHONPATH", "value": "/etc/comptroller/plugin"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    one = pod(env=asked)
    found = environment(one, "127.9.0.1", PROGRAMS, rewriting(one, Path("/pods/a"), resolve), read)
    assert found["PYTHONPATH"] == "/pods/a/etc/comptroller/plugin"
    assert (found["KEY"], found["IP"], found["HOME"]) == ("sk-1", "127.9.0.1", "/pods/a")
    assert "KUBECONFIG" not in found


def test_only_pods_with_a_token_get_a_login() -> None:
    assert not wants_login(pod())
    one = pod()
    one["spec"]["volumes"] = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
    assert wants_login(one)
