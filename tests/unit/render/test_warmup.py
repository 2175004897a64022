"""Jobs that warm replicas."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from comptroller.render.warmup import warmup_run_name
from tests.golden.cases import REPLICAS, WARMUPS, warmup


def plan(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(warmup(name)[0]["data"]["plan.json"])
    return content


def test_a_run_has_one_name_and_another_run_another() -> None:
    spec, replica = WARMUPS["compliance"], REPLICAS["compliance"]
    changed = spec.model_copy(update={"prefixes": spec.prefixes[:1]})
    names = [
        warmup_run_name("compliance", spec, replica),
        warmup_run_name("compliance", spec, replace(replica, pod_uid="other")),
        warmup_run_name("compliance", spec, replica, run="2026-11-23T07:55:00Z"),
        warmup_run_name("compliance", spec, replica, content="resourceVersion 2"),
        warmup_run_name("compliance", changed, replica),
    ]

    assert len(set(names)) == len(names)
    assert names[0] == warmup_run_name("compliance", spec, replica) == warmup("compliance")[1]["metadata"]["name"]


def test_referenced_texts_are_mounted_and_inline_ones_are_in_the_plan() -> None:
    prefixes = plan("compliance")["prefixes"]
    job = warmup("compliance")[1]["spec"]["template"]["spec"]
    sources = next(one for one in job["volumes"] if one["name"] == "prefixes")["projected"]["sources"]

    assert prefixes[0]["system"] == {"file": "/etc/comptroller/prefixes/0-system"}
    assert prefixes[1]["system"] == {"text": "You are terse."}
    assert [next(iter(one)) for one in sources] == ["configMap", "secret"]


def test_an_ipv6_address_and_slots_are_in_the_plan() -> None:
    assert plan("shots")["address"] == "http://[fd00::7]:8080"
    assert plan("shots")["slots"] == 2
    assert plan("compliance")["slots"] == 0


def test_the_gate_ends_the_job() -> None:
    spec = warmup("compliance")[1]["spec"]

    assert spec["activeDeadlineSeconds"] == 300
    assert plan("compliance")["deadlineSeconds"] < 300
