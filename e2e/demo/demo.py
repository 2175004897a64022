#!/usr/bin/env python3
"""The demo: a real cluster, the operator, a fleet, and an hour of production traffic in three minutes.

    python3 e2e/demo/demo.py               # KEEP=1: leave it running; KUBECONFIG=...: use that cluster

It prepares and starts a cluster of our own (phases 1 and 2) unless KUBECONFIG names another one, tells the story there
(phases 3 to 7, drive.py) and takes down what it has started. The exit code is 0 when the fleet scaled out, spilled
while replicas were starting, came back inside, scaled in, and no restricted request left; 1 when not; 2 when something
could not be done; 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY))  # it is run by its path

from e2e.demo.progress import PhaseError, note, phase, run, say  # noqa: E402

CPU_NODE_IMAGES = ("operator", "litellm", "prometheus", "llamacpp", "simulation")
GPU_NODE_IMAGES = ("simulation",)
GPU_NODES, CPU_NODES = "h100-a,rtx4090-a", "cpu-a"


@dataclass(frozen=True, slots=True)
class Options:
    """What the environment asks for."""

    state: Path
    keep: bool
    kubeconfig: Path | None

    @classmethod
    def read(cls) -> Options:
        kubeconfig = os.environ.get("KUBECONFIG")
        return cls(
            state=Path(os.environ.get("DEMO_STATE", REPOSITORY / ".cluster")).resolve(),
            keep=os.environ.get("KEEP", "") not in ("", "0"),
            kubeconfig=Path(kubeconfig).resolve() if kubeconfig else None,
        )

    @property
    def own_kubeconfig(self) -> Path:
        return self.state / "run" / "kubeconfig"

    @property
    def foreign(self) -> bool:
        return self.kubeconfig is not None and self.kubeconfig != self.own_kubeconfig


def main() -> int:
    options = Options.read()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is taken down then, too
    try:
        return on_foreign_cluster(options) if options.foreign else on_own_cluster(options)
    except PhaseError as error:
        say(f"demo: {error}")
        return 2
    except KeyboardInterrupt:
        say("demo: interrupted")
        return 130


def on_own_cluster(options: Options) -> int:
    with phase(1, "binaries and images: made once, then reused"):
        if reasons := cannot_run_nodes(options):
            raise PhaseError(
                "nodes cannot run on this machine: "
                + "; ".join(reasons)
                + ". Set KUBECONFIG to a cluster of yours, such as one of kind, and run it again"
            )
        run(cluster(options, "build"), "the build of the binaries")
        run(images(options, "build"), "the build of the images")
    with own_cluster(options):
        return drive([*cluster(options, "exec", "--")], ["--own-cluster"], options)


@contextmanager
def own_cluster(options: Options) -> Iterator[None]:
    """Our test cluster; ends with the block if it was started by it, unless it shall be kept."""
    was_running = subprocess.run(cluster(options, "status"), capture_output=True, check=False).returncode == 0
    try:
        with phase(2, "cluster: control plane, an H100 node, an RTX 4090 node, a CPU node"):
            owner = [] if options.keep or was_running else ["--owner", str(os.getpid())]
            run(cluster(options, "up", *owner), "the start of the cluster")
            run(images(options, "load", *CPU_NODE_IMAGES, "--nodes", CPU_NODES), "the loading of images")
            run(images(options, "load", *GPU_NODE_IMAGES, "--nodes", GPU_NODES), "the loading of images")
        yield
    finally:
        if options.keep or was_running:
            tool = f"python3 e2e/cluster/cluster.py --state {options.state}"
            say(f"the cluster runs on:  KUBECONFIG={options.own_kubeconfig}")
            say(f"  in its network:  {tool} exec -- kubectl -n inference get mp,rp,cw")
            say(f"  end it with:     {tool} down")
        else:
            say("taking the cluster down")
            subprocess.run(cluster(options, "down"), check=False)


def on_foreign_cluster(options: Options) -> int:
    with phase(1, f"images for the cluster of KUBECONFIG={options.kubeconfig}"):
        context = subprocess.run(["kubectl", "config", "current-context"], capture_output=True, text=True, check=False)
        name = context.stdout.strip()
        if name.startswith("kind-"):
            run(images(options, "build"), "the build of the images")
            load_into_kind(options, name.removeprefix("kind-"))
        else:
            note("its nodes must have the images comptroller/{operator,litellm,simulation,llamacpp,prometheus}:dev")
            note("and the labels nvidia.com/gpu.product and resource nvidia.com/gpu of the classes h100 and rtx4090")
    with phase(2, "cluster: yours"):
        pass
    remove = [] if options.keep else ["--remove"]
    code = drive([], remove, options)
    if options.keep:
        say(f"the fleet runs on:  KUBECONFIG={options.kubeconfig}")
    return code


def load_into_kind(options: Options, name: str) -> None:
    from e2e.cluster.imagestore import ImageStore
    from e2e.images.catalogue import IMAGES

    store = ImageStore(options.state / "images")
    for image in IMAGES.values():
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            store.stream(image.reference, archive, set())
            archive.flush()
            run(["kind", "load", "image-archive", archive.name, "--name", name], f"the loading of {image.reference}")


def drive(prefix: list[str], arguments: list[str], options: Options) -> int:
    """Phases 3 to 7, where the cluster can be reached. It gets Ctrl-C itself and ends in good order."""
    report = ["--report", str(options.state / "demo.json")]
    options.state.mkdir(parents=True, exist_ok=True)
    command = [*prefix, sys.executable, "-m", "e2e.demo.drive", *arguments, *report]
    with subprocess.Popen(command, cwd=REPOSITORY) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            return process.wait(timeout=120)


def cannot_run_nodes(options: Options) -> list[str]:
    checked = subprocess.run(cluster(options, "can-run-nodes"), capture_output=True, text=True, check=False)
    return checked.stdout.strip().splitlines() if checked.returncode else []


def cluster(options: Options, *arguments: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "e2e/cluster/cluster.py"), "--state", str(options.state), *arguments]


def images(options: Options, *arguments: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "e2e/images/images.py"), "--state", str(options.state), *arguments]


if __name__ == "__main__":
    sys.exit(main())
