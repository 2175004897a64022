"""What the real API server accepts: the definitions themselves, and full examples without loss."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from comptroller.api.kinds import KINDS
from comptroller.api.schema import MOST_BYTES, definitions
from tests.api.conftest import ApiServer
from tests.api.crds_api import ObjectApi, errors
from tests.unit.api.examples import FULL, STATUS

pytestmark = pytest.mark.api


@pytest.fixture
def objects(api_server: ApiServer, namespace: str) -> Iterator[ObjectApi]:
    api = ObjectApi(api_server.kubeconfig, namespace)
    yield api
    api.close()


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_server_establishes_the_definition_as_it_is_generated(api_server: ApiServer, kind: Any) -> None:
    stored = api_server.get("crd", kind.crd_name)
    conditions = {one["type"]: one["status"] for one in stored["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions
    generated = yaml.safe_load(definitions()[kind.file_name])
    assert stored["spec"]["versions"] == generated["spec"]["versions"]


@pytest.mark.parametrize("file", definitions())
def test_a_definition_is_small_enough_for_client_side_apply(file: str) -> None:
    assert len(definitions()[file].encode()) < MOST_BYTES


@pytest.mark.parametrize("example", FULL)
def test_a_full_example_is_stored_without_loss(objects: ObjectApi, example: str) -> None:
    sent = FULL[example]()
    assert errors(objects.create(sent, dry_run=False)) == []
    assert objects.read(sent["kind"], sent["metadata"]["name"])["spec"] == sent["spec"]


@pytest.mark.parametrize("example", STATUS)
def test_a_full_status_is_stored_without_loss(objects: ObjectApi, example: str) -> None:
    sent = FULL[example]() | {"status": STATUS[example]()}
    assert errors(objects.create(sent, dry_run=False)) == []
    assert errors(objects.write_status(sent, dry_run=False)) == []
    assert objects.read(sent["kind"], sent["metadata"]["name"])["status"] == sent["status"]


def test_nothing_differs_after_apply(api_server: ApiServer, namespace: str) -> None:
    everything = [build() for build in FULL.values()]
    where = [f"--namespace={namespace}", "--server-side", "--filename=-"]
    api_server.kubectl("apply", *where, stdin=everything)
    assert api_server.kubectl("diff", *where, stdin=everything) == ""


def test_an_empty_status_section_is_never_written_by_the_server(objects: ObjectApi) -> None:
    """A default in the schema of a status would appear on the first write."""
    sent = FULL["policy"]()
    objects.create(sent, dry_run=False)
    objects.write_status(sent | {"status": {"observedGeneration": 1}}, dry_run=False)
    assert objects.read("RoutingPolicy", "research")["status"] == {"observedGeneration": 1}


def test_get_tells_the_story_by_short_name(api_server: ApiServer, objects: ObjectApi, namespace: str) -> None:
    for example, status in STATUS.items():
        sent = FULL[example]() | {"status": status()}
        objects.create(sent, dry_run=False)
        objects.write_status(sent, dry_run=False)
    lines = api_server.kubectl("get", "mp,rp,cw", f"--namespace={namespace}").splitlines()
    cells = [re.split(r"  +", line) for line in lines if line]
    assert " ".join(cells[0]) == "NAME MODEL CLASS WANT READY WARM UTIL $/M-TOK READY WHY AGE"
    assert cells[1][:-1] == [
        "modelpool.comptroller.dev/qwen3-32b-h100", "qwen3-32b", "h100", "4", "2", "2", "93%", "0.19", "True",
        "ScalingUp",
    ]  # fmt: skip
    assert " ".join(cells[2]) == "NAME ROUTES RPS INSIDE SPILL SLO $/H $/TASK SAVED BUDGET READY AGE"
    assert cells[3][1:-1] == ["2", "41.2", "88%", "12%", "99.3%", "14.10", "0.0021", "83%", "41%", "True"]
    assert " ".join(cells[4]) == "NAME POOLS WARM HIT COLD WARM SPEEDUP NEXT READY AGE"
    assert cells[5][1:-1] == ["1", "2/2", "97%", "41.3s", "2.4s", "17x", "Tue 07:55 CET", "True"]


def test_the_category_lists_all_kinds(api_server: ApiServer, namespace: str) -> None:
    api_server.kubectl(
        "apply", "--server-side", "--filename=-", f"--namespace={namespace}", stdin=[build() for build in FULL.values()]
    )
    names = api_server.kubectl("get", "comptroller", "--output=name", f"--namespace={namespace}").split()
    assert sorted(names) == [
        "cachewarmup.comptroller.dev/compliance",
        "modelpool.comptroller.dev/claude-sonnet",
        "modelpool.comptroller.dev/qwen3-32b-h100",
        "routingpolicy.comptroller.dev/research",
    ]


def test_kubectl_can_wait_for_ready(api_server: ApiServer, objects: ObjectApi, namespace: str) -> None:
    sent = FULL["local"]() | {"status": STATUS["local"]()}
    objects.create(sent, dry_run=False)
    objects.write_status(sent, dry_run=False)
    said = api_server.kubectl(
        "wait", "--for=condition=Ready", "mp/qwen3-32b-h100", "--timeout=5s", f"--namespace={namespace}"
    )
    assert "condition met" in said
