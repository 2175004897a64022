"""From nothing to a ready cluster, and back to nothing. Both directions start from any state in between."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from e2e.cluster import builder, certificates, cgroups, components, linux, nodes, sandbox
from e2e.cluster.api import Api
from e2e.cluster.control import Control
from e2e.cluster.layout import DNS_SERVICE_IP, SOURCES, ClusterError, Layout, Node, Settings, wait_until

PORTS = {"etcd": 2379, "peers": 2380, "api": 6443, "controllers": 10257, "scheduler": 10259}
DEFAULT_SERVICE_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default"
DNS = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"


def up(layout: Layout, wanted_nodes: str | None, *, audit: bool, kwok: str | None, owner: int | None) -> None:
    """Starts the cluster, or what is missing of it, and waits until it is ready.

    `wanted_nodes` None means the control plane only, which needs no root. More nodes on a running cluster are added.
    `kwok` says what of nodes with its label is simulated: "all", or "nodes" without the pods on them.
    """
    began = time.monotonic()
    if not builder.is_built(layout):
        raise ClusterError(f"no binaries in {layout.binaries}: use the verb build (or: make setup)")
    control = Control(layout)
    settings = Settings.load(layout) if control.pid() else None
    if settings is None:
        down(layout)  # whatever an earlier cluster that ended badly has left
        settings = _create(layout, control, isolated=wanted_nodes is not None, audit=audit, owner=owner)
    elif (settings.isolated, settings.audit) != (wanted_nodes is not None, audit or settings.audit):
        raise ClusterError("it runs in another mode (nodes, audit): use the verb down first")
    if wanted_nodes is not None:
        settings.nodes = nodes.parse(wanted_nodes, settings.nodes)
        settings.save(layout)
    enter_network(layout, settings)
    _start(layout, settings, control, kwok)
    print(f"cluster: ready after {time.monotonic() - began:.1f} s, KUBECONFIG={layout.kubeconfig}")


def down(layout: Layout) -> None:
    """Ends everything of the cluster; also what is left of one whose supervisor was killed."""
    settings = Settings.load(layout)
    Control(layout).end()
    if os.geteuid() == 0:
        cgroups.remove(layout.name)
    for directory in reversed(settings.mounts_created if settings else []):
        with suppress(OSError):
            Path(directory).rmdir()
    shutil.rmtree(layout.run, ignore_errors=True)


def enter_network(layout: Layout, settings: Settings) -> None:
    """Moves this thread, and those that it starts, into the cluster's network."""
    pid = Control(layout).running()
    if settings.isolated:
        linux.join(Path(f"/proc/{pid}/ns/net"), linux.NEW_NETWORK)


def execute(layout: Layout, command: list[str]) -> None:
    """Becomes the command, in the cluster's network, with its names, its KUBECONFIG and its tools."""
    Control(layout).running()
    settings = _settings(layout)
    enter_network(layout, settings)
    if settings.isolated:
        linux.unshare(linux.NEW_MOUNT)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", layout.run / "resolv.conf", "/etc/resolv.conf"], check=True)
    path = f"{layout.binaries}:{os.environ['PATH']}"
    os.environ.update(KUBECONFIG=str(layout.kubeconfig), PATH=path)
    os.execvp(command[0], command)


def node_names(layout: Layout) -> list[str]:
    Control(layout).running()
    return [node.name for node in _settings(layout).nodes]


def _settings(layout: Layout) -> Settings:
    if (settings := Settings.load(layout)) is None:
        raise ClusterError("the cluster does not run: use the verb up")
    return settings


def _create(layout: Layout, control: Control, *, isolated: bool, audit: bool, owner: int | None) -> Settings:
    """Decides ports, makes certificates and starts the supervisor."""
    if isolated:
        if reasons := sandbox.reasons_against_nodes():
            raise ClusterError("nodes cannot run here: " + "; ".join(reasons))
        if hidden := [path for path in sandbox.PRIVATE_DIRECTORIES if layout.state.is_relative_to(path)]:
            raise ClusterError(f"the state directory must not lie in {hidden[0]}, which the cluster does not see")
    created = sandbox.missing_directories() if isolated else []
    for directory in (layout.logs, layout.pki, *created):
        directory.mkdir(parents=True, exist_ok=True)
    ports = PORTS if isolated else _free_ports()
    settings = Settings(isolated, audit, ports, [str(directory) for directory in created])
    settings.save(layout)
    (layout.run / "resolv.conf").write_text(f"nameserver {DNS_SERVICE_IP}\n")
    certificates.create_authority(layout.pki)
    server = f"https://{settings.address}:{settings.ports['api']}"
    certificates.create_login(layout, server, "admin", "/O=system:masters/CN=admin", layout.kubeconfig)
    control.launch(isolated, owner)
    return settings


def _free_ports() -> dict[str, int]:
    """Free ports of loopback: held all at once, so that they differ."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        return {name: int(one.getsockname()[1]) for name, one in zip(PORTS, held, strict=True)}


def _start(layout: Layout, settings: Settings, control: Control, kwok: str | None) -> None:
    """Starts what does not run yet, in the order in which things need each other."""
    with ThreadPoolExecutor() as pool:
        containerds = [pool.submit(_start_node, layout, settings, control, node) for node in settings.nodes]
        control.start("etcd", components.etcd(layout, settings))
        control.start("kube-apiserver", components.kube_apiserver(layout, settings))
        api = Api(layout, settings)
        control.wait_for("kube-apiserver", api.is_ready)
        control.start("kube-controller-manager", components.kube_controller_manager(layout, settings))
        control.start("kube-scheduler", components.kube_scheduler(layout, settings))
        if kwok:
            control.start("kwok", components.kwok(layout, settings, pods=kwok == "all"))
        if settings.isolated:
            control.start("kube-proxy", components.kube_proxy(layout, settings))
            control.start("netpol", components.netpol(layout, settings))
        for containerd in containerds:
            containerd.result()
    for node in settings.nodes:
        control.start(f"{node.name}-kubelet", components.kubelet(layout, node.name))
    if settings.isolated:
        _install_dns(layout, api)
    for node in settings.nodes:
        nodes.wait_until_ready(api, node)
    control.wait_for("kube-controller-manager", lambda: api.get(DEFAULT_SERVICE_ACCOUNT))


def _start_node(layout: Layout, settings: Settings, control: Control, node: Node) -> None:
    nodes.prepare(layout, settings, node)
    nodes.start_containerd(layout, control, node)


def _install_dns(layout: Layout, api: Api) -> None:
    manifest = SOURCES / "coredns" / "manifest.yaml"
    kubectl = [str(layout.binaries / "kubectl"), f"--kubeconfig={layout.kubeconfig}"]
    apply = [*kubectl, "apply", "--server-side", "--force-conflicts", f"--filename={manifest}"]
    subprocess.run(apply, check=True, stdout=subprocess.DEVNULL)
    wait_until(lambda: api.has_condition(DNS, "Available"), "cluster DNS is available")
