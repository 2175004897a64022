"""Children are kept equal to their rendering, with as few writes as can be."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest

from comptroller.apply.objects import Applied, Applier, NameTakenError
from comptroller.kube.client import KubeError
from comptroller.kube.resources import BY_KIND, KubeDict
from tests.unit.apply.fake_api import FakeApi, with_defaults
from tests.unit.kube import build

OWNER = build.pool("big", uid="owner-1")
LABELS = build.MANAGED


def child(kind: str, name: str = "big", owner: str = "owner-1", **spec: Any) -> KubeDict:
    """A rendering, owned by the pool `big`."""
    made = build.item(kind, name, owner=owner, labels=LABELS, spec=spec)
    for field in ("uid", "resourceVersion"):
        del made["metadata"][field]
    return made


def deployment(replicas: int = 2, **container: Any) -> KubeDict:
    one = {
        "name": "engine", "image": "vllm:v1", "env": [], "ports": [{"containerPort": 8000}],
        "resources": {"requests": {"cpu": "1000m"}, "limits": {"cpu": "0.5", "memory": "1024Mi"}},
    }  # fmt: skip
    return child("Deployment", replicas=replicas, template={"spec": {"containers": [one | container]}})


def service(port: int = 80) -> KubeDict:
    return child("Service", ports=[{"port": port}])


def applier(api: FakeApi) -> Applier:
    return Applier(api, api.store)  # type: ignore[arg-type]


async def converged(api: FakeApi, *rendered: KubeDict) -> Applier:
    """An applier that has applied the renderings."""
    one = applier(api)
    await one.converge(OWNER, rendered)
    return one


@pytest.fixture(params=["as sent", "with defaults"])
def api(request: pytest.FixtureRequest) -> FakeApi:
    return FakeApi(with_defaults) if request.param == "with defaults" else FakeApi()


async def test_what_is_missing_is_created(api: FakeApi) -> None:
    done = await applier(api).converge(OWNER, [deployment(), service()])
    assert api.names() == ["Deployment big", "Service big"]
    assert done == Applied(created=["Deployment big", "Service big"])


async def test_a_second_time_nothing_is_written(api: FakeApi) -> None:
    one = await converged(api, deployment(), service())
    before = api.writes
    for _ in range(3):
        assert await one.converge(OWNER, [deployment(), service()]) == Applied()
    assert api.writes == before


async def test_after_a_restart_nothing_is_written(api: FakeApi) -> None:
    await converged(api, deployment(), service())
    before = api.writes
    assert await applier(api).converge(OWNER, [deployment(), service()]) == Applied()
    assert api.writes == before


async def test_a_new_rendering_is_applied(api: FakeApi) -> None:
    one = await converged(api, deployment(2), service())
    assert await one.converge(OWNER, [deployment(5), service()]) == Applied(changed=["Deployment big"])
    assert api.objects["Deployment", ("ai", "big")]["spec"]["replicas"] == 5


def scaled(item: KubeDict) -> None:
    item["spec"]["replicas"] = 9


def another_image(item: KubeDict) -> None:
    item["spec"]["template"]["spec"]["containers"][0]["image"] = "mine:latest"


def more_cpu(item: KubeDict) -> None:
    item["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "2"


def a_sidecar(item: KubeDict) -> None:
    item["spec"]["template"]["spec"]["containers"].append({"name": "side"})


def no_labels(item: KubeDict) -> None:
    item["metadata"]["labels"] = dict(LABELS, **{"app.kubernetes.io/managed-by": "me"})


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("edit", [scaled, another_image, more_cpu, a_sidecar, no_labels])
async def test_an_edit_by_hand_is_put_back_and_told(
    api: FakeApi, edit: Any, restarted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "comptroller.apply")
    one = await converged(api, deployment())
    before = copy.deepcopy(api.objects["Deployment", ("ai", "big")])
    api.edit("Deployment", "big", edit)
    one = applier(api) if restarted else one
    assert await one.converge(OWNER, [deployment()]) == Applied(corrected=["Deployment big"])
    assert [one.getMessage() for one in caplog.records if one.name == "comptroller.apply"] == [
        "Put back Deployment big, which somebody else had edited"
    ]
    after = api.objects["Deployment", ("ai", "big")]
    assert (after["spec"], after["metadata"]["labels"]) == (before["spec"], before["metadata"]["labels"])
    assert await one.converge(OWNER, [deployment()]) == Applied()


def a_status(item: KubeDict) -> None:
    item["status"] = {"readyReplicas": 2}


def a_note(item: KubeDict) -> None:
    item["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"


@pytest.mark.parametrize("edit", [a_status, a_note])
async def test_what_is_not_ours_may_change(api: FakeApi, edit: Any) -> None:
    one = await converged(api, deployment())
    api.edit("Deployment", "big", edit)
    before = api.writes
    assert await one.converge(OWNER, [deployment()]) == Applied()
    assert api.writes == before


async def test_a_server_that_spells_a_value_its_own_way_is_not_written_to_for_ever() -> None:
    """What no comparison of ours foresees: the server's answer to a rendering is remembered as its being in force."""

    def odd(item: KubeDict) -> None:
        item["spec"]["ports"] = [{"port": 80, "name": f"port-{one['port']}"} for one in item["spec"]["ports"]] * 2

    api = FakeApi(odd)
    one = await converged(api, service())
    before = api.writes
    for _ in range(3):
        await one.converge(OWNER, [service()])
    assert api.writes == before


