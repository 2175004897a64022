"""A warm-up's pod starts quickly: it loads no Kubernetes client, no solver and no models of the API."""

from __future__ import annotations

import subprocess
import sys


def test_the_program_imports_nothing_heavy() -> None:
    code = "import sys, comptroller.warmup.__main__; print(*sorted(name.split('.')[0] for name in sys.modules))"

    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )

    assert loaded.isdisjoint({"kopf", "kubernetes", "aiohttp", "pydantic", "numpy", "highspy", "yaml"})
