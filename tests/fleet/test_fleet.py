"""The whole product on a real cluster: real kubelets, Prometheus, LiteLLM and llama.cpp; GPUs and APIs simulated."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.fleet.conftest import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1300), pytest.mark.xdist_group("fleet")]

REACH = (
    "import socket, sys\n"
    "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 4).close(); print('reached')\n"
    "except OSError as error: print('refused', type(error).__name__)"
)

SERIES = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:4000/metrics', timeout=5).read().decode())"


def test_the_demo_tells_its_story(fleet: Fleet) -> None:
    checks = {one["name"]: one["detail"] for one in fleet.report.get("checks", []) if not one["passed"]}
    assert (fleet.code, checks) == (0, {}), fleet.output[-4000:]
    assert fleet.report["answered"] == fleet.report["requests"]
    assert fleet.report["canaries"] == 0
    assert fleet.report["restricted_requests"] > 0


def test_what_the_operator_counted_is_what_was_charged(fleet: Fleet) -> None:
    charged, counted = Decimal(str(fleet.report["hosted_usd"])), Decimal(str(fleet.report["operator_hosted_usd"]))
    assert abs(charged - counted) <= charged * Decimal("0.01")


def test_the_report_reconciles_with_what_was_charged(fleet: Fleet) -> None:
    address = fleet.get("service", "prometheus", "-n", "monitoring")["spec"]["clusterIP"]
    where = ("-n", "inference", "--prometheus", f"http://{address}:9090", "--since", "1h")
    found = json.loads(fleet.comptroller("report", *where, "-o", "json"))
    assert found["unknown"] == []
    outside = [one for one in found["by"]["pool"] if one["answeredInside"] == 0 and one["answers"] > 0]
    charged = Decimal(str(fleet.report["hosted_usd"]))
    assert abs(Decimal(str(sum(one["spentUsd"] for one in outside))) - charged) <= charged * Decimal("0.01")
    assert found["answers"] == pytest.approx(fleet.report["answered"], rel=0.01)
    assert (found["restrictedAnswersOutside"], found["restrictedAnswers"] > 0) == (0, True)
    levers = found["levers"]
    product = levers["routing"] * levers["caching"] * levers["serving"]
    assert product == pytest.approx(1 - found["savedRatio"], rel=1e-9)
    assert "One more" in fleet.comptroller("report", *where)


def test_a_restricted_router_holds_no_key_and_names_no_hosted_pool(fleet: Fleet) -> None:
    router = fleet.get("deployment", "research-router-restricted", "-n", "inference")
    config = fleet.get("configmap", "research-router-restricted", "-n", "inference")["data"]["config.yaml"]
    environment = router["spec"]["template"]["spec"]["containers"][0]["env"]
    assert not [one for one in environment if "secretKeyRef" in one.get("valueFrom", {})]
    for word in ("claude", "gpt-5", "anthropic", "openai/gpt", "os.environ"):
        assert word not in config


def test_the_network_lets_a_restricted_router_reach_its_pools_and_nothing_outside(fleet: Fleet) -> None:
    def reach(host: str, port: str) -> str:
        deployment = "deploy/research-router-restricted"
        return fleet.kubectl("exec", "-n", "inference", deployment, "--", "python3", "-c", REACH, host, port).strip()

    assert reach("qwen3-32b.inference.svc.cluster.local", "8000") == "reached"
    for name in ("anthropic", "openai"):
        service = fleet.get("service", name, "-n", "hosted-apis")
        port = str(service["spec"]["ports"][0]["port"])
        assert reach(service["spec"]["clusterIP"], port).startswith("refused")


def test_a_compromised_restricted_router_reaches_no_address_that_the_open_one_does(fleet: Fleet) -> None:
    """What the open router reaches shows that there is something to reach."""

    def reach(router: str, host: str, port: str) -> str:
        where = ("exec", "-n", "inference", f"deploy/{router}", "--", "python3", "-c")
        return fleet.kubectl(*where, REACH, host, port).strip()

    server = fleet.get("endpoints", "kubernetes", "-n", "default")["subsets"][0]
    places = [("kubernetes.default.svc.cluster.local", "443")]
    places += [(server["addresses"][0]["ip"], str(server["ports"][0]["port"]))]
    for item in fleet.get("pods", "-n", "hosted-apis")["items"]:  # past the Services, by the pods' own addresses
        port = item["spec"]["containers"][0]["ports"][0]["containerPort"]
        places.append((item["status"]["podIP"], str(port)))

    for host, port in places:
        assert reach("research-router", host, port) == "reached", (host, port)
        assert reach("research-router-restricted", host, port).startswith("refused"), (host, port)
    assert reach("research-router-restricted", "kube-dns.kube-system.svc.cluster.local", "53") == "reached"


def test_a_changed_policy_is_in_force_without_a_new_router(fleet: Fleet, record_property: Any) -> None:
    where = ("exec", "-n", "inference", "deploy/research-router", "--", "python3", "-c")
    pods = ("get", "pods", "-n", "inference", "-l", "comptroller.dev/router=research-router", "-o", "name")
    before, began = fleet.kubectl(*pods), time.monotonic()
    change = [{"op": "add", "path": "/spec/routes/0/workflow", "value": "changed"}]
    fleet.kubectl("patch", "routingpolicy", "research", "-n", "inference", "--type=json", "-p", json.dumps(change))
    patched = time.monotonic()
    while 'workflow="changed"' not in fleet.kubectl(*where, SERIES):
        assert time.monotonic() - patched < 60, "the routers do not know the change"
    record_property("seconds_to_effect", f"{time.monotonic() - began:.1f}")
    print(f"in force {time.monotonic() - began:.1f} s after kubectl patch was called")
    assert fleet.kubectl(*pods) == before


def test_a_client_cannot_talk_a_restricted_route_outside(fleet: Fleet) -> None:
    body = json.dumps(
        {
            "model": "deal-review",
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 4,
            "fallbacks": ["planning", "claude-sonnet-4-5"],
        }
    )
    ask = (
        "import json, os, sys, urllib.request, urllib.error\n"
        "request = urllib.request.Request('http://127.0.0.1:4000/v1/chat/completions', sys.argv[1].encode(), "
        "{'Content-Type': 'application/json', 'Authorization': 'Bearer ' + open(sys.argv[2]).read().strip()})\n"
        "try: print(urllib.request.urlopen(request, timeout=20).status)\n"
        "except urllib.error.HTTPError as error: print(error.code, error.read().decode()[:300])"
    )
    folder = "/etc/comptroller/keys/research"
    listing = "import os; print(*[n for n in os.listdir('" + folder + "') if not n.startswith('.')])"
    where = ("exec", "-n", "inference", "deploy/research-router-restricted", "--", "python3", "-c")
    key = fleet.kubectl(*where, listing).split()[0]
    answer = fleet.kubectl(*where, ask, body, f"{folder}/{key}")
    assert answer.startswith("400"), answer
    assert "fallbacks" in answer


def test_every_kind_waits_for_ready_and_tells_its_story(fleet: Fleet) -> None:
    for kind in ("modelpools", "routingpolicies", "cachewarmups"):
        fleet.kubectl("wait", "-n", "inference", kind, "--all", "--for=condition=Ready", "--timeout=60s")
    table = fleet.kubectl("get", "mp,rp,cw", "-n", "inference")
    for word in ("WANT", "WHY", "SPILL", "SPEEDUP", "qwen3-32b", "h100"):
        assert word in table


def test_a_deleted_policy_takes_its_routers_along_and_the_pools_go_on(fleet: Fleet) -> None:
    fleet.kubectl("delete", "routingpolicy", "research", "-n", "inference", "--wait=true")
    wait = ("wait", "-n", "inference", "--for=delete", "deployment/research-router", "--timeout=60s")
    fleet.kubectl(*wait)
    pools = fleet.get("deployments", "-n", "inference", "-l", "app.kubernetes.io/component=engine")["items"]
    assert {one["metadata"]["name"] for one in pools} >= {"qwen3-32b", "qwen3-8b"}
    assert all(one["spec"]["replicas"] >= 1 for one in pools)
