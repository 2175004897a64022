"""What a kubelet would say."""

from __future__ import annotations

from typing import Any

from e2e.processes.status import Seen, phase, status

NOW, EARLIER = "2026-01-01T00:00:10Z", "2026-01-01T00:00:00Z"
GATE = "comptroller.dev/cache-warm"
RUNNING = Seen(waiting="", started_at=EARLIER, started=True, ready=True)


def pod(gates: tuple[str, ...] = (), conditions: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    spec = {
        "containers": [{"name": "c", "image": "i"}],
        "readinessGates": [{"conditionType": one} for one in gates],
    }
    return {"metadata": {}, "spec": spec, "status": {"conditions": list(conditions)}}


def condition(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["conditions"] if one["type"] == name)


def test_without_gates_a_pod_is_ready_with_its_container() -> None:
    assert condition(status(pod(), "127.9.0.1", RUNNING, NOW), "Ready")["status"] == "True"
    assert condition(status(pod(), "127.9.0.1", Seen(), NOW), "Ready")["reason"] == "ContainersNotReady"


def test_a_pod_is_ready_when_its_container_is_and_every_gate_is_open() -> None:
    shut = status(pod((GATE,)), "127.9.0.1", RUNNING, NOW)
    assert condition(shut, "ContainersReady")["status"] == "True"
    assert condition(shut, "Ready") == {
        "type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "lastTransitionTime": NOW,
    }  # fmt: skip
    opened = pod((GATE,), ({"type": GATE, "status": "True"},))
    assert condition(status(opened, "127.9.0.1", RUNNING, NOW), "Ready")["status"] == "True"


def test_a_condition_keeps_the_time_at_which_it_became_so() -> None:
    known = pod(conditions=({"type": "Ready", "status": "True", "lastTransitionTime": EARLIER},))
    assert condition(status(known, "127.9.0.1", RUNNING, NOW), "Ready")["lastTransitionTime"] == EARLIER


def test_an_ended_pod_says_how_and_with_which_words() -> None:
    ended = Seen(waiting="", started_at=EARLIER, exit_code=2, finished_at=NOW, message="{}", over=True)
    found = status(pod(), "127.9.0.1", ended, NOW)
    state = found["containerStatuses"][0]["state"]
    assert (found["phase"], state["terminated"]["exitCode"], state["terminated"]["message"]) == ("Failed", 2, "{}")
    assert state["running"] is None
    assert phase(Seen(started_at=EARLIER, exit_code=0, over=True)) == "Succeeded"


def test_between_two_starts_it_waits_and_remembers_the_last_one() -> None:
    between = Seen(waiting="CrashLoopBackOff", started_at=EARLIER, exit_code=1, finished_at=NOW, restarts=1)
    one = status(pod(), "127.9.0.1", between, NOW)["containerStatuses"][0]
    assert one["state"] == {"running": None, "waiting": {"reason": "CrashLoopBackOff"}, "terminated": None}
    assert one["lastState"]["terminated"]["exitCode"] == 1
    assert one["restartCount"] == 1
