"""The dashboard's queries against the Prometheus of the cluster, with real routers, engines and APIs behind it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from monitoring.dashboard import queries
from tests.fleet.conftest import CLUSTER, Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1300), pytest.mark.xdist_group("fleet")]

ASK = """
import json, sys, urllib.parse, urllib.request
address, expressions = json.load(sys.stdin)
def count(expression):
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://{address}:9090/api/v1/query?{query}", timeout=20) as answer:
        return len(json.load(answer)["data"]["result"])
print(json.dumps([count(one) for one in expressions]))
"""


def test_every_query_of_the_dashboard_had_data(fleet: Fleet) -> None:
    """In the hour of the demo's traffic, which is over by now. Its policy has no budget."""
    asked = [one.expression for one in queries() if "router_budget" not in one.expression]
    filled = [one.replace("$__rate_interval", "30s").replace("$policy", ".*") for one in asked]
    address = fleet.get("service", "prometheus", "-n", "monitoring")["spec"]["clusterIP"]
    sent = json.dumps([address, [f"last_over_time(({one})[1h:5s])" for one in filled]])
    command = [*CLUSTER, "exec", "--", sys.executable, "-c", ASK]
    done = subprocess.run(command, input=sent, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = dict(zip(asked, json.loads(done.stdout), strict=True))
    assert [expression for expression, count in found.items() if not count] == []
