"""How the demo reaches what runs as local processes: Services by their addresses here, logs by their files.

kwok's nodes answer neither `kubectl logs` nor the API server's proxy of Services.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SERVICES_FILE = "services.json"
ENDED_FILE = "ended"
POLL_SECONDS = 0.2


def pod_folder(run: Path, namespace: str, pod: str) -> Path:
    return run / "pods" / f"{namespace}_{pod}"


@dataclass(frozen=True, slots=True)
class LocalReach:
    """`run` is the folder of the running cluster."""

    run: Path

    def service_url(self, namespace: str, name: str, port: int) -> str | None:
        """The base URL of a Service; None when there is none."""
        address = json.loads((self.run / SERVICES_FILE).read_text()).get(f"{namespace}/{name}")
        return f"http://{address}:{port}" if address else None

    def log_lines(self, namespace: str, pod: str) -> Iterator[str]:
        """Whole lines as they come, until the pod's process has ended."""
        folder, rest, over = pod_folder(self.run, namespace, pod), "", False
        with (folder / "log").open() as log:
            while not over:
                over = (folder / ENDED_FILE).exists()  # looked at first: what was written before is read below
                rest += log.read()
                *lines, rest = rest.split("\n")
                yield from lines
                time.sleep(0 if lines else POLL_SECONDS)

    def last_words(self, namespace: str, pod: str, lines: int) -> str:
        found = pod_folder(self.run, namespace, pod) / "log"
        return "\n".join(found.read_text(errors="replace").splitlines()[-lines:]) if found.exists() else ""
