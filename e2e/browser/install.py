"""Finds a Chromium, or installs Debian's headless one (some 130 MB with its libraries); fetches axe-core by npm.

Usage: python -m e2e.browser.install
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PACKAGE = "chromium-headless-shell"
AXE = "axe-core@4.14.1"
AXE_INTEGRITY = "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
AXE_FILE = Path(__file__).resolve().parents[2] / ".cluster" / "programs" / "axe-core" / "axe.min.js"


def browser() -> str | None:
    """The program, if there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


def install() -> str | None:
    """The browser, installed where it is missing and that is ours to do."""
    if browser() is None and not os.geteuid() and shutil.which("apt-get"):
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        command = ["apt-get", "install", "--yes", "--no-install-recommends", PACKAGE]
        if subprocess.run(command, env=quiet, capture_output=True).returncode:
            subprocess.run(["apt-get", "update"], env=quiet, capture_output=True)
            subprocess.run(command, env=quiet, capture_output=True)
    return browser()


def axe() -> Path | None:
    """axe-core (MPL-2.0, for tests only), fetched by npm once and held against its known digest."""
    if AXE_FILE.exists():
        return AXE_FILE
    if (npm := shutil.which("npm")) is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run([npm, "pack", "--json", AXE], cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            return None
        archive = Path(scratch, json.loads(done.stdout)[0]["filename"])
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if f"sha512-{digest}" != AXE_INTEGRITY:
            raise RuntimeError(f"{AXE} is not what it was: sha512-{digest}")
        with tarfile.open(archive) as content:
            member = content.extractfile("package/axe.min.js")
            assert member is not None
            AXE_FILE.parent.mkdir(parents=True, exist_ok=True)
            arriving = AXE_FILE.with_name(f".axe.{os.getpid()}")
            arriving.write_bytes(member.read())
            arriving.replace(AXE_FILE)
    return AXE_FILE


if __name__ == "__main__":
    print(f"browser: {install() or 'none; the tests of the page in a browser are left out'}")
    print(f"axe-core: {axe() or 'none; accessibility is checked without it'}")
    sys.exit(0)
