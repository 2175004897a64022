"""The life of a control plane: it heals, it answers clearly, and it never outlives its owner."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.control import Control
from e2e.cluster.layout import REPOSITORY, Layout, read_json, wait_until

pytestmark = pytest.mark.api

BINARIES = REPOSITORY / ".cluster" / "bin"


def cluster(layout: Layout, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = REPOSITORY / "e2e" / "cluster" / "cluster.py"
    command = [sys.executable, str(script), f"--state={layout.state}", f"--bin={layout.binaries}", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    layout = Layout(tmp_path / "cluster", BINARIES)
    yield layout
    cluster(layout, "down")
    assert not layout.run.exists()


def test_a_control_plane_is_healed_by_up_and_ends_with_its_owner(layout: Layout) -> None:
    with subprocess.Popen(["sleep", "600"]) as owner:
        started = cluster(layout, "up", "--control-plane-only", f"--owner={owner.pid}")
        assert started.returncode == 0, started.stderr

        assert cluster(layout, "stop", "kube-scheduler").returncode == 0
        status = cluster(layout, "status")
        assert status.returncode == 1
        assert "ended with -9" in status.stdout

        assert cluster(layout, "up", "--control-plane-only").returncode == 0
        assert cluster(layout, "status").returncode == 0

        supervisor = read_json(layout.run / "supervisor.json")["pid"]
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        assert len(children) == 4
        owner.kill()
    wait_until(lambda: Control(layout).pid() is None, "end of the supervisor", 10)
    wait_until(lambda: not any(Path(f"/proc/{child}/exe").exists() for child in children), "end of components", 10)


def test_what_does_not_run_says_so(layout: Layout) -> None:
    for verb in (["status"], ["exec", "--", "true"], ["stop", "etcd"], ["image", "x"]):
        result = cluster(layout, *verb)
        assert result.returncode == 1
        assert result.stderr == "cluster: the cluster does not run: use the verb up\n"


def test_without_binaries_up_names_the_command_that_makes_them(layout: Layout) -> None:
    result = cluster(Layout(layout.state, layout.state / "bin"), "up", "--control-plane-only")
    assert result.returncode == 1
    assert "make setup" in result.stderr
