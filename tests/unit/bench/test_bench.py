"""Each benchmark runs with the smallest size. What takes a router or an API server is replaced by something small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench import __main__ as command
from bench import decision, engine, operator_process, processes, report, router, warmups
from bench.decision_fleets import fleet
from tests.api.operator_process import ACCOUNT

KEYS = {"at", "commit", "processor", "load average", "python", "versions", "seed", "runs"}


def test_decisions_are_timed_and_compared() -> None:
    found = decision.measure({"demo": 1}, seed=3, runs=1, large={"10x20 in 2": 3})

    cost, large, worth = found.tables
    assert large.rows[0][:1] + large.rows[0][2:3] == ("10x20 in 2", "3")
    assert found.values["large"]["10x20 in 2"]["rungs"] == ["milp"] * 4
    assert len(cost.rows) == 1
    assert len(worth.rows) == len(decision.LOADS)
    assert found.values["cost"]["demo"][0]["rungs"] == ["milp"] * 3
    assert json.loads(json.dumps(found.as_json()))["name"] == "decision"


@pytest.mark.parametrize("size", ["demo", "10x10", "10x20 in 2"])
def test_equal_seeds_make_equal_fleets(size: str) -> None:
    assert fleet(size, 1, 1.0) == fleet(size, 1, 1.0)
    assert fleet(size, 1, 1.0) != fleet(size, 2, 1.0)


def test_a_plan_is_never_dearer_than_greedy_by_its_own_account() -> None:
    one = decision.compare("demo", 1, 0.6)

    assert one.milp_rung == "milp"
    assert one.dearer_in_all_percent >= -decision.TIE_PERCENT


def test_the_engine_is_measured() -> None:
    found = engine.measure(requests=1, runs=1)

    assert all(one["engine"] > 0 for one in found.values["batches"])
    assert len(found.tables[0].rows) == 3


def test_nobody_pays_a_cold_prefix_while_a_gated_fleet_is_updated() -> None:
    found = warmups.measure(replicas=2, prefixes=3, steady_seconds=180.0)

    gated, ungated = found.values["gated"], found.values["ungated"]
    assert gated["requests"] > 0
    assert (gated["cold"], gated["steady_cold"]) == (0, 0)
    assert ungated["cold"] > 0
    assert gated["update_max_ms"] < ungated["update_max_ms"]


def test_the_router_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def two_upstreams(_: str) -> Iterator[tuple[Any, Any]]:
        start = (sys.executable, "-m", "bench.upstream")
        with processes.server(*start) as (first, there), processes.server(*start) as (second, elsewhere):
            yield SimpleNamespace(process=first, url=there), SimpleNamespace(process=second, url=elsewhere, key="one")

    monkeypatch.setattr(router, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(router, "_routers", two_upstreams)

    found = router.measure(requests=2, runs=1, idle_seconds=0.1)

    assert [row[0] for row in found.tables[0].rows] == [kind.name for kind in router.KINDS]
    assert all(one["router"] > 0 and one["litellm_alone"] > 0 for one in found.values["batches"])


def test_without_its_programs_a_benchmark_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(router, "PYTHON", tmp_path / "python")
    monkeypatch.setattr(operator_process, "BINARIES", tmp_path)

    assert "make setup" in router.measure(1).skipped
    assert "make setup" in operator_process.measure(1).skipped


class Server:
    """An API server whose every patch makes the operator write once; its log also has the requests of others."""

    def __init__(self, folder: Path) -> None:
        self.audit_log = folder / "audit.jsonl"
        self.audit_log.write_text("")
        self.log("kopf", "patch", "pods")

    def log(self, user: str, verb: str, resource: str) -> None:
        event = {"verb": verb, "user": {"username": user}, "objectRef": {"resource": resource}}
        with self.audit_log.open("a") as log:
            log.write(json.dumps(event) + "\n")

    def kubectl(self, *_: str) -> str:
        self.log(ACCOUNT, "patch", "deployments")
        return ""

    def get(self, *_: str) -> Any:
        return {"items": [{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}]}


def test_the_operator_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(operator_process, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(operator_process, "SAMPLE_SECONDS", 0.05)
    server: Any = Server(tmp_path)
    server.log(ACCOUNT, "create", "services")
    server.log(ACCOUNT, "watch", "pods")
    process = SimpleNamespace(pid=os.getpid())
    operator: Any = SimpleNamespace(process=process, metric=lambda _: 1.0, complaints=list)

    found = operator_process._measured(server, operator, time.monotonic(), pools=2, runs=1, idle_seconds=0.1)

    assert found.values["writes_by_kind"] == {"create services": 1}
    assert found.values["cold"]["writes"] == 1
    assert found.values["idle"]["writes"] == 0
    assert [one["writes"] for one in found.values["changes"]] == [1]


def test_a_process_is_measured_and_ended_by_its_id() -> None:
    work = "import time; sum(range(3 * 10**6)); print('done', flush=True); time.sleep(60)"
    started = subprocess.Popen([sys.executable, "-c", work], text=True, stdout=subprocess.PIPE)

    try:
        assert started.stdout is not None
        assert started.stdout.readline() == "done\n"
        assert 0 < processes.memory_mib(started.pid)[0] <= processes.memory_mib(started.pid)[1]
        assert processes.cpu_seconds(started.pid) > 0
    finally:
        processes.end(started)
    assert started.poll() is not None


def test_the_command_prints_figures_under_their_conditions(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = report.Table("Title", ("what", "figure"), (("one", "1.0"),), ("a note",))
    monkeypatch.setattr(engine, "measure", lambda *_, **__: report.Report("engine", (table,), {"one": 1.0}))

    assert command.main(["engine", "--json", str(tmp_path / "found.json")]) == 0

    printed = capsys.readouterr().out
    assert "processor" in printed
    assert "what  figure\none      1.0\n  a note\n" in printed
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["conditions"].keys() >= KEYS
    assert written["reports"][0]["values"] == {"one": 1.0}
    assert written["reports"][0]["load_average"].keys() == {"before", "after"}


def test_medians_stand_with_their_range() -> None:
    assert report.middle([3.0, 1.0, 2.0]) == "2.0 (1.0–3.0)"
    assert report.middle([2.0]) == "2.0"
    assert report.middle([]) == "–"


def test_a_terminal_gets_a_table() -> None:
    console = Console(force_terminal=True, width=60, record=True)
    report.show(console, report.Table("Title", ("what", "figure"), (("one", "1.0"),)))
    assert "┃" in console.export_text()
