"""`comptroller explain` and `comptroller status` against a small cluster in memory: what is printed, and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import pytest

from comptroller.cli import cluster, explain
from comptroller.cli.main import main
from comptroller.kube.client import KubeError
from comptroller.kube.resources import KubeDict, Resource
from tests.unit.report.fleet import hosted_pool, local_pool, policy

Run = Callable[..., tuple[int, str, str]]


class Cluster:
    """A client that lists some objects, or fails."""

    def __init__(self, *items: KubeDict) -> None:
        self.items = list(items)
        self.error: Exception | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def list(self, resource: Resource, namespace: str | None = None) -> AsyncIterator[KubeDict]:
        if self.error is not None:
            raise self.error
        for one in self.items:
            if one["kind"] == resource.kind and namespace in (None, one["metadata"]["namespace"]):
                yield one


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster of the current context, whose namespace is `inference`."""
    found = Cluster(local_pool(), hosted_pool(), policy())

    async def connect() -> Cluster:
        return found

    monkeypatch.setattr(cluster.KubeClient, "connect", connect)
    monkeypatch.setattr(explain, "current_namespace", lambda: "inference")
    return found


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_a_pool_is_explained_from_its_status_alone(there: Cluster, run: Run) -> None:
    code, out, err = run("explain", "pool/qwen3-32b-h100")
    assert (code, err) == (0, "")
    assert re.match(r"Want 4 \(was 2\) since .*\n  Why   31.4 rps of extraction and planning need 3.4 replicas", out)
    assert "  Data  route deal-review may only use onPremises: 0 of its 2.2 rps leave.\n" in out
    assert "\x1b" not in out, "no colours but on a terminal"


@pytest.mark.parametrize("target", ["policy/research", "rp/research", "RoutingPolicy/research"])
def test_kubectls_words_are_understood(there: Cluster, run: Run, target: str) -> None:
    assert run("explain", target)[1].startswith("research: 2 routes, 33.6 rps, 73% inside")


def test_as_json_it_is_exact(there: Cluster, run: Run) -> None:
    code, out, _ = run("explain", "mp/qwen3-32b-h100", "-o", "json", "-n", "inference")
    assert code == 0
    assert json.loads(out)["allocation"]["bridge"]["usdPerHour"] == "11.2"


def test_colours_are_for_terminals(there: Cluster, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert run("explain", "pool/qwen3-32b-h100")[1].startswith("\x1b[1mWant 4")
    assert "\x1b" not in run("explain", "pool/qwen3-32b-h100", "-o", "json")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert run("explain", "pool/qwen3-32b-h100")[1].startswith("Want 4")


@pytest.mark.parametrize("target", ["qwen3-32b-h100", "pool/", "deployment/big", "/x"])
def test_a_target_that_means_nothing_is_wrong_use(there: Cluster, run: Run, target: str) -> None:
    code, out, err = run("explain", target)
    assert (code, out) == (2, "")
    assert "write pool/NAME or policy/NAME, such as pool/qwen3-32b-h100." in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["pool/qwen"],
            "there is no ModelPool qwen in namespace inference. "
            "There are: pool/qwen3-32b-h100, pool/claude-sonnet, policy/research.",
        ),
        (
            ["pool/claude-sonnet", "-n", "default"],
            "there is no ModelPool claude-sonnet in namespace default. "
            "Elsewhere there are: -n inference pool/claude-sonnet.",
        ),
        (["policy/x", "-n", "default"], "Elsewhere there are: -n inference policy/research."),
    ],
)
def test_what_is_not_there_is_told_with_what_is(there: Cluster, run: Run, arguments: list[str], words: str) -> None:
    code, _, err = run("explain", *arguments)
    assert code == 1
    assert words in err


def test_an_empty_cluster_says_where_to_begin(there: Cluster, run: Run) -> None:
    there.items.clear()
    assert "There is no ModelPool in the whole cluster: apply one first" in run("explain", "pool/x")[2]
    assert run("status", "-A") == (
        0,
        "There is no pool, policy or warm-up in any namespace. See examples/ for a first one; -A shows all "
        "namespaces.\n",
        "",
    )


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (KubeError(404, "404 page not found"), "Install them: `comptroller crds | kubectl apply --server-side -f -`."),
        (
            KubeError(0, "the API server does not answer: refused"),
            "Is the cluster of `kubectl config current-context` up",
        ),
        (KubeError(403, "modelpools is forbidden"), "Ask for the right to list modelpools"),
        (KubeError(401, "Unauthorized"), "the API server does not know you: Unauthorized. Log in anew"),
        (KubeError(0, "the API server does not answer: certificate verify failed"), "Renew the kubeconfig"),
        (KubeError(500, "etcd is gone"), "the API server refused (500): etcd is gone. Try again"),
    ],
)
@pytest.mark.parametrize("verb", [["explain", "pool/x"], ["status", "-A"]])
def test_a_cluster_that_cannot_be_read_is_told_with_the_remedy(
    there: Cluster, run: Run, verb: list[str], error: KubeError, remedy: str
) -> None:
    there.error = error
    code, out, err = run(*verb)
    assert (code, out) == (1, "")
    assert remedy in err


def test_the_whole_fleet_in_tables_with_its_cost(there: Cluster, run: Run) -> None:
    code, out, _ = run("status", "-n", "inference")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines() if line] == [
        "NAME", "modelpool/claude-sonnet", "modelpool/qwen3-32b-h100", "NAME", "routingpolicy/research",
        "GPU", "h100", "LAST", "2026-03-02", "2026-03-01", "$14.10/h:",
    ]  # fmt: skip
    data: dict[str, Any] = json.loads(run("status", "-A", "-o", "json")[1])
    assert data["totals"]["usdPerHour"] == pytest.approx(14.1)
    assert [one["name"] for one in data["modelpools"]] == ["qwen3-32b-h100", "claude-sonnet"]
