"""The chart, rendered by the real helm: what it installs, what it refuses, and that nothing in it is dead."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import generate
from comptroller import __version__
from comptroller.api.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "comptroller"
HELM = ROOT / ".cluster" / "bin" / "helm"
NAMESPACE = "comptroller-system"


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *arguments], capture_output=True, text=True, check=False)


def rendered(*more: str) -> list[dict[str, Any]]:
    """Every object of `helm template`."""
    done = helm("template", "comptroller", str(CHART), "--kube-version", "1.36.0", "--namespace", NAMESPACE, *more)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def one(objects: list[dict[str, Any]], kind: str, name: str = "comptroller") -> dict[str, Any]:
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def refused(*more: str) -> str:
    done = helm("template", "comptroller", str(CHART), "--kube-version", "1.36.0", *more)
    assert done.returncode != 0
    return done.stderr


def test_what_is_generated_is_committed() -> None:
    stale = [str(path) for path, text in generate.written().items() if path.read_text() != text]
    assert stale == [], "run `make generate`"


def test_lint_finds_nothing() -> None:
    done = helm("lint", str(CHART), "--strict")
    assert done.returncode == 0, done.stdout


def test_every_value_is_used_and_every_used_value_exists() -> None:
    known = {value.path for value in generate.values((CHART / "values.yaml").read_text())}
    texts = "\n".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    used = set(re.findall(r"\.Values\.([A-Za-z0-9.]+)", texts))
    assert {path for path in used if not any(path in (k, k.rsplit(".", 1)[0]) for k in known)} == set()
    assert {path for path in known if not any(path == u or path.startswith(f"{u}.") for u in used)} == set()


def test_the_version_is_that_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_the_kinds_are_installed_and_kept_and_stay_small_enough_for_a_release() -> None:
    crds = [item for item in rendered() if item["kind"] == "CustomResourceDefinition"]
    assert {item["spec"]["names"]["kind"] for item in crds} == {"ModelPool", "RoutingPolicy", "CacheWarmup"}
    assert {item["metadata"]["annotations"]["helm.sh/resource-policy"] for item in crds} == {"keep"}
    assert not [item for item in rendered("--set", "crds.enabled=false") if item["kind"] == "CustomResourceDefinition"]
    gone = one(rendered("--set", "crds.keep=false"), "CustomResourceDefinition", "modelpools.comptroller.dev")
    assert "helm.sh/resource-policy" not in (gone["metadata"].get("annotations") or {})


def test_cluster_wide_or_namespaced_it_may_the_same_from_one_list() -> None:
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    wide = rendered()
    assert one(wide, "ClusterRole")["rules"] == rules["namespaced"] + rules["cluster"]
    assert [item["metadata"]["name"] for item in wide if item["kind"] == "Role"] == ["comptroller-lease"]
    narrow = rendered("--set", "watchNamespaces={inference,research}")
    assert one(narrow, "ClusterRole")["rules"] == rules["cluster"]
    roles = [item for item in narrow if item["kind"] == "Role" and item["metadata"]["name"] == "comptroller"]
    assert {item["metadata"]["namespace"] for item in roles} == {"inference", "research"}
    assert all(item["rules"] == rules["namespaced"] for item in roles)
    settings = load_settings(one(narrow, "ConfigMap")["data"]["settings.yaml"])
    assert settings.watch_namespaces == ["inference", "research"]


LEASE = "settings.leaderElection.leaseName=mine"


@pytest.mark.parametrize("more", [(), ("--set", "watchNamespaces={inference}"), ("--set", LEASE)])
def test_it_may_write_the_one_lease_that_its_settings_name_and_only_at_home(more: tuple[str, ...]) -> None:
    objects = rendered(*more)
    name = load_settings(one(objects, "ConfigMap")["data"]["settings.yaml"]).leader_election.lease_name
    role, binding = one(objects, "Role", "comptroller-lease"), one(objects, "RoleBinding", "comptroller-lease")
    assert name == ("mine" if LEASE in more else "comptroller")
    assert {item["metadata"]["namespace"] for item in (role, binding)} == {NAMESPACE}
    lease = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert role["rules"] == [
        lease | {"resourceNames": [name], "verbs": ["get", "update"]},
        lease | {"verbs": ["create"]},
    ]
    elsewhere = [item for item in objects if item["kind"] in ("ClusterRole", "Role") and item is not role]
    assert not [rule for item in elsewhere for rule in item["rules"] if "leases" in rule["resources"]]
    assert one(objects, "ServiceAccount")["metadata"]["name"] == binding["subjects"][0]["name"]


def test_it_reads_no_secret_and_has_no_wildcard_and_writes_no_spec() -> None:
    for item in rendered("--set", "watchNamespaces={inference}"):
        for rule in item.get("rules") or () if item["kind"] in ("ClusterRole", "Role") else ():
            assert "secrets" not in rule["resources"]
            assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"]
            if "modelpools" in rule["resources"] and not item["metadata"]["name"].endswith(("-view", "-edit")):
                assert set(rule["verbs"]) <= {"get", "list", "watch"}


def test_the_demo_gives_its_operator_the_same_rights() -> None:
    rules = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
    demo = yaml.safe_load_all((ROOT / "e2e/demo/manifests/operator/rbac.yaml").read_text())
    (role, at_home) = [item for item in demo if item["kind"] in ("ClusterRole", "Role")]

    def flat(listed: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
        return {
            (g, r, v) for rule in listed for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]
        }

    assert flat(role["rules"]) == flat(rules["namespaced"] + rules["cluster"])
    assert at_home["rules"] == one(rendered(), "Role", "comptroller-lease")["rules"]


def test_the_pod_runs_restricted_with_settings_that_the_operator_can_read() -> None:
    objects = rendered(
        "--set", "settings.prometheus.url=http://prom:9090", "--set", "settings.gpuClasses.h100.priceUsd=30000",
        "--set", "image.digest=sha256:abc", "--set", "router.image=mirror/litellm:1",
    )  # fmt: skip
    settings = load_settings(one(objects, "ConfigMap")["data"]["settings.yaml"])
    assert settings.prometheus.url == "http://prom:9090"
    assert settings.gpu_classes["h100"].price_usd == 30000
    assert settings.defaults.router_image == "mirror/litellm:1"
    assert settings.defaults.operator_image == "ghcr.io/comptroller/comptroller@sha256:abc"
    pod = one(objects, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "ghcr.io/comptroller/comptroller@sha256:abc"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip


def test_new_settings_restart_the_operator_and_the_same_ones_do_not() -> None:
    def mark(*more: str) -> str:
        template = one(rendered(*more), "Deployment")["spec"]["template"]
        return str(template["metadata"]["annotations"]["comptroller.dev/settings"])

    assert mark() == mark()
    assert mark() != mark("--set", "settings.loop.tickSeconds=5")


def test_several_replicas_are_spread_and_protected() -> None:
    alone, two = rendered("--set", "replicaCount=1"), rendered()
    assert one(two, "Deployment")["spec"]["replicas"] == 2
    assert one(two, "Deployment")["spec"]["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }  # fmt: skip
    assert one(alone, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert not [item for item in alone if item["kind"] == "PodDisruptionBudget"]
    assert one(two, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    spread = one(two, "Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert spread[0]["topologyKey"] == "kubernetes.io/hostname"


def test_the_service_and_the_policies_choose_the_operator_and_not_the_test_pod() -> None:
    objects = rendered()
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selector = one(objects, "Service")["spec"]["selector"]
    assert selector.items() <= labels.items()
    assert one(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"] == selector
    assert not selector.items() <= one(objects, "Pod", "comptroller-test")["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("url", "port"), [("http://prom:9091/x", 9091), ("https://prom.example.com", 443), ("http://prom", 80)]
)
def test_the_way_to_prometheus_is_open_on_its_port(url: str, port: int) -> None:
    policy = one(rendered("--set", f"settings.prometheus.url={url}"), "NetworkPolicy")
    assert {"port": port, "protocol": "TCP"} in [port for rule in policy["spec"]["egress"] for port in rule["ports"]]


def test_monitors_are_made_where_asked_for() -> None:
    objects = rendered("--set", "serviceMonitor.enabled=true", "--set", "podMonitor.enabled=true")
    assert {"ServiceMonitor", "PodMonitor"} <= {item["kind"] for item in objects}
    assert "ServiceMonitor" not in {item["kind"] for item in rendered()}


def test_alerts_and_dashboard_come_whole_where_asked_for() -> None:
    objects = rendered("--set", "prometheusRule.enabled=true", "--set", "dashboard.enabled=true")
    rules = one(objects, "PrometheusRule")["spec"]
    assert rules == yaml.safe_load((ROOT / "monitoring" / "rules.yaml").read_text())
    board = one(objects, "ConfigMap", "comptroller-dashboard")
    assert json.loads(board["data"]["comptroller.json"]) == json.loads(
        (ROOT / "monitoring" / "dashboard.json").read_text()
    )
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    names = {item["metadata"]["name"] for item in rendered()}
    assert "comptroller-dashboard" not in names


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("imge.tag=2", "additional properties 'imge' not allowed"),
        ("replicaCount=two", "/replicaCount"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("settings.loop.tickSeconds=0", "/settings/loop/tickSeconds"),
        ("settings.leaderElection.enabled=false", "replicaCount: must be 1 where settings.leaderElection.enabled is"),
        ("settings.lop.tickSeconds=1", "additional properties 'lop' not allowed"),
        ("serviceAccount.create=false", "serviceAccount.name: is required where serviceAccount.create is false"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_installed(values: str, said: str) -> None:
    assert said in refused("--set", values)


def test_the_readme_has_every_value() -> None:
    text = (CHART / "README.md").read_text()
    for value in generate.values((CHART / "values.yaml").read_text()):
        assert f"| `{value.path}` | {value.type} | `{json.dumps(value.default)}` |" in text


def test_objects_of_yours_are_installed_along() -> None:
    extra = json.dumps([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-mine"}}])
    assert one(rendered("--set-json", f"extraObjects={extra}"), "ConfigMap", "comptroller-mine")
