"""The way into a cluster: which kubeconfig counts, and what is said where there is none that can be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from comptroller.cli.main import main
from comptroller.kube import login
from comptroller.kube.login import LoginError, current_namespace, own_namespace

CONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: inference}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:9"}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.fixture(autouse=True)
def outside_of_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def write(path: Path, text: str = CONFIG) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_the_usual_file_counts_where_kubeconfig_names_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config")
    assert current_namespace() == "inference"
    monkeypatch.setenv("KUBECONFIG", "")
    assert current_namespace() == "inference"


def test_a_context_without_a_namespace_means_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / "config", CONFIG.replace(", namespace: inference", ""))
    monkeypatch.setenv("KUBECONFIG", f"/nowhere:{path}")
    assert current_namespace() == "default"


def test_in_a_pod_it_is_the_pods(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(login, "_OWN_NAMESPACE", tmp_path / "namespace")
    assert (current_namespace(), own_namespace()) == ("default", None)
    (tmp_path / "namespace").write_text("mine\n")
    assert (current_namespace(), own_namespace()) == ("mine", "mine")


def test_outside_of_a_pod_there_is_no_namespace_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(tmp_path / ".kube" / "config")
    monkeypatch.setattr(login, "_OWN_NAMESPACE", write(tmp_path / "namespace", "left over"))
    assert own_namespace() is None


async def test_the_client_asks_the_server_of_the_current_context(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write(tmp_path / "config")))
    client = await login.log_in()
    assert client.configuration.host == "https://127.0.0.1:9"
    await client.close()


async def test_a_pod_without_a_service_account_is_told_what_to_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(LoginError, match="Give the pod a service account"):
        await login.log_in()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no kubeconfig {path}. Set KUBECONFIG to the file that came with the cluster"),
        ("a: [", "{path} is no kubeconfig: while parsing a flow node"),
        ("", "{path} is no kubeconfig: it has not the form of one. Correct it, or set KUBECONFIG to another file."),
        ("- a", "{path} is no kubeconfig: it has not the form of one."),
        (CONFIG.replace("current-context: here", "current-context: there"), "Expected object with name there in"),
        (CONFIG.replace("current-context: here", ""), "Choose a context with `kubectl config use-context NAME`"),
        (CONFIG.replace(":9\"", ":9\", certificate-authority: /nowhere"), "/nowhere. Choose a context"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", [["explain", "pool/x"], ["explain", "pool/x", "-n", "a"], ["status", "-A"]])
def test_a_kubeconfig_that_cannot_be_used_is_one_error_with_its_remedy(
    verb: list[str],
    text: str | None,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "config"
    if text is not None:
        write(path, text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert main(verb) == 1
    error = capfd.readouterr().err
    assert says.format(path=path) in error
    assert error.startswith("comptroller: there is no way to log in to a cluster")
    assert error.count("\n") == 1
    assert caplog.records == []
