"""The namespaces that a cluster with nodes lives in, and whether this machine can give them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from e2e.cluster import cgroups, linux
from e2e.cluster.layout import NODE_IP, ClusterError

NAMESPACES = linux.NEW_MOUNT | linux.NEW_HOSTNAME | linux.NEW_IPC | linux.NEW_PID | linux.NEW_NETWORK

# The kubelet, the network plugins and iptables write to fixed paths: the cluster sees empty directories there.
PRIVATE_DIRECTORIES = (Path("/run"), Path("/var/lib/kubelet"), Path("/var/lib/cni"), Path("/var/log/containers"))

NETWORK_PLUGINS = Path("/usr/lib/cni")
DEBIAN_PACKAGES = {  # by what proves that they are there
    "containerd": "containerd",
    "runc": "runc",
    "ip": "iproute2",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    str(NETWORK_PLUGINS / "bridge"): "containernetworking-plugins",
    "openssl": "openssl",
    "zstd": "zstd",
    "mmdebstrap": "mmdebstrap",
}


def missing_packages() -> list[str]:
    """The Debian packages that nodes and their images need and this machine lacks."""
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
    return [package for program, package in DEBIAN_PACKAGES.items() if not shutil.which(program, path=path)]


def install_packages() -> None:
    """Installs what is missing; raises ClusterError with the command to give where that is not ours to do."""
    if not (missing := missing_packages()):
        print("setup: every Debian package that nodes and images need is installed")
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if os.geteuid() or not shutil.which("apt-get"):
        raise ClusterError(f"nodes and images need {', '.join(missing)}; as root: {' '.join(command)}")
    print(f"setup: {' '.join(command)}", flush=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL).returncode:
        subprocess.run(["apt-get", "update"], check=True, env=quiet, stdout=subprocess.DEVNULL)
        subprocess.run(command, check=True, env=quiet, stdout=subprocess.DEVNULL)


def reasons_against_nodes() -> list[str]:
    """Why this machine cannot run nodes; empty when it can. Tries what it can try without a trace."""
    if os.geteuid():
        return ["nodes need root: the control plane alone does not"]
    reasons = []
    if missing := missing_packages():
        reasons.append(f"missing Debian packages: {' '.join(missing)} (the verb setup installs them)")
    if not cgroups.hierarchies():
        reasons.append(f"no control groups at {cgroups.ROOT} (version 1, or version 2 with cpu, cpuset, memory, pids)")
    elif refusal := _refusal(lambda: _try_cgroups(f"cluster-trial-{os.getpid()}")):
        reasons.append(f"control groups cannot be made: {refusal}")
    if not missing and (refusal := _refusal(_try_namespaces)):
        reasons.append(f"no own namespaces with a bridge and packet filters: {refusal}")
    return reasons


def furnish(hostname: str) -> None:
    """Makes new, empty namespaces a place for nodes: their own /proc, directories and network."""
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "proc", "proc", "/proc")
    for directory in PRIVATE_DIRECTORIES:
        _run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(directory))
    _run("mount", "--make-rshared", "/")  # what the kubelet mounts, containers must see
    _furnish_network()
    _run("hostname", hostname)


def missing_directories() -> list[Path]:
    """Mount points that have to be made, and removed afterwards."""
    return [directory for directory in PRIVATE_DIRECTORIES if not directory.is_dir()]


def _furnish_network() -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "link", "add", "nodes", "type", "bridge")  # holds the address of the nodes; leads nowhere
    _run("ip", "address", "add", f"{NODE_IP}/24", "dev", "nodes")
    _run("ip", "link", "set", "nodes", "up")
    _run("ip", "route", "add", "default", "dev", "nodes")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _try_cgroups(name: str) -> None:
    try:
        cgroups.create(name)
    finally:
        cgroups.remove(name)


def _try_namespaces() -> None:
    linux.unshare(NAMESPACES & ~linux.NEW_PID)  # of processes, only one child would be possible: it is process 1
    _furnish_network()
    _run("iptables", "--table", "nat", "--list")
    _run("nft", "add table ip trial")


def _refusal(attempt: Callable[[], None]) -> str:
    """What went wrong with an attempt, made by a child process: it may change its namespaces."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            attempt()
        except BaseException as error:  # noqa: BLE001 - the child must never return into the caller's code
            os.write(writer, str(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answers:
        refusal = answers.read()
    os.waitpid(child, 0)
    return refusal


def _run(*command: str) -> None:
    result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise ClusterError(f"{' '.join(command)}: {result.stderr.strip()}")
