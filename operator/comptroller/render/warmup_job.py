"""The Job that warms one replica, and the ConfigMap with its plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from comptroller.api.cachewarmup import CacheWarmupSpec, Prefix, TextSource
from comptroller.api.settings import Settings
from comptroller.render.child import child
from comptroller.render.replica import Replica
from comptroller.render.security import container_security, pod_security

PLAN_FOLDER = "/etc/comptroller/warmup"
TEXT_FOLDER = "/etc/comptroller/prefixes"
DEFAULT_HIT_RATIO = "0.9"
RETRIES = 3
KEPT_SECONDS = 3600
"""How long a finished Job stays for inspection."""
MARGIN_SECONDS = 5


def warmup_config_map(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    spec: CacheWarmupSpec,
    replica: Replica,
    owner: Mapping[str, Any],
    slots: Mapping[str, tuple[int, ...]],
) -> dict[str, Any]:
    """The plan as `comptroller.warmup` reads it. Texts that are referenced stay where they are and are mounted."""
    ratio = str(spec.verification.minimum_hit_ratio) if spec.verification else DEFAULT_HIT_RATIO
    host = f"[{replica.ip}]" if ":" in replica.ip else replica.ip
    plan = {
        "address": f"http://{host}:{replica.port}",
        "model": replica.model,
        "snapshots": replica.snapshots,
        "save": not replica.serving,  # else somebody's prompt may be in the slot by the time it is saved
        "prefixes": [
            {
                **_prefix(index, prefix),
                "slots": list(slots[prefix.name]),
                "mayBeSaved": not (replica.shared_volume and _holds_secret(prefix)),
            }
            for index, prefix in enumerate(spec.prefixes)
            if prefix.name in slots
        ],
        "minimumHitRatio": ratio,
        "concurrency": spec.concurrency_per_replica,
        "deadlineSeconds": max(1, spec.gate.timeout_seconds - MARGIN_SECONDS),
    }
    data = {"plan.json": json.dumps(plan, indent=1, sort_keys=True)}
    return child("v1", "ConfigMap", name, namespace, labels, owner, data=data)


def warmup_job(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    spec: CacheWarmupSpec,
    owner: Mapping[str, Any],
    settings: Settings,
    slots: Mapping[str, tuple[int, ...]],
) -> dict[str, Any]:
    """The Job. A pod that dies or does not get the replica warm is tried again with back-off; one whose request is
    wrong (exit code 2) is not, and one that is evicted does not count. The gate's timeout ends it. The result is in the
    pod's termination message."""
    volumes: list[dict[str, Any]] = [{"name": "plan", "configMap": {"name": name}}]
    mounts = [{"name": "plan", "mountPath": PLAN_FOLDER, "readOnly": True}]
    placed = [(index, prefix) for index, prefix in enumerate(spec.prefixes) if prefix.name in slots]
    sources = [source for index, prefix in placed for source in _sources(index, prefix)]
    if sources:
        volumes.append({"name": "prefixes", "projected": {"sources": sources, "defaultMode": 0o440}})
        mounts.append({"name": "prefixes", "mountPath": TEXT_FOLDER, "readOnly": True})
    container = {
        "name": "warmup",
        "image": settings.defaults.operator_image,
        "imagePullPolicy": settings.defaults.image_pull_policy,
        "command": ["python3", "-m", "comptroller.warmup"],
        "args": ["--plan", f"{PLAN_FOLDER}/plan.json"],
        "resources": {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": container_security(read_only=True),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "volumeMounts": mounts,
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": [container],
        "volumes": volumes,
    }
    wrong = {"action": "FailJob", "onExitCodes": {"containerName": "warmup", "operator": "In", "values": [2]}}
    evicted = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    content = {
        "backoffLimit": RETRIES,
        "activeDeadlineSeconds": spec.gate.timeout_seconds,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "podFailurePolicy": {"rules": [wrong, evicted]},
        "template": {"metadata": {"labels": dict(labels)}, "spec": pod},
    }
    return child("batch/v1", "Job", name, namespace, labels, owner, spec=content)


def _prefix(index: int, prefix: Prefix) -> dict[str, Any]:
    content: dict[str, Any] = {"name": prefix.name}
    for part, source in _texts(prefix):
        content[part] = {"text": source.text} if source.text is not None else {"file": f"{TEXT_FOLDER}/{index}-{part}"}
    if prefix.messages:
        content["messages"] = [{"role": one.role, "content": one.content} for one in prefix.messages]
    return content


def _holds_secret(prefix: Prefix) -> bool:
    return any(source.secret_key_ref is not None for _, source in _texts(prefix))


def _sources(index: int, prefix: Prefix) -> list[dict[str, Any]]:
    sources = []
    for part, source in _texts(prefix):
        for kind, reference in (("configMap", source.config_map_key_ref), ("secret", source.secret_key_ref)):
            if reference is not None:
                item = {"key": reference.key, "path": f"{index}-{part}"}
                sources.append({kind: {"name": reference.name, "items": [item]}})
    return sources


def _texts(prefix: Prefix) -> list[tuple[str, TextSource]]:
    return [
        (part, source) for part, source in (("system", prefix.system), ("tools", prefix.tools)) if source is not None
    ]
