"""The fleet of the demo on the real cluster: the demo runs once and leaves it; the tests ask it questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
CLUSTER = [sys.executable, str(REPOSITORY / "e2e/cluster/cluster.py")]


@dataclass(frozen=True)
class Fleet:
    """What the demo left behind."""

    code: int
    output: str
    report: dict[str, Any]

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        """kubectl in the cluster's network."""
        return self._run("kubectl", *arguments, check=check)

    def comptroller(self, *arguments: str) -> str:
        """The command line in the cluster's network."""
        return self._run(sys.executable, "-m", "comptroller", *arguments, check=True)

    def _run(self, *words: str, check: bool) -> str:
        done = subprocess.run(
            [*CLUSTER, "exec", "--", *words], capture_output=True, text=True, check=False, timeout=120
        )
        assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}{done.stderr}"

    def apply(self, item: dict[str, Any]) -> None:
        """`kubectl apply` of one object."""
        command = [*CLUSTER, "exec", "--", "kubectl", "apply", "-f", "-"]
        done = subprocess.run(command, input=json.dumps(item), capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def get(self, *arguments: str) -> Any:
        """`kubectl get -o json`."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))


@pytest.fixture(scope="session")
def fleet() -> Iterator[Fleet]:
    was_running = subprocess.run([*CLUSTER, "status"], capture_output=True, check=False).returncode == 0
    report = REPOSITORY / ".cluster" / "demo.json"
    report.unlink(missing_ok=True)
    variables = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"} | {"KEEP": "1"}
    command = [sys.executable, "-m", "e2e.demo.demo"]
    try:
        done = subprocess.run(
            command, cwd=REPOSITORY, env=variables, capture_output=True, text=True, check=False, timeout=1100
        )
        content = json.loads(report.read_text()) if report.exists() else {}
        yield Fleet(done.returncode, done.stdout + done.stderr, content)
    finally:
        if not was_running:
            subprocess.run([*CLUSTER, "down"], capture_output=True, check=False)
