"""The command of each component: which flags it has here, and why where that is not plain."""

from __future__ import annotations

from e2e.cluster.layout import NODE_IP, POD_RANGE, SERVICE_RANGE, SIMULATED_POD_RANGE, SOURCES, Layout, Settings


def etcd(layout: Layout, settings: Settings) -> list[str]:
    clients = f"http://127.0.0.1:{settings.ports['etcd']}"
    peers = f"http://127.0.0.1:{settings.ports['peers']}"
    return _command(
        layout, "etcd",
        data_dir=layout.run / "etcd",
        unsafe_no_fsync=True,  # nothing here has to survive the machine
        log_level="warn",
        listen_client_urls=clients,
        advertise_client_urls=clients,
        listen_peer_urls=peers,
        initial_advertise_peer_urls=peers,
        initial_cluster=f"default={peers}",
    )  # fmt: skip


def kube_apiserver(layout: Layout, settings: Settings) -> list[str]:
    pki = layout.pki
    auditing = {
        "audit_policy_file": SOURCES / "audit-policy.yaml",
        "audit_log_path": layout.audit_log,
        "audit_log_mode": "blocking",  # a request that was answered is in the log
        "audit_log_maxsize": 4096,  # megabytes: never begins a new file
    }
    return _command(
        layout, "kube-apiserver",
        etcd_servers=f"http://127.0.0.1:{settings.ports['etcd']}",
        bind_address="0.0.0.0" if settings.isolated else "127.0.0.1",
        secure_port=settings.ports["api"],
        advertise_address=settings.address,
        # Loopback is no address that a Service may have.
        endpoint_reconciler_type="lease" if settings.isolated else "none",
        service_cluster_ip_range=SERVICE_RANGE,
        allow_privileged=True,
        authorization_mode="Node,RBAC",
        enable_admission_plugins="NodeRestriction",
        client_ca_file=pki / "ca.crt",
        tls_cert_file=pki / "apiserver.crt",
        tls_private_key_file=pki / "apiserver.key",
        service_account_issuer="https://kubernetes.default.svc",
        service_account_key_file=pki / "service-accounts.key",
        service_account_signing_key_file=pki / "service-accounts.key",
        kubelet_client_certificate=pki / "admin.crt",
        kubelet_client_key=pki / "admin.key",
        kubelet_preferred_address_types="InternalIP",  # nobody resolves the names of nodes
        **auditing if settings.audit else {},
    )  # fmt: skip


def kube_controller_manager(layout: Layout, settings: Settings) -> list[str]:
    return _command(
        layout, "kube-controller-manager",
        kubeconfig=layout.kubeconfig,
        bind_address="127.0.0.1",
        secure_port=settings.ports["controllers"],
        leader_elect=False,
        root_ca_file=layout.pki / "ca.crt",
        service_account_private_key_file=layout.pki / "service-accounts.key",
        use_service_account_credentials=True,
        # By default 20 per second, which makes a new cluster's default service account seconds late.
        kube_api_qps=1000,
        kube_api_burst=1000,
    )  # fmt: skip


def kube_scheduler(layout: Layout, settings: Settings) -> list[str]:
    return _command(
        layout, "kube-scheduler",
        kubeconfig=layout.kubeconfig,
        bind_address="127.0.0.1",
        secure_port=settings.ports["scheduler"],
        leader_elect=False,
    )  # fmt: skip


def kube_proxy(layout: Layout, settings: Settings) -> list[str]:
    """One for all nodes, since they share a network; it leaves the machine's connection tracking as it is."""
    return _command(
        layout, "kube-proxy",
        kubeconfig=layout.kubeconfig,
        hostname_override=settings.nodes[0].name,
        proxy_mode="iptables",
        cluster_cidr=POD_RANGE,
        conntrack_max_per_core=0,
        conntrack_tcp_timeout_established=0,
        conntrack_tcp_timeout_close_wait=0,
    )  # fmt: skip


def netpol(layout: Layout, _: Settings) -> list[str]:
    return _command(layout, "netpol", kubeconfig=layout.kubeconfig)


def kwok(layout: Layout, settings: Settings, *, pods: bool) -> list[str]:
    """Without `pods` it keeps nodes ready and leaves the pods on them alone: somebody else runs these."""
    stages = [SOURCES / "kwok" / name for name in ("nodes.yaml", "pods.yaml")[: 1 + pods]]
    return _command(
        layout, "kwok",
        kubeconfig=layout.kubeconfig,
        config=",".join(map(str, stages)),
        manage_all_nodes=False,
        manage_nodes_with_label_selector="type=kwok",
        node_ip=settings.address,
        cidr=SIMULATED_POD_RANGE,
        node_lease_duration_seconds=40,
    )  # fmt: skip


def containerd(layout: Layout, node: str) -> list[str]:
    return ["containerd", f"--config={layout.node(node) / 'containerd.toml'}"]


def kubelet(layout: Layout, node: str) -> list[str]:
    here = layout.node(node)
    return _command(
        layout, "kubelet",
        config=here / "kubelet.json",
        kubeconfig=here / "kubeconfig",
        hostname_override=node,
        node_ip=NODE_IP,
        root_dir=here / "kubelet",
        cert_dir=here / "pki",
    )  # fmt: skip


def _command(layout: Layout, binary: str, **flags: object) -> list[str]:
    """The command with flags in the usual spelling: `data_dir="x"` is `--data-dir=x`."""
    words = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in flags.items()}
    return [str(layout.binaries / binary), *(f"--{name.replace('_', '-')}={word}" for name, word in words.items())]
