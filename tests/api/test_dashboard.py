"""The dashboard's queries against a real Prometheus that scrapes a running operator.

What only real routers tell (`needs_routers`: dollars, latencies, answers by pool, budgets) has no data in this world:
of those it is only required that Prometheus understands the query. Everything else must show something.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from monitoring.alerts import ALERTS
from monitoring.dashboard import queries
from tests.api.operator_objects import hosted_pool, local_pool, policy
from tests.api.operator_process import Fleet, Prometheus, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]


@pytest.fixture(scope="module")
def watched(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that scrapes routers and operator, beside a fleet with traffic."""
    source = Prometheus(tmp_path_factory.mktemp("watching"), fleet.routers.port, fleet.operator.port)
    source.start()
    fleet.apply(local_pool("chat", fleet.gpu_class), hosted_pool("api"), policy("desk", "chat", "api"))
    fleet.drive("desk", chat=3.0)
    until("demand is known", lambda: answer(source, "comptroller_route_requests_per_second > 2"), 60)
    until("a forecast is told", lambda: answer(source, "comptroller_forecast_skill"), 60)
    until("an interval is settled", lambda: answer(source, "rate(comptroller_ledger_usd_total[30s])"), 110)
    yield source
    source.stop()
    fleet.routers.remove(f"{fleet.namespace}/desk")


def answer(source: Prometheus, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers; an expression that it does not understand is an HTTP error."""
    with urlopen(f"{source.url}/api/v1/query?{urlencode({'query': expression})}", timeout=10) as answered:
        found: list[dict[str, Any]] = json.load(answered)["data"]["result"]
    return found


def filled(expression: str) -> str:
    """The expression as Grafana sends it."""
    return expression.replace("$__rate_interval", "30s").replace("$policy", ".*")


@pytest.mark.timeout(300)
def test_every_query_is_understood_and_shows_what_the_operator_tells(watched: Prometheus) -> None:
    empty = [one for one in queries() if not answer(watched, filled(one.expression))]
    assert [one.expression for one in empty if not one.needs_routers] == []


def test_no_alert_fires_on_a_fleet_that_is_well(watched: Prometheus) -> None:
    """Their waiting times left out: the expressions themselves become silent, as they are meant to be."""
    alerts = [alert for group in ALERTS.values() for alert in group]
    until("all are silent", lambda: [one.name for one in alerts if answer(watched, one.expression)] == [])


def test_the_conditions_of_a_pool_are_told_as_its_status_says_them(fleet: Fleet, watched: Prometheus) -> None:
    ready = fleet.condition("modelpool", "chat", "Ready")["status"]
    labels = f'namespace="{fleet.namespace}",name="chat",type="Ready",status="{ready}"'
    until("the condition is told", lambda: len(answer(watched, f"comptroller_condition{{{labels}}} == 1")) == 1)


def test_the_page_of_a_running_operator_shows_its_fleet(fleet: Fleet, watched: Prometheus) -> None:
    def told() -> dict[str, Any]:
        with urlopen(f"http://127.0.0.1:{fleet.operator.port}/page.json", timeout=5) as answered:
            found: dict[str, Any] = json.load(answered)
        return found

    until("money was read", lambda: told()["money"])
    found = told()
    (gpu,) = [one for one in found["gpus"] if one["class"] == fleet.gpu_class]
    assert [one["gpus"] for one in gpu["nodes"]] == [8]
    held = gpu["nodes"][0]["pools"]
    assert held.get(f"{fleet.namespace}/chat", 0) >= 1
    assert [one["name"] for one in found["pools"]] == [f"{fleet.namespace}/api", f"{fleet.namespace}/chat"]
    assert any("rps" in one["text"] for one in found["pools"][1]["sentences"])
    assert found["hours"][-1][1] > 0
    with urlopen(f"http://127.0.0.1:{fleet.operator.port}/", timeout=5) as answered:
        page = answered.read().decode()
        assert "default-src 'none'" in answered.headers["Content-Security-Policy"]
    assert f"{fleet.namespace}/chat" in page
