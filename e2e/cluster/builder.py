"""Builds the components' binaries, and the two images that every node needs, from their Go modules."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from threading import Thread

from e2e.cluster.imagestore import ImageStore
from e2e.cluster.layout import SOURCES, ClusterError, Layout
from e2e.cluster.nodes import DNS_IMAGE, PAUSE_IMAGE

LINKS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl")
OWN = ("cluster", "coredns", "netpol", "pause")
PACKAGES = (".", "./coredns", "./netpol", "./pause", "helm.sh/helm/v3/cmd/helm", "sigs.k8s.io/kwok/cmd/kwok")
BINARIES = (*OWN, *LINKS, "helm", "kwok")
COMPILER_FLAGS = ("-trimpath", "-buildvcs=false")
PROGRESS_SECONDS = 5


def build(layout: Layout) -> None:
    """Builds unless the binaries are of these sources and this Go already. Cold it takes minutes."""
    stamp, inputs = layout.binaries / ".inputs", _digest_of_inputs()
    if is_built(layout) and stamp.exists() and stamp.read_text() == inputs:
        print(f"build: {layout.binaries} is up to date")
        return
    layout.binaries.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    _compile(layout.binaries)
    for name in LINKS:
        (layout.binaries / name).unlink(missing_ok=True)
        (layout.binaries / name).symlink_to("cluster")
    store = ImageStore(layout.component_images)
    for image, binary in ((PAUSE_IMAGE, "pause"), (DNS_IMAGE, "coredns")):
        with tempfile.TemporaryDirectory() as root:
            shutil.copy(layout.binaries / binary, root)
            store.put(image, [store.add_directory(Path(root))], {"Entrypoint": [f"/{binary}"]})
    store.prune()
    stamp.write_text(inputs)


def is_built(layout: Layout) -> bool:
    return all((layout.binaries / name).exists() for name in BINARIES)


def _digest_of_inputs() -> str:
    digest = hashlib.sha256((_go("version") + _linker_flags()).encode())
    for source in sorted((*SOURCES.glob("go.*"), *SOURCES.glob("**/*.go"))):
        if not source.name.endswith("_test.go"):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _linker_flags() -> str:
    """Leaves debugging tables out and says which version this is: else components call themselves v0.0.0-master."""
    found = re.search(r"^\s*k8s\.io/kubernetes v(\d+)\.(\d+)\.(\d+)$", (SOURCES / "go.mod").read_text(), re.MULTILINE)
    if not found:
        raise ClusterError("go.mod names no version of k8s.io/kubernetes")
    major, minor, patch = found.groups()
    version = {"gitVersion": f"v{major}.{minor}.{patch}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    settings = [
        f"-X {package}.{key}={value}"
        for key, value in version.items()
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    ]
    return " ".join(["-s -w", *settings])


def _compile(target: Path) -> None:
    needed = len(_go("list", "-deps", *PACKAGES).split())
    command = ["go", "build", "-v", *COMPILER_FLAGS, "-ldflags", _linker_flags(), "-o", f"{target}/"]
    print(f"build: at most {needed} Go packages, those of an earlier build are reused", flush=True)
    began = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        [*command, *PACKAGES], cwd=SOURCES, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        reader = Thread(target=lines.extend, args=(process.stderr,))
        reader.start()
        while reader.is_alive():
            reader.join(PROGRESS_SECONDS)
            # go -v names each package on a line of its own; downloads and errors have blanks in them
            compiled = sum(" " not in line for line in lines)
            print(f"build: {compiled} packages compiled, {time.monotonic() - began:.0f} s", flush=True)
    if process.returncode:
        complaints = [line for line in lines if " " in line and not line.startswith("go: downloading")]
        raise ClusterError("go build failed:\n" + "".join(complaints[-40:]))


def _go(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["go", *arguments], cwd=SOURCES, env=environment(), check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    except FileNotFoundError:
        raise ClusterError("the build needs Go 1.26 or later on the PATH") from None


def environment() -> dict[str, str]:
    """For every Go command: another one would compile all packages another time."""
    return os.environ | {"CGO_ENABLED": "0"}
