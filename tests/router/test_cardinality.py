"""Whatever clients send, the number of series is bounded by the configuration."""

from __future__ import annotations

import random
import re

import httpx
import pytest

from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]

ROUTES = {"chat", "other", "single", "unknown"}
POOLS = {"inference/one", "inference/two", "inference/outside", "inference/judge", "inference/candidate", "none"}
ALLOWED: dict[str, set[str]] = {
    "policy": {"inference/research"},
    "route": ROUTES,
    "pool": POOLS,
    # other tests share this process: they have judges, shadows and budgets
    "tenant": {"team-a", "team-b", "unknown", "operator:evaluator", "operator:shadow"},
    "workflow": {"", "diligence"},
    "step": {"", "planning"},
    "kind": {"input", "cached_input", "cache_write_5m", "cache_write_1h", "output"},
    "reason": {"planned", "full", "failed", "degraded", "busy", "budget", "too_long"},
    "result": {"applied", "rejected"},
    "scope": {"policy", "tenant"},
    "name": {"", "team-a", "team-b"},
    "sharing": {"process", "redis"},
    "purpose": {"judge", "shadow", "verify"},
    "verdict": {"pass", "fail", "error"},
    "source": {"sample", "shadow", "verify"},
    "failed_pool": POOLS,
    "outcome": {
        "ok", "client_error", "overloaded", "error", "disconnected", "shed", "unauthorized", "forbidden",
        "unknown_route", "refused", "malformed", "budget", "busy", "full", "too_long",
    },
}  # fmt: skip


def test_labels_are_names_of_the_configuration(router: RunningRouter, upstreams: dict[str, Upstream]) -> None:
    dice = random.Random(11)

    def word() -> str:
        return dice.choice(["chat", "single", "other", "x" * 300, "a,b{c}", 'quote"', f"name-{dice.random()}", "é", ""])

    with httpx.Client(base_url=router.url, timeout=60) as client:
        for _ in range(150):
            upstreams["one"].status = dice.choice([200, 200, 200, 400, 429, 500])
            upstreams["one"].tells = {"x-litellm-model-id": f"evil/{dice.random()}/chat", "x-model": word() or "x"}
            key = dice.choice(["key-a", "key-a", "key-b", f"wrong-{dice.random()}"])
            head = {
                "authorization": f"Bearer {key}",
                f"x-{dice.randrange(10**6)}": "x",
                "user-agent": str(dice.random()),
            }
            path = dice.choice(["chat/completions", "messages", "embeddings", f"paths/{dice.random()}"])
            content = {
                "model": word(),
                "user": word(),
                "max_tokens": 5,
                "messages": [{"role": "user", "content": word()}],
            }
            client.post(f"/v1/{path}", json=content | ({word(): word()} if dice.random() < 0.2 else {}), headers=head)
        text = client.get("/metrics").text

    series = re.findall(r"^(comptroller_\w+?)(?:\{(.*)\})? ", text, re.MULTILINE)
    for name, labels in series:
        for label, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels):
            if label not in ("le", "digest"):
                assert value in ALLOWED[label], f"{name}: {label}={value!r}"
    counted = {name for name, labels in series if "digest" not in labels}
    assert len(series) < 60 * len(counted)
