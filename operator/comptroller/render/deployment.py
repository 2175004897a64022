"""The Deployment of a local pool: engine pods on the nodes of their GPU class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from comptroller.api.modelpool import Local, ModelPoolSpec
from comptroller.api.settings import GpuClass
from comptroller.render.child import child
from comptroller.render.drain import LEAVE_SERVICES_SECONDS, pre_stop
from comptroller.render.engine import EngineStart, engine_start
from comptroller.render.errors import RenderError
from comptroller.render.labels import CACHE_WARM_GATE, engine_selector, with_users
from comptroller.render.security import container_security, pod_security

HOME = "/home/comptroller"
PERMITTED_VOLUMES = frozenset({"configMap", "secret", "emptyDir", "persistentVolumeClaim", "csi"})
OUR_VOLUMES = frozenset({"home", "shared-memory", "temporary", "model-cache", "model"})


def deployment(
    name: str,
    namespace: str,
    pool: str,
    spec: ModelPoolSpec,
    gpu_class: GpuClass,
    labels: Mapping[str, str],
    owner: Mapping[str, Any],
    *,
    replicas: int,
    gated: bool,
) -> dict[str, Any]:
    """The Deployment, with as many replicas as the decision wants.

    A new pod cannot start while the old one holds the GPU, so a rollout first removes one and then adds one. Raises
    `RenderError` for volumes that are not permitted.
    """
    local = spec.local
    if local is None:
        raise RenderError("spec.local", "only local pools have a Deployment")
    start = engine_start(spec, gpu_class)
    template = {
        "metadata": {
            "labels": with_users(local.pod.labels, labels),
            "annotations": with_users(local.pod.annotations, _scrape(local)),
        },
        "spec": _pod(local, gpu_class, start, engine_selector(pool), gated=gated),
    }
    content = {
        "replicas": replicas,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": max(600, 4 * local.startup_seconds),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "selector": {"matchLabels": engine_selector(pool)},
        "template": template,
    }
    return child("apps/v1", "Deployment", name, namespace, labels, owner, spec=content)


def _scrape(local: Local) -> dict[str, str]:
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(local.engine.port),
        "prometheus.io/path": "/metrics",
    }


def _pod(
    local: Local, gpu_class: GpuClass, start: EngineStart, selector: Mapping[str, str], *, gated: bool
) -> dict[str, Any]:
    node_selector = {**gpu_class.node_selector, **local.accelerator.node_selector}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
    }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service called vllm would set VLLM_PORT, which vLLM reads
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": local.pod.termination_grace_period_seconds + LEAVE_SERVICES_SECONDS,
        "topologySpreadConstraints": [spread],
        "volumes": _volumes(local, start),
        "containers": [_container(local, gpu_class, start)],
    }
    if node_selector:
        pod["nodeSelector"] = node_selector
    if gpu_class.tolerations or local.pod.tolerations:
        pod["tolerations"] = [*gpu_class.tolerations, *local.pod.tolerations]
    if gated:
        pod["readinessGates"] = [{"conditionType": CACHE_WARM_GATE}]
    if local.pod.priority_class_name:
        pod["priorityClassName"] = local.pod.priority_class_name
    if local.pod.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": secret} for secret in local.pod.image_pull_secrets]
    return pod


def _container(local: Local, gpu_class: GpuClass, start: EngineStart) -> dict[str, Any]:
    probe = {"httpGet": {"path": start.probe_path, "port": "http"}, "timeoutSeconds": 5}
    allowance_seconds = max(60, 3 * local.startup_seconds)
    container: dict[str, Any] = {
        "name": "engine",
        "image": start.image,
        "command": list(start.command),
        "args": list(start.args),
        "env": _env(local, start),
        "ports": [{"name": "http", "containerPort": local.engine.port, "protocol": "TCP"}],
        "resources": _resources(local, gpu_class),
        "securityContext": container_security(read_only=False),
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": math.ceil(allowance_seconds / 2)},
        "readinessProbe": {**probe, "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 6},
        "lifecycle": {"preStop": pre_stop(local)},
        "volumeMounts": _mounts(local, start),
    }
    if local.pod.image_pull_policy:
        container["imagePullPolicy"] = local.pod.image_pull_policy
    return container


def _env(local: Local, start: EngineStart) -> list[dict[str, Any]]:
    """Ours first; the user's value wins where both name a variable."""
    ours = {"HOME": HOME, "XDG_CACHE_HOME": f"{HOME}/.cache", **start.env}
    given = {variable.name for variable in local.engine.env}
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in ours.items() if name not in given]
    for variable in local.engine.env:
        one: dict[str, Any] = {"name": variable.name}
        if variable.value_from is not None:
            one["valueFrom"] = variable.value_from
        else:
            one["value"] = variable.value or ""
        env.append(one)
    return env


def _resources(local: Local, gpu_class: GpuClass) -> dict[str, Any]:
    resources = local.pod.resources or {}
    requests, limits = dict(resources.get("requests") or {}), dict(resources.get("limits") or {})
    gpu = local.accelerator.resource_name or gpu_class.resource_name
    if gpu and local.accelerator.count:
        limits[gpu] = str(local.accelerator.count)
        if requests:
            requests[gpu] = limits[gpu]
    return {key: value for key, value in (("requests", requests), ("limits", limits)) if value}


def _volumes(local: Local, start: EngineStart) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "home", "emptyDir": {}}, {"name": "temporary", "emptyDir": {}}]
    if start.shared_memory:
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
    if local.model_cache:
        claim = {"claimName": local.model_cache.persistent_volume_claim}
        volumes.append({"name": "model-cache", "persistentVolumeClaim": claim})
    volumes += [source.volume for source in start.sources if source.volume]
    for index, volume in enumerate(local.pod.volumes):
        path = f"spec.local.pod.volumes[{index}]"
        kinds = sorted(set(volume) - {"name"})
        if len(kinds) != 1 or kinds[0] not in PERMITTED_VOLUMES:
            allowed = ", ".join(sorted(PERMITTED_VOLUMES))
            raise RenderError(path, f"must have exactly one of {allowed} (given: {', '.join(kinds) or 'none'})")
        if volume.get("name") in OUR_VOLUMES:
            raise RenderError(f"{path}.name", f"{volume['name']} is taken by the operator: choose another name")
        volumes.append(dict(volume))
    return volumes


def _mounts(local: Local, start: EngineStart) -> list[dict[str, Any]]:
    mounts: list[dict[str, Any]] = [
        {"name": "home", "mountPath": HOME},
        {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - in the pod
    ]
    if start.shared_memory:
        mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 - in the pod
    if local.model_cache:
        mounts.append({"name": "model-cache", "mountPath": local.model_cache.path})
    mounts += [source.mount for source in start.sources if source.mount]
    return [*mounts, *(dict(mount) for mount in local.pod.volume_mounts)]
