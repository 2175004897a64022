"""Objects that cannot be acted upon say why and what to do; all others go on, and so does the last good router."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.api.operator_objects import Object, hosted_pool, local_pool, policy, warmup
from tests.api.operator_process import Fleet, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

RESTRICTED = {"classification": "restricted", "perimeters": ["onPremises"]}


@dataclass(frozen=True, slots=True)
class Case:
    """A good object, what is changed about it so that it stalls, and what is then said."""

    good: Object
    wrong: Object
    reason: str
    says: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.good['kind'].lower()}/{self.good['metadata']['name']}"


def _cases(gpu_class: str) -> dict[str, Case]:
    unpriced = hosted_pool("api-priced")
    del unpriced["spec"]["hosted"]["prices"]
    return {
        "unknown pool": Case(
            policy("unknown", "base", "api"),
            policy("unknown", "base", "lost"),
            "UnknownPool",
            ("spec.routes[0].backends[1].pool", "lost", "Create it or correct the name"),
        ),
        "nobody is permitted": Case(
            policy("closed", "base", "api", data=RESTRICTED),
            policy("closed", "api", data=RESTRICTED),
            "NoPermittedBackend",
            ("spec.routes[0].data", "onPremises", "external", "Add a local pool to spec.routes[0].backends or widen"),
        ),
        "pass rate out of reach": Case(
            policy("strict", "base", quality={"minimumPassRate": "0.9"}),
            policy("strict", "base", quality={"minimumPassRate": "0.99"}),
            "UnreachablePassRate",
            ("spec.routes[0].quality.minimumPassRate", "0.99", "0.95", "Lower it or add a better pool"),
        ),
        "no price": Case(
            hosted_pool("api-priced"), unpriced, "MissingPrice", ("spec.hosted.prices", "model-of-api-priced", "Set")
        ),
        "no such GPU class": Case(
            local_pool("classed", gpu_class, maximum=1),
            local_pool("classed", "h1000", maximum=1),
            "UnknownGpuClass",
            ("spec.local.accelerator.class", "h1000", "add it to gpuClasses"),
        ),
        "warm-up of an unknown pool": Case(
            warmup("warm", "base"),
            warmup("warm", "base", ) | {"spec": warmup("warm", "lost")["spec"]},
            "UnknownPool",
            ("spec.pools[0]", "lost", "Create it or correct the name"),
        ),
    }  # fmt: skip


CASES = tuple(_cases("any"))


@pytest.fixture(scope="module")
def base(fleet: Fleet) -> Fleet:
    """What the others lean on, and a witness that must go on whatever they do."""
    fleet.apply(local_pool("base", fleet.gpu_class, maximum=2), hosted_pool("api"), policy("witness", "base", "api"))
    fleet.drive("witness", chat=1)
    fleet.ready("modelpool/base", "modelpool/api", "routingpolicy/witness")
    return fleet


@pytest.mark.parametrize("name", CASES)
def test_an_object_stalls_keeps_what_it_had_and_recovers(base: Fleet, name: str) -> None:
    case = _cases(base.gpu_class)[name]
    kind, own = case.name.split("/")
    base.apply(case.good)
    base.drive(own, chat=0)
    until("it is ready", lambda: base.finish_warmups() and _ready(base, case.name))
    until("its children rest", lambda: _rests(base, own))
    kept = _kept(base, own)
    assert kept or kind == "cachewarmup" or "hosted" in case.good["spec"]

    base.apply(case.wrong)
    base.kubectl("wait", "--for=condition=Stalled", case.name, "--timeout=20s")
    stalled = until("it speaks of this spec", lambda: base.condition(kind, own, "Stalled"))
    assert (stalled["status"], stalled["reason"]) == ("True", case.reason)
    for words in case.says:
        assert words in stalled["message"]
    assert base.condition(kind, own, "Ready")["status"] == "False"
    assert base.condition(kind, own, "Reconciling")["status"] == "False"
    _decided(base, 4)
    assert _kept(base, own) == kept
    _others_go_on(base)

    base.apply(case.good)
    until("it is ready again", lambda: base.finish_warmups() and _ready(base, case.name))
    until("it is no longer stalled", lambda: base.condition(kind, own, "Stalled").get("status") == "False")
    assert _kept(base, own) == kept


@pytest.mark.parametrize("name", CASES)
def test_an_object_that_was_never_good_stalls_without_a_child(base: Fleet, name: str) -> None:
    case = _cases(base.gpu_class)[name]
    wrong = {**case.wrong, "metadata": {"name": f"{case.wrong['metadata']['name']}-new"}}
    kind, own = case.name.split("/")
    base.apply(wrong)
    base.kubectl("wait", "--for=condition=Stalled", f"{kind}/{own}-new", "--timeout=20s")
    assert base.condition(kind, f"{own}-new", "Stalled")["reason"] == case.reason
    children = base.all("deployments,configmaps,services,jobs", "-l", f"app.kubernetes.io/instance={own}-new")
    assert children == []
    base.kubectl("delete", f"{kind}/{own}-new")


def _ready(fleet: Fleet, name: str) -> bool:
    kind, own = name.split("/")
    return bool(fleet.condition(kind, own, "Ready").get("status") == "True")


def _rests(fleet: Fleet, instance: str) -> bool:
    """Whether three decisions have changed nothing."""
    before = _kept(fleet, instance)
    _decided(fleet, 3)
    return _kept(fleet, instance) == before


def _kept(fleet: Fleet, instance: str) -> dict[str, Any]:
    """What the children of an object ask for. The plans of finished warm-ups come and go, and a router's limits and
    weights move with every decision."""
    found = fleet.all("deployments,services,configmaps,networkpolicies", "-l", f"app.kubernetes.io/instance={instance}")
    return {
        f"{one['kind']}/{one['metadata']['name']}": one.get("spec", _settled(one.get("data") or {}))
        for one in found
        if one["metadata"]["labels"]["app.kubernetes.io/component"] != "warmup"
    }


def _settled(data: dict[str, str]) -> dict[str, Any]:
    """The data of a ConfigMap; of a router's configuration what no decision moves."""
    if "config.yaml" not in data:
        return data
    config = yaml.safe_load(data["config.yaml"])
    config["x_comptroller"].pop("limits")
    for entry in config["model_list"]:
        entry["litellm_params"].pop("weight")
    return {**data, "config.yaml": config}


def _others_go_on(fleet: Fleet) -> None:
    """The witness is put right when it is disturbed."""
    fleet.ready("modelpool/base", "modelpool/api", "routingpolicy/witness", seconds=5)
    fleet.kubectl("delete", "service", "witness-router")
    until("its Service is back", lambda: fleet.get("service", "witness-router"), 15)


def _decided(fleet: Fleet, rounds: int) -> None:
    first = fleet.operator.metric("comptroller_decision_seconds_count")
    until("decisions", lambda: fleet.operator.metric("comptroller_decision_seconds_count") >= first + rounds, 60)
