"""`comptroller status`: one screen, wrong intervals, and the name under which kubectl calls it."""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from comptroller.api.settings import Settings
from comptroller.cli import status
from comptroller.cli.main import main
from comptroller.cli.status import Found, Screen
from comptroller.kube.client import KubeError
from tests.unit.kube import build
from tests.unit.report.fleet import hosted_pool, local_pool, policy

ROOT = Path(__file__).resolve().parents[3]


class Client:
    """A cluster that answers with these objects, or with these errors."""

    def __init__(self, *items: dict[str, Any], **errors: int) -> None:
        self.items, self.errors, self.lists = items, errors, list[str]()

    async def list(self, resource: Any, _namespace: str | None = None) -> Any:
        self.lists.append(resource.kind)
        if (code := self.errors.get(resource.kind)) is not None:
            raise KubeError(code, "no", None)
        for one in self.items:
            if one["kind"] == resource.kind:
                yield one


def screen() -> Screen:
    return Screen("inference", Settings().gpu_classes)


async def read(client: Client, one: Screen | None = None) -> Found:
    return await (one or screen()).read(client)  # type: ignore[arg-type]


async def test_one_screen_has_pools_policies_gpus_decisions_and_money() -> None:
    fleet = (local_pool(), hosted_pool(), policy(), build.node(), build.foreign_pod(gpus=3))
    one = screen()
    lines = one.lines(await read(Client(*fleet), one))
    text = "\n".join(lines)
    for words in ("modelpool/qwen3-32b-h100", "routingpolicy/research", "LAST DECISIONS (UTC)", "#118", "$14.10/h"):
        assert words in text
    assert lines[lines.index("GPU CLASS  WANT  READY  FREE  OF") + 1] == "h100          4      2     5   8"
    assert max(len(line) for line in one.lines(await read(Client(*fleet), one), 60)) == 60


async def test_who_may_not_list_nodes_sees_everything_else() -> None:
    found = await read(Client(local_pool(), policy(), Node=403))
    assert found.data["gpus"] == [{"class": "h100", "want": 4, "ready": 2, "free": None, "gpus": None}]
    with pytest.raises(KubeError):
        await read(Client(local_pool(), Pod=500))


async def test_all_pods_are_asked_for_less_often_than_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(status, "monotonic_seconds", lambda: now[0])
    client, one = Client(local_pool(), build.node()), screen()
    for now[0] in (0.0, 5.0, 29.0, 31.0):
        await read(client, one)
    assert (client.lists.count("ModelPool"), client.lists.count("Pod")) == (4, 2)


async def test_an_empty_namespace_says_where_to_begin() -> None:
    (line,) = screen().lines(await read(Client()))
    assert "namespace inference. See examples/" in line


@pytest.mark.parametrize("text", ["0", "-1", "often", "nan", "9999"])
def test_an_interval_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", f"--watch={text}"])
    assert ended.value.code == 2
    assert "such as 5" in capsys.readouterr().err


def test_settings_that_are_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-A", "--settings", "/nowhere.yaml"]) == 2
    assert "/nowhere.yaml: cannot be read" in capsys.readouterr().err


def test_kubectl_finds_it_and_help_says_how_it_was_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-comptroller"] == scripts["comptroller"]
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/kubectl-comptroller"])
    with pytest.raises(SystemExit):
        main(["status", "--help"])
    assert capsys.readouterr().out.startswith("usage: kubectl comptroller status")


def test_watch_has_a_usual_interval() -> None:
    parser = argparse.ArgumentParser()
    status.add_arguments(parser)
    assert parser.parse_args([]).watch is None
    assert parser.parse_args(["--watch"]).watch == status.WATCH_SECONDS
    assert parser.parse_args(["-w", "2"]).watch == 2.0
