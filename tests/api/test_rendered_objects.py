"""What the operator renders is accepted by a real API server: every representative object, by a server-side dry run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.golden.cases import CASES

if TYPE_CHECKING:
    from .conftest import ApiServer

pytestmark = [pytest.mark.api, pytest.mark.timeout(300)]


@pytest.mark.parametrize("name", [name for name, render in CASES.items() if render()])
def test_rendered_objects_are_accepted(name: str, api_server: ApiServer, namespace: str) -> None:
    objects = json.loads(json.dumps(CASES[name]()))
    for one in objects:
        one["metadata"]["namespace"] = namespace

    api_server.kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-", stdin=objects)


@pytest.mark.parametrize("name", [name for name, render in CASES.items() if render()])
def test_rendered_pods_are_restricted(name: str, api_server: ApiServer, namespace: str) -> None:
    """The namespace enforces the restricted Pod Security Standard; the pod templates pass it as pods."""
    api_server.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"pod-{index}", "namespace": namespace},
            "spec": json.loads(json.dumps(one["spec"]["template"]["spec"])),
        }
        for index, one in enumerate(CASES[name]())
        if one["kind"] in ("Deployment", "Job")
    ]

    for pod in pods:
        pod["spec"].pop("priorityClassName", None)
        api_server.kubectl("create", "--dry-run=server", "--filename=-", stdin=pod)
