"""The alert rules, tried by Prometheus' own tool: each fires when it must, says what it shall, and else is silent."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from monitoring.alerts import ALERTS, RUNBOOKS
from tests.api.operator_process import promtool_program
from tests.monitoring.rule_cases import CASES, Case, Series

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "monitoring" / "rules.yaml"
SEVERITIES = {alert.name: alert.severity for group in ALERTS.values() for alert in group}


def promtool(*arguments: str) -> None:
    done = subprocess.run([promtool_program(), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_can_read_the_rules() -> None:
    promtool("check", "rules", str(RULES))


def test_every_alert_is_tried() -> None:
    assert set(CASES) == set(SEVERITIES)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_must_and_else_is_silent(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    expected = {
        "exp_labels": {"severity": SEVERITIES[name], **case.labels},
        "exp_annotations": {"summary": case.says, "runbook_url": f"{RUNBOOKS}/{name}.md"},
    }
    tried = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [_world(name, case, case.fires, [expected]), _world(name, case, case.silent, [])],
    }
    path = tmp_path / "tried.yaml"
    path.write_text(yaml.safe_dump(tried))
    promtool("test", "rules", str(path))


def _world(name: str, case: Case, series: Series, expected: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"eval_time": f"{case.minutes}m", "alertname": name, "exp_alerts": expected}],
    }
