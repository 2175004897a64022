"""Real nodes: each has a containerd, a kubelet, a range of pod addresses and, if wanted, GPUs in name."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable
from typing import IO

from e2e.cluster import certificates, cgroups, components
from e2e.cluster.api import Api
from e2e.cluster.control import Control
from e2e.cluster.imagestore import ImageStore
from e2e.cluster.layout import DNS_SERVICE_IP, NODE_IP, ClusterError, Layout, Node, Settings, wait_until
from e2e.cluster.sandbox import NETWORK_PLUGINS

DEFAULT_NODES = "h100-a:h100:8,rtx4090-a:rtx4090:4,cpu-a"
GPUS = {  # what NVIDIA's GPU feature discovery says about a node with such GPUs
    "h100": {"product": "NVIDIA-H100-80GB-HBM3", "memory": "81559", "family": "hopper"},
    "rtx4090": {"product": "NVIDIA-GeForce-RTX-4090", "memory": "24564", "family": "ada-lovelace"},
}
PAUSE_IMAGE, DNS_IMAGE = "comptroller/pause:dev", "comptroller/coredns:dev"


def parse(text: str, known: Iterable[Node] = ()) -> list[Node]:
    """Reads NAME[:GPU:COUNT],...; returns the known nodes with these added, or changed where the name is the same."""
    nodes = {node.name: node for node in known}
    for item in text.split(","):
        match = re.fullmatch(r"([a-z0-9][a-z0-9-]*)(?::([a-z0-9]*):(\d+))?", item)
        if not match or (match[2] and match[2] not in GPUS):
            raise ClusterError(f"a node is NAME or NAME:GPU:COUNT with GPU one of {', '.join(GPUS)}, not {item!r}")
        name, gpu, count = match.groups(default="")
        number = nodes[name].number if name in nodes else len(nodes)
        nodes[name] = Node(name, number, gpu, int(count or 0) if gpu else 0)
    return list(nodes.values())


def gpu_labels(gpu: str, count: int) -> dict[str, str]:
    facts = GPUS[gpu] | {"present": "true", "count": str(count), "replicas": "1"}
    return {f"nvidia.com/gpu.{key}": value for key, value in facts.items()}


def prepare(layout: Layout, settings: Settings, node: Node) -> None:
    """Writes the node's configuration, makes its login and its control groups."""
    cgroups.create(layout.name, node.name)
    here = layout.node(node.name)
    (here / "network").mkdir(parents=True, exist_ok=True)
    (here / "containerd.toml").write_text(_containerd_config(layout, node))
    (here / "kubelet.json").write_text(json.dumps(_kubelet_config(layout, node), indent=1))
    (here / "network" / "pods.conflist").write_text(json.dumps(_network_config(layout, node), indent=1))
    if not (here / "kubeconfig").exists():
        server = f"https://{settings.address}:{settings.ports['api']}"
        subject = f"/O=system:nodes/CN=system:node:{node.name}"
        certificates.create_login(layout, server, node.name, subject, here / "kubeconfig")


def start_containerd(layout: Layout, control: Control, node: Node) -> None:
    name = f"{node.name}-containerd"
    control.start(name, components.containerd(layout, node.name))
    control.wait_for(name, lambda: _ctr(control, node.name, "version").returncode == 0)
    for image in (PAUSE_IMAGE, DNS_IMAGE):
        load(control, node.name, ImageStore(layout.component_images), image)


def load(control: Control, node: str, store: ImageStore, image: str) -> int:
    """Streams an image into a node, less the layers that the node has; returns the bytes sent."""
    present = set(_ctr(control, node, "content", "ls", "--quiet").stdout.decode().split())
    with subprocess.Popen(
        _ctr_command(control, node, "images", "import", "-"),
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        pipe, errors = _pipes(process)
        try:
            sent = store.stream(image, pipe, present)
        except BrokenPipeError:
            sent = 0
        finally:
            pipe.close()
        words = errors.read().decode()
    if process.returncode:
        raise ClusterError(f"{node} does not take {image}: {words.strip()}")
    return sent


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None
    assert process.stderr is not None
    return process.stdin, process.stderr


def wait_until_ready(api: Api, node: Node) -> None:
    path = f"/api/v1/nodes/{node.name}"
    wait_until(lambda: api.has_condition(path, "Ready"), f"node {node.name} is ready")
    if not node.gpu:
        return
    # Labels by the discovery, the resource by the device plugin: so NVIDIA's operator prepares a node.
    api.patch(path, {"metadata": {"labels": gpu_labels(node.gpu, node.gpus)}})
    resource = {"nvidia.com/gpu": str(node.gpus)}
    api.patch(f"{path}/status", {"status": {"capacity": resource, "allocatable": resource}})


def _ctr_command(control: Control, node: str, *arguments: str) -> list[str]:
    # The socket is in the cluster's own /run, which is reached through its first process.
    socket = f"/proc/{control.running()}/root/run/{node}/containerd.sock"
    return ["ctr", "--address", socket, "--namespace", "k8s.io", *arguments]


def _ctr(control: Control, node: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(_ctr_command(control, node, *arguments), capture_output=True)


def _containerd_config(layout: Layout, node: Node) -> str:
    here = layout.node(node.name)
    return f"""\
version = 2
root = "{here}/containerd"
state = "/run/{node.name}/state"

[grpc]
address = "/run/{node.name}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE_IMAGE}"
# Where this process may not lower a score, runc fails otherwise: "can't get final child's PID from pipe".
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{NETWORK_PLUGINS}"
conf_dir = "{here}/network"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def _network_config(layout: Layout, node: Node) -> dict[str, object]:
    addresses = {
        "type": "host-local",
        "dataDir": str(layout.node(node.name) / "addresses"),
        "ranges": [[{"subnet": f"10.244.{node.number}.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": f"pods{node.number}",
        "isGateway": True,
        "hairpinMode": True,  # a pod may reach itself through its Service
        "ipam": addresses,
    }
    host_ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, host_ports]}


def _kubelet_config(layout: Layout, node: Node) -> dict[str, object]:
    here = layout.node(node.name)
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "port": 11000 + node.number,
        "healthzPort": 12000 + node.number,
        "containerRuntimeEndpoint": f"unix:///run/{node.name}/containerd.sock",
        "podLogsDir": str(here / "logs"),
        "volumePluginDir": str(here / "plugins"),
        "resolvConf": str(layout.run / "resolv.conf"),
        "clusterDNS": [DNS_SERVICE_IP],
        "clusterDomain": "cluster.local",
        "authentication": {"x509": {"clientCAFile": str(layout.pki / "ca.crt")}, "anonymous": {"enabled": False}},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.name}/{node.name}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        # The disk is the machine's and may be as full as it likes: nothing is evicted or collected for it.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "syncFrequency": "10s",  # how late a pod sees a changed ConfigMap; a minute by default
    }