async def test_a_deleted_child_is_made_anew(api: FakeApi) -> None:
    one = await converged(api, deployment(), service())
    gone = api.objects.pop(("Service", ("ai", "big")))
    gone["metadata"]["resourceVersion"] = "10000"
    api.store.remove(BY_KIND["Service"], gone)
    assert await one.converge(OWNER, [deployment(), service()]) == Applied(created=["Service big"])


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize(
    ("owner", "words"), [("", "somebody else"), ("owner-2", "ModelPool big")], ids=["of nobody", "of another pool"]
)
async def test_an_object_of_somebody_else_is_not_touched_and_nothing_is_written(
    seen: bool, owner: str, words: str
) -> None:
    api = FakeApi()
    theirs = api.put(build.item("Service", "big", uid="theirs", owner=owner, spec={"ports": []}), seen=seen)
    with pytest.raises(NameTakenError, match=words):
        await applier(api).converge(OWNER, [deployment(), service()])
    assert api.names() == ["Service big"]
    assert api.objects["Service", ("ai", "big")] == theirs
    assert api.writes == 0


async def test_what_is_no_longer_wanted_is_deleted_and_only_that(api: FakeApi) -> None:
    one = await converged(api, deployment(), service(), child("ConfigMap", "big-router"))
    api.put(build.item("Service", "other", owner="owner-2"))
    done = await one.converge(OWNER, [deployment()], keep=["ConfigMap"])
    assert done == Applied(deleted=["Service big"])
    assert api.names() == ["ConfigMap big-router", "Deployment big", "Service other"]


async def test_a_child_that_was_made_anew_by_somebody_is_not_deleted_in_its_place() -> None:
    api = FakeApi()
    one = await converged(api, service())
    api.put(build.item("Service", "big", uid="theirs"), seen=False)
    await one.converge(OWNER, [])
    assert api.names() == ["Service big"]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_child_that_is_being_deleted_is_left_alone(api: FakeApi, wanted: bool) -> None:
    one = await converged(api, service())
    api.edit("Service", "big", lambda item: item["metadata"].update(deletionTimestamp=build.at(9)))
    before, writes = copy.deepcopy(api.objects), api.writes
    assert await one.converge(OWNER, [service(8080)] if wanted else []) == Applied()
    assert (api.objects, api.writes) == (before, writes)


async def test_a_refusal_reaches_the_caller_and_the_next_round_goes_on(api: FakeApi) -> None:
    one = applier(api)
    api.refuses = KubeError(429, "slow down", 1.0)
    with pytest.raises(KubeError):
        await one.converge(OWNER, [deployment(), service()])
    api.refuses = None
    await one.converge(OWNER, [deployment(), service()])
    assert api.names() == ["Deployment big", "Service big"]


async def test_forgetting_an_object_costs_no_write(api: FakeApi) -> None:
    one = await converged(api, service())
    one.forget(BY_KIND["Service"], ("ai", "big"))
    before = api.writes
    await one.converge(OWNER, [service()])
    assert api.writes == before
