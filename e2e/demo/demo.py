#!/usr/bin/env python3
"""The demo: a real cluster, the operator, a fleet, and two hours of production traffic in three minutes.

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
from dataclasses import dataclass, replace
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
    binaries: Path
    keep: bool
    kubeconfig: Path | None

    @classmethod
    def read(cls) -> Options:
        kubeconfig = os.environ.get("KUBECONFIG")
        state = Path(os.environ.get("DEMO_STATE", REPOSITORY / ".cluster")).resolve()
        return cls(
            state=state,
            binaries=state / "bin",
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
    if reasons := cannot_run_nodes(options):
        return on_processes(options, reasons)
    with phase(1, "binaries and images: made once, then reused"):
        run(cluster(options, "build"), "the build of the binaries")
        run(images(options, "build"), "the build of the images")
    with own_cluster(options):
        return drive([*cluster(options, "exec", "--")], ["--own-cluster"], options)


def on_processes(options: Options, reasons: list[str]) -> int:
    """The same story where nodes cannot run: a real control plane, nodes by kwok, every pod a local process."""
    say("nodes cannot run here: " + "; ".join(reasons))
    say("so nodes are simulated by kwok, and what would run in their pods runs as local processes on loopback")
    here = replace(options, state=options.state / "processes")
    with phase(1, "binaries: made once, then reused"):
        run(cluster(here, "build"), "the build of the binaries")
        run(["make", "--silent", f"--directory={REPOSITORY}", ".venv-router/.made"], "the environment of the router")
    with processes_cluster(here):
        run_folder = ["--processes", str(here.state / "run")]
        return drive([*cluster(here, "exec", "--")], ["--own-cluster", *run_folder], options)


@contextmanager
def processes_cluster(options: Options) -> Iterator[None]:
    """The control plane and the agent that runs pods as processes; both end with the block, unless they shall stay."""
    was_running = subprocess.run(cluster(options, "status"), capture_output=True, check=False).returncode == 0
    agent: subprocess.Popen[str] | None = None
    try:
        with phase(2, "cluster: control plane; an H100 node, an RTX 4090 node and a CPU node by kwok"):
            owner = [] if options.keep or was_running else ["--owner", str(os.getpid())]
            run(cluster(options, "up", "--control-plane-only", "--kwok-nodes-only", *owner), "the start of the cluster")
            if not was_running:
                agent = start_agent(options)
        yield
    finally:
        if options.keep or was_running:
            tool = f"python3 e2e/cluster/cluster.py --state {options.state} --bin {options.binaries}"
            say(f"the fleet runs on:  KUBECONFIG={options.own_kubeconfig}")
            say(f"  logs of pods:     {options.state}/run/pods/NAMESPACE_POD/log")
            say(f"  end it with:      {tool} down")
        else:
            say("taking the processes and the control plane down")
            if agent is not None:
                agent.terminate()
                agent.wait(timeout=30)
            subprocess.run(cluster(options, "down"), check=False)


def start_agent(options: Options) -> subprocess.Popen[str]:
    """It ends with our end of its standard input, or, when the fleet shall stay, with the cluster."""
    where = ["--state", str(options.state), "--bin", str(options.binaries), *(["--keep"] if options.keep else [])]
    log = options.state / "run" / "logs" / "processes.log"
    with log.open("w") as output:
        agent = subprocess.Popen(
            [sys.executable, "-m", "e2e.processes.node", *where], cwd=REPOSITORY, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL if options.keep else subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
        )  # fmt: skip
    if agent.stdout is None or agent.stdout.readline() != "ready\n":
        agent.kill()
        raise PhaseError(f"the agent that runs pods did not start: {log.read_text()[-1500:]}")
    return agent


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
        except SystemExit:
            process.terminate()
            raise


def cannot_run_nodes(options: Options) -> list[str]:
    if os.environ.get("DEMO_NODES") == "processes":
        return ["DEMO_NODES=processes says so"]
    checked = subprocess.run(cluster(options, "can-run-nodes"), capture_output=True, text=True, check=False)
    return checked.stdout.strip().splitlines() if checked.returncode else []


def cluster(options: Options, *arguments: str) -> list[str]:
    tool = [sys.executable, str(REPOSITORY / "e2e/cluster/cluster.py")]
    return [*tool, "--state", str(options.state), "--bin", str(options.binaries), *arguments]


def images(options: Options, *arguments: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "e2e/images/images.py"), "--state", str(options.state), *arguments]


if __name__ == "__main__":
    sys.exit(main())
