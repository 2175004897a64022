"""Under which conditions figures were measured; without them a figure says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("highspy", "numpy", "pydantic", "kopf", "kubernetes", "aiohttp", "httpx")


def conditions(seed: int, runs: int) -> dict[str, str]:
    """Machine, load, versions and what the measurements were told, in the order in which they are printed."""
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.release()}",
        "load average": load_average(),
        "python": platform.python_version(),
        "versions": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "seed": str(seed),
        "runs": str(runs),
    }


def load_average() -> str:
    """Of one and of five minutes: how much else ran."""
    one, five, _ = os.getloadavg()
    return f"{one:.2f} {five:.2f}"


def _processor() -> str:
    with open("/proc/cpuinfo") as lines:  # noqa: PTH123 - a file of the kernel
        found = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    command = ("git", "describe", "--always", "--dirty")
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() or "unknown"
