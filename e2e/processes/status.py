"""Pure: what a kubelet would say about a pod."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """The pod's one process. Times are Kubernetes timestamps."""

    waiting: str = "ContainerCreating"  # why there is no process, while there is none and none has ended for good
    started_at: str = ""
    started: bool = False  # it has passed its startup probe
    ready: bool = False
    restarts: int = 0
    exit_code: int | None = None
    finished_at: str = ""
    message: str = ""
    over: bool = False  # it will not be started again


def status(pod: Object, address: str, seen: Seen, now: str) -> dict[str, Any]:
    """The status as a strategic merge patch. Gates are read from the pod as it is: others open them."""
    gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
    closed = [gate for gate in gates if not _is_true(pod, gate)]
    ready = seen.ready and not closed
    reason = "ReadinessGatesNotReady" if seen.ready and closed else "ContainersNotReady"
    if seen.over:
        reason = "PodCompleted" if seen.exit_code == 0 else "PodFailed"
    conditions = [
        _condition(pod, "PodReadyToStartContainers", not seen.over, now),
        _condition(pod, "Initialized", True, now),
        _condition(pod, "ContainersReady", seen.ready, now, reason),
        _condition(pod, "Ready", ready, now, reason),
    ]
    return {
        "phase": phase(seen),
        "hostIP": "127.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": (pod.get("status") or {}).get("startTime") or now,
        "conditions": conditions,
        "containerStatuses": [_container(pod["spec"]["containers"][0], seen)],
    }


def phase(seen: Seen) -> str:
    if seen.over:
        return "Succeeded" if seen.exit_code == 0 else "Failed"
    return "Running" if seen.started_at else "Pending"


def _container(container: Object, seen: Seen) -> dict[str, Any]:
    ended = {
        "exitCode": seen.exit_code,
        "reason": "Completed" if seen.exit_code == 0 else "Error",
        "message": seen.message,
        "startedAt": seen.started_at or seen.finished_at,
        "finishedAt": seen.finished_at,
    }
    running = {"startedAt": seen.started_at} if seen.started_at and not seen.waiting and not seen.over else None
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": container["image"],
        "ready": seen.ready,
        "started": seen.started,
        "restartCount": seen.restarts,
        "state": {  # the two that do not hold are taken away
            "running": running,
            "waiting": {"reason": seen.waiting} if seen.waiting and not seen.over else None,
            "terminated": ended if seen.over else None,
        },
        "lastState": {"terminated": ended if seen.restarts and seen.finished_at and not seen.over else None},
    }


def _condition(pod: Object, name: str, holds: bool, now: str, reason: str = "") -> dict[str, Any]:
    value = "True" if holds else "False"
    before = _find(pod, name)
    since = before.get("lastTransitionTime") if before.get("status") == value else None
    return {"type": name, "status": value, "reason": "" if holds else reason, "lastTransitionTime": since or now}


def _is_true(pod: Object, name: str) -> bool:
    return _find(pod, name).get("status") == "True"


def _find(pod: Object, name: str) -> Object:
    conditions: list[Object] = (pod.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == name), {})
