"""The restricted Pod Security Standard, as every pod of ours follows it."""

from __future__ import annotations

from typing import Any

NOBODY = 65532


def pod_security() -> dict[str, Any]:
    """Security context of the pod. Volumes belong to the group, so that caches can be written."""
    return {
        "runAsNonRoot": True,
        "runAsUser": NOBODY,
        "runAsGroup": NOBODY,
        "fsGroup": NOBODY,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security(*, read_only: bool) -> dict[str, Any]:
    """Security context of a container. Engines compile kernels into their image's folders: those are not read-only."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": read_only,
    }
