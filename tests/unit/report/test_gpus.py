"""GPU classes and last decisions of `comptroller status`."""

from __future__ import annotations

from datetime import UTC, datetime

from comptroller.report.gpus import Nodes, decision_lines, gpu_rows, gpu_table, latest_decisions
from tests.unit.report.fleet import hosted_pool, local_pool, policy

NOW = datetime(2026, 3, 2, 14, 5, 0, tzinfo=UTC)


def test_gpus_are_counted_by_class_and_not_by_replica() -> None:
    big = local_pool()
    big["spec"]["local"]["accelerator"] = {"class": "h100", "count": 2}
    rows = gpu_rows([local_pool(), big, hosted_pool()], {"h100": Nodes(16, 4), "l40s": Nodes(8, 8)})
    assert gpu_table(rows) == [
        "GPU CLASS  WANT  READY  FREE  OF",
        "h100         12      6     4  16",
        "l40s          0      0     8   8",
    ]


def test_nodes_that_may_not_be_read_are_unknown_and_a_class_without_nodes_has_none() -> None:
    assert gpu_table(gpu_rows([local_pool()], None))[1].split() == ["h100", "4", "2", "-", "-"]
    assert gpu_table(gpu_rows([local_pool()], {}))[1].split() == ["h100", "4", "2", "0", "0"]
    assert gpu_table(gpu_rows([hosted_pool()], None)) == []


def test_a_pool_about_which_nothing_is_decided_wants_nothing_yet() -> None:
    assert gpu_rows([local_pool() | {"status": {}}], None)[0]["want"] == 0


def test_a_decision_that_two_policies_remember_is_shown_once_newest_first() -> None:
    found = latest_decisions([policy(), policy()], 5)
    assert [one["id"] for one in found] == ["118", "97"]
    assert latest_decisions([policy()], 1) == found[:1]
    first, second = decision_lines(found, NOW)
    assert first.startswith("14:02:30 #118 qwen3-32b-h100: 2 -> 4")
    assert "#97" in second
