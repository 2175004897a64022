"""The cluster's own authority, and what it signs. Everybody in it is known by a certificate."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from e2e.cluster.layout import API_SERVICE_IP, NODE_IP, Layout

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650")
_NAMES = f"IP:127.0.0.1,IP:{NODE_IP},IP:{API_SERVICE_IP},DNS:localhost,DNS:kubernetes.default.svc"


def create_authority(pki: Path) -> None:
    """Makes the authority, the key that signs service accounts, and the API server's certificate."""
    _openssl(pki, "req", "-x509", *_KEY, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=test-cluster")
    _openssl(pki, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "service-accounts.key")
    _sign(pki, "apiserver", "/CN=kube-apiserver")


def create_login(layout: Layout, server: str, name: str, subject: str, kubeconfig: Path) -> None:
    """Signs a certificate for the subject (/O=GROUP/CN=USER) and writes the kubeconfig that uses it."""
    pki = layout.pki
    _sign(pki, name, subject)
    cluster = {"server": server, "certificate-authority": str(pki / "ca.crt")}
    user = {"client-certificate": str(pki / f"{name}.crt"), "client-key": str(pki / f"{name}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
        "current-context": "test",
    }
    kubeconfig.write_text(json.dumps(content, indent=1))


def _sign(pki: Path, name: str, subject: str) -> None:
    files = ("-CA", "ca.crt", "-CAkey", "ca.key", "-keyout", f"{name}.key", "-out", f"{name}.crt")
    extensions = ("-addext", "basicConstraints=critical,CA:false", "-addext", f"subjectAltName={_NAMES}")
    _openssl(pki, "req", "-x509", *_KEY, *files, "-subj", subject, *extensions)


def _openssl(pki: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=pki, check=True, stderr=subprocess.DEVNULL)
