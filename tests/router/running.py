"""A real LiteLLM process with the rendered configuration and the shipped plugin."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from comptroller.render.router.litellm import litellm_config, plugin_files
from comptroller.render.router.plan import RouterPlan

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("COMPTROLLER_ROUTER_PYTHON", ROOT / ".venv-router/bin/python"))
KEYS_FOLDER = "/etc/comptroller/keys"
START_SECONDS = 180.0


@dataclass
class RunningRouter:
    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def put(self, plan: RouterPlan) -> str:
        """Writes a configuration as kubelet does, in one step. Returns its digest."""
        text = litellm_config(plan).replace(KEYS_FOLDER, str(self.folder / "keys"))
        return self.put_text(text)

    def put_text(self, text: str) -> str:
        draft = self.folder / "config.draft"
        draft.write_text(text)
        draft.replace(self.folder / "router" / "config.yaml")
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def apply(self, plan: RouterPlan) -> None:
        """Puts a plan into force and waits until it is."""
        self.wait_for(f'comptroller_router_config_info{{digest="{self.put(plan)}"}}', 1.0)

    def wait_for(self, series: str, value: float, seconds: float = 10.0) -> None:
        until = time.monotonic() + seconds
        while (found := self.metrics().get(series)) is None or abs(found - value) > 1e-9:
            assert time.monotonic() < until, f"{series} is {found}, not {value}"
            time.sleep(0.1)

    def metrics(self) -> dict[str, float]:
        """Every series at /metrics, by its name with labels."""
        text = httpx.get(f"{self.url}/metrics", timeout=10).text
        return {
            name: float(value)
            for name, value in re.findall(r"^(comptroller_\S*?(?:\{.*\})?) (\S+)$", text, re.MULTILINE)
        }

    def keys(self, tenant: str, **values: str) -> None:
        folder = self.folder / "keys" / tenant
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, value in values.items():
            (folder / name).write_text(value + "\n")

    def chat(
        self, model: str, key: str | None = "key-a", headers: dict[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
        head = ({"authorization": f"Bearer {key}"} if key else {}) | (headers or {})
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, headers=head, timeout=60)


@contextmanager
def running(
    folder: Path, plan: RouterPlan, keys: dict[str, dict[str, str]], env: dict[str, str]
) -> Iterator[RunningRouter]:
    """Starts the router and yields at once; `wait_until_ready` waits. Ends it with SIGTERM."""
    (folder / "router").mkdir(parents=True, exist_ok=True)
    plugin = folder / "plugin" / "router_plugin"
    plugin.mkdir(parents=True, exist_ok=True)
    for name, text in plugin_files():
        (plugin / name).write_text(text)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    router = RunningRouter(f"http://127.0.0.1:{port}", folder, None)  # type: ignore[arg-type]
    router.put(plan)
    for tenant, values in keys.items():
        router.keys(tenant, **values)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(folder / "plugin"),
        "LITELLM_LOG": "WARNING",
        **env,
    }
    command = [
        str(PYTHON),
        "-m",
        "router_plugin",
        "--config",
        str(folder / "router/config.yaml"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--state",
        str(folder / "spending.json"),
    ]
    with (folder / "log").open("wb") as log:
        router.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            yield router
        finally:
            router.process.send_signal(signal.SIGTERM)
            try:
                router.process.wait(20)
            except subprocess.TimeoutExpired:
                router.process.kill()
                router.process.wait()


def wait_until_ready(router: RunningRouter) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            if httpx.get(f"{router.url}/health/readiness", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        log = (router.folder / "log").read_text()[-3000:]
        assert router.process.poll() is None, f"the router ended: {log}"
        assert time.monotonic() < until, f"the router is not ready: {log}"
        time.sleep(0.3)
