"""The small parts of the process: clock, logs, pages, kopf's settings."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC
from typing import Self

import aiohttp
import kopf
import pytest
from prometheus_client import CollectorRegistry, Gauge

from comptroller.allocation.decision import Decision, PoolTarget
from comptroller.allocation.snapshot import Memory, Snapshot
from comptroller.api.conditions import Reason
from comptroller.api.settings import Settings
from comptroller.cli import run as verb
from comptroller.handlers import watches
from comptroller.kube.client import KubeError
from comptroller.kube.resources import CHILDREN, WATCHED, KubeDict
from comptroller.observe.measurements import Measurements
from comptroller.runtime import clock, logs
from comptroller.runtime.logs import JsonFormatter
from comptroller.runtime.metrics import Metrics
from comptroller.runtime.operator import Operator
from comptroller.runtime.server import serve


def test_times_are_written_as_kubernetes_writes_them() -> None:
    assert clock.timestamp(1795327200.9) == "2026-11-22T06:00:00Z"
    assert clock.micro_timestamp(1795327200.5) == "2026-11-22T06:00:00.500000Z"
    assert clock.now_datetime().tzinfo is UTC
    assert clock.monotonic_seconds() <= clock.monotonic_seconds()


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("comptroller", logging.WARNING, "f.py", 1, message, arguments, None)
    vars(made).update(extra)
    return made


def test_a_log_line_is_one_json_object_with_its_extra_fields() -> None:
    line = json.loads(JsonFormatter().format(record("Wanted %s -> %s", 2, 4, pool="ai/big", odd={1}, _hidden=1)))
    assert line["message"] == "Wanted 2 -> 4"
    assert (line["level"], line["logger"], line["pool"], line["odd"]) == ("warning", "comptroller", "ai/big", "{1}")
    assert "_hidden" not in line
    assert "args" not in line


def test_a_log_line_of_an_error_has_its_trace_and_is_still_one_line() -> None:
    try:
        int("many")
    except ValueError as error:
        made = record("failed")
        made.exc_info = (type(error), error, error.__traceback__)
    text = JsonFormatter().format(made)
    assert "\n" not in text
    assert json.loads(text)["exception"].endswith("ValueError: invalid literal for int() with base 10: 'many'")


async def test_the_pages_tell_health_readiness_metrics_and_targets() -> None:
    registry = CollectorRegistry()
    Gauge("made_up", "A gauge.", registry=registry).set(3)
    runner = await serve(
        0, registry, lambda: {"ok": True, "queue": 2}, lambda: {"ok": False}, lambda: [{"targets": ["10.0.0.1:8000"]}]
    )
    try:
        port = next(one[1] for one in runner.addresses if len(one) == 2)  # IPv4
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            found = {}
            for page in ("healthz", "readyz", "metrics", "targets"):
                async with session.get(f"/{page}") as answer:
                    found[page] = (answer.status, await answer.text())
    finally:
        await runner.cleanup()
    assert (found["healthz"][0], json.loads(found["healthz"][1])) == (200, {"ok": True, "queue": 2})
    assert found["readyz"][0] == 503
    assert "made_up 3.0" in found["metrics"][1]
    assert json.loads(found["targets"][1]) == [{"targets": ["10.0.0.1:8000"]}]


def decision(pool: str, replicas: int) -> Decision:
    target = PoolTarget(pool, replicas, 0, Reason.DEMAND_SERVED, "", 0.0, None, 0.0, 0.0, 1)
    return Decision({pool: target}, {}, {}, 1.5, "milp", Memory(), {("h100", ""): 3.1})


def test_series_of_what_no_longer_exists_disappear() -> None:
    metrics = Metrics()
    nothing = Snapshot(0.0, (), (), (), {})
    metrics.show(nothing, Measurements(), decision("ai/big", 2), 5.0)
    value = metrics.registry.get_sample_value
    assert value("comptroller_usd_per_hour") == 1.5
    labels = {"gpu_class": "h100", "site": ""}
    assert value("comptroller_gpu_shadow_price_usd_per_hour", labels) == 3.1
    metrics.show(nothing, Measurements(), Decision({}, {}, {}, 0.0, "hold", Memory()), 6.0)
    assert value("comptroller_gpu_shadow_price_usd_per_hour", labels) is None
    assert value("comptroller_decisions_total", {"rung": "hold"}) == 1


@pytest.fixture
def operator() -> Operator:
    return Operator(None, Settings())  # type: ignore[arg-type]


def test_every_kind_is_watched_by_one_handler_that_only_looks(operator: Operator) -> None:
    registry = watches.build_registry(operator)
    ids = sorted(handler.id for handler in registry._watching.get_all_handlers())
    assert ids == sorted(f"watch-{resource.plural}" for resource in WATCHED)
    assert registry._changing.get_all_handlers() == []
    assert registry._spawning.get_all_handlers() == []


def test_kopf_writes_nothing_to_users_objects_and_filters_children_at_the_server() -> None:
    settings = kopf.OperatorSettings()
    watches.configure(settings)
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert len(settings.watching.label_selectors) == len(CHILDREN)


class Unserved:
    """A client whose API server does not know our kinds."""

    def __init__(self) -> None:
        self.lists = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def list(self, *_: object) -> AsyncIterator[KubeDict]:
        self.lists += 1
        raise KubeError(404, "404 page not found")
        yield {}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # kopf's own, never begun
def test_a_start_without_our_kinds_ends_at_once_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Unserved()

    async def connect(_: str) -> Unserved:
        return client

    monkeypatch.setattr(watches.KubeClient, "connect", connect)
    monkeypatch.setattr(logs, "configure", lambda _: None)
    began = clock.monotonic_seconds()
    assert verb.run(argparse.Namespace(settings=None, log_level="error")) == 1
    assert clock.monotonic_seconds() - began < 30
    assert client.lists == 1
    assert "modelpools.comptroller.dev: apply crds/ first" in capsys.readouterr().err


def test_a_start_without_a_way_to_log_in_ends_at_once_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    monkeypatch.setattr(logs, "configure", lambda _: None)
    assert verb.run(argparse.Namespace(settings=None, log_level="error")) == 1
    assert "there is no kubeconfig /nowhere. Set KUBECONFIG" in capsys.readouterr().err
