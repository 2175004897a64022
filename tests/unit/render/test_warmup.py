"""Jobs that warm replicas."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from comptroller.api.cachewarmup import Message
from comptroller.render.warmup import Run, placed_digest, warmup_children, warmup_job_name, warmup_token
from tests.golden.cases import REPLICAS, SETTINGS, SLOTS, WARMUPS, owner, warmup


def plan(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(warmup(name)[0]["data"]["plan.json"])
    return content


def test_what_a_run_proves_has_one_name_and_anything_else_another() -> None:
    spec, replica = WARMUPS["compliance"], REPLICAS["compliance"]
    slots = SLOTS["compliance"]
    changed = spec.model_copy(update={"prefixes": [spec.prefixes[0], spec.prefixes[1].model_copy(update={"tools": None,
        "messages": [Message(role="user", content="2+2?")]})]})  # fmt: skip
    same, life = placed_digest(spec, slots, ""), "start-1"
    names = [
        warmup_token("compliance", same, replica, life),
        warmup_token("compliance", same, replace(replica, pod_uid="other"), life),
        warmup_token("compliance", same, replace(replica, model="other"), life),
        warmup_token("compliance", same, replica, "start-2"),
        warmup_token("compliance", placed_digest(spec, {"policy": ()}, ""), replica, life),
        warmup_token("compliance", placed_digest(spec, {"policy": (0,), "short": (1,)}, ""), replica, life),
        warmup_token("compliance", placed_digest(spec, slots, "digest of a ConfigMap"), replica, life),
        warmup_token("compliance", placed_digest(changed, slots, ""), replica, life),
    ]

    assert len(set(names)) == len(names)
    assert names[0] == warmup_token("compliance", placed_digest(spec, slots, ""), replica, life)
    assert warmup_job_name(names[0], None) == names[0] == warmup("compliance")[1]["metadata"]["name"]
    assert warmup_job_name(names[0], 1795327250) == f"{names[0]}-1795327250"
    assert len(warmup_job_name("w" * 63, 1795327250)) <= 63


def test_a_prefix_that_is_left_out_is_neither_sent_nor_mounted() -> None:
    spec, replica = WARMUPS["compliance"], REPLICAS["compliance"]
    run = Run("job", "token", {"short": ()})
    config, job = warmup_children("compliance", "ai", spec, replica, owner("CacheWarmup", "c"), SETTINGS, run)
    assert [one["name"] for one in json.loads(config["data"]["plan.json"])["prefixes"]] == ["short"]
    assert [one["name"] for one in job["spec"]["template"]["spec"]["volumes"]] == ["plan"]


def test_what_comes_from_a_secret_is_not_saved_where_other_pods_read_and_nothing_beside_users() -> None:
    spec, replica = WARMUPS["compliance"], replace(REPLICAS["compliance"], shared_volume=True, serving=True)
    run = Run("job", "token", SLOTS["compliance"])
    config, _ = warmup_children("compliance", "ai", spec, replica, owner("CacheWarmup", "c"), SETTINGS, run)
    shared = json.loads(config["data"]["plan.json"])
    assert [one["mayBeSaved"] for one in shared["prefixes"]] == [False, True]
    assert shared["save"] is False
    assert [one["mayBeSaved"] for one in plan("compliance")["prefixes"]] == [True, True]
    assert plan("compliance")["save"] is True


def test_referenced_texts_are_mounted_and_inline_ones_are_in_the_plan() -> None:
    prefixes = plan("compliance")["prefixes"]
    job = warmup("compliance")[1]["spec"]["template"]["spec"]
    sources = next(one for one in job["volumes"] if one["name"] == "prefixes")["projected"]["sources"]

    assert prefixes[0]["system"] == {"file": "/etc/comptroller/prefixes/0-system"}
    assert prefixes[1]["system"] == {"text": "You are terse."}
    assert [next(iter(one)) for one in sources] == ["configMap", "secret"]


def test_an_ipv6_address_and_slots_are_in_the_plan() -> None:
    assert plan("shots")["address"] == "http://[fd00::7]:8080"
    assert plan("shots")["prefixes"][0]["slots"] == [0, 1]
    assert plan("shots")["snapshots"] == "0123456789abcdef"
    assert [one["slots"] for one in plan("compliance")["prefixes"]] == [[], []]


def test_the_gate_ends_the_job() -> None:
    spec = warmup("compliance")[1]["spec"]

    assert spec["activeDeadlineSeconds"] == 300
    assert plan("compliance")["deadlineSeconds"] < 300
