"""Real llama.cpp pods: the first users of a gated replica find their prefix cached, those of another wait for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fleet.conftest import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1300), pytest.mark.xdist_group("fleet")]

PREFIX = "".join(chr(97 + (number * number + number // 7) % 26) for number in range(6000))  # a token per character
SLOTS = 2
ASK = """
import json, sys, time, threading, urllib.request
def ask(number, found):
    messages = [{"role": "system", "content": PREFIX},
                {"role": "user", "content": f"Question {number}: is clause {number} valid?"}]
    body = {"model": "tiny", "messages": messages, "max_tokens": 4, "stream": True,
            "stream_options": {"include_usage": True}}
    request = urllib.request.Request("http://127.0.0.1:8000/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    began, first, usage = time.monotonic(), None, {}
    with urllib.request.urlopen(request, timeout=120) as answer:
        for line in answer:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if first is None and event.get("choices"):
                    first = time.monotonic() - began
                usage = event.get("usage") or usage
    found.append({"seconds": first, "prompt": usage["prompt_tokens"],
                  "cached": usage["prompt_tokens_details"]["cached_tokens"]})
PREFIX, count, found = sys.argv[1], int(sys.argv[2]), []
threads = [threading.Thread(target=ask, args=(number, found)) for number in range(count)]
[one.start() for one in threads]
[one.join() for one in threads]
print(json.dumps(found))
"""


def pool(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "comptroller.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": name, "namespace": "inference"},
        "spec": {
            "model": {"name": "tiny", "contextLength": 8192},
            "location": {"jurisdiction": "EU", "perimeter": "onPremises"},
            "local": {
                "engine": {
                    "name": "llamacpp",
                    "image": "comptroller/llamacpp:dev",
                    "command": ["python3", "-m", "engines.llamacpp_server"],
                    "args": ["--tiny-model", "--threads=2"],
                },
                "accelerator": {"class": "cpu", "count": 0},
                "replicas": {"min": 1, "max": 1},
                "performance": {"alphaMs": "5", "betaMs": "0.5", "gammaMs": "0.001", "maxConcurrency": SLOTS},
                "startupSeconds": 5,
                "pod": {
                    "imagePullPolicy": "Never",
                    "terminationGracePeriodSeconds": 5,
                    "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
                },
            },
        },
    }


def warmup() -> dict[str, Any]:
    return {
        "apiVersion": "comptroller.dev/v1alpha1",
        "kind": "CacheWarmup",
        "metadata": {"name": "long", "namespace": "inference"},
        "spec": {
            "pools": ["tiny-warm"],
            "prefixes": [{"name": "long", "system": {"configMapKeyRef": {"name": "long-prompt", "key": "system"}}}],
            "triggers": {"schedule": "55 7 * * 1-5", "timeZone": "Europe/Berlin"},
            "verification": {"minimumHitRatio": "0.97"},
        },
    }


@pytest.fixture(scope="module")
def pods(fleet: Fleet) -> Iterator[dict[str, str]]:
    """The pods of a gated and of an ungated pool, ready and not yet asked by anybody."""
    prompt = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "long-prompt", "namespace": "inference"},
        "data": {"system": PREFIX},
    }  # fmt: skip
    for item in (prompt, warmup(), pool("tiny-warm"), pool("tiny-cold")):
        fleet.apply(item)
    try:
        yield {name: until(lambda name=name: _ready_pod(fleet, name)) for name in ("tiny-warm", "tiny-cold")}
    finally:
        fleet.kubectl("delete", "-n", "inference", "cw/long", "mp/tiny-warm", "mp/tiny-cold", "cm/long-prompt")


def test_the_first_user_of_a_gated_replica_finds_the_prefix_cached(
    fleet: Fleet, pods: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    warm, cold = (_ask(fleet, pods[name], SLOTS if name == "tiny-warm" else 1) for name in ("tiny-warm", "tiny-cold"))
    ratio = cold[0]["seconds"] / min(one["seconds"] for one in warm)
    hits = [one["cached"] / one["prompt"] for one in warm]
    table = fleet.kubectl("get", "cw", "-n", "inference")
    with capsys.disabled():
        print(f"\nfirst user, {cold[0]['prompt']} tokens: cold {cold[0]['seconds']:.2f} s, warm "
              f"{warm[0]['seconds']:.3f} s, {ratio:.0f} times faster, hit ratio {min(hits):.1%}\n{table}")  # fmt: skip
    assert cold[0]["cached"] < 0.05 * len(PREFIX)
    assert len(warm) == SLOTS
    assert min(hits) >= 0.97
    assert [one for one in table.splitlines() if one.startswith("long ") and "1/1" in one and "07:55" in one]


def test_a_replica_whose_engine_restarts_takes_no_traffic_before_it_is_warm_again(
    fleet: Fleet, pods: dict[str, str]
) -> None:
    name = pods["tiny-warm"]
    runs = _runs(fleet)
    fleet.kubectl("exec", "-n", "inference", name, "--", "python3", "-c", "import os; os.kill(1, 15)", check=False)
    until(lambda: _restarts(fleet, name) and _ready_pod(fleet, "tiny-warm"))
    assert _runs(fleet) - runs
    (answer,) = _ask(fleet, name, 1)
    assert answer["cached"] >= 0.97 * answer["prompt"]


def until(found: Callable[[], Any], seconds: float = 240.0) -> Any:
    """What is found as soon as it is."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(1.0)
    return value


def _ready_pod(fleet: Fleet, pool: str) -> str:
    for pod in fleet.get("pods", "-n", "inference", "-l", f"comptroller.dev/pool={pool}")["items"]:
        conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
        if "batch.kubernetes.io/job-name" not in pod["metadata"]["labels"] and conditions.get("Ready") == "True":
            gated = bool(pod["spec"].get("readinessGates"))
            assert gated == (pool == "tiny-warm")
            return str(pod["metadata"]["name"])
    return ""


def _restarts(fleet: Fleet, pod: str) -> int:
    return int(fleet.get("pod", pod, "-n", "inference")["status"]["containerStatuses"][0]["restartCount"])


def _runs(fleet: Fleet) -> set[str]:
    jobs = fleet.get("jobs", "-n", "inference", "-l", "comptroller.dev/warmup=long")["items"]
    return {one["metadata"]["name"] for one in jobs}


def _ask(fleet: Fleet, pod: str, count: int) -> list[dict[str, Any]]:
    """Users' first questions, all at once, asked beside the engine."""
    said = fleet.kubectl("exec", "-n", "inference", pod, "--", "python3", "-c", ASK, PREFIX, str(count))
    return list(json.loads(said.splitlines()[-1]))
