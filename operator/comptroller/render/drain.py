"""How a replica finishes its requests before it goes: the preStop hook.

The pod leaves the Services at once when it is deleted; the hook holds SIGTERM back until what runs has ended.
"""

from __future__ import annotations

from typing import Any

from comptroller.api.modelpool import EngineName, Local

LEAVE_SERVICES_SECONDS = 5
MARGIN_SECONDS = 5
_RUNNING = {
    EngineName.VLLM: ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    EngineName.SGLANG: ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
}
_SCRIPT = """\
import sys, time, urllib.request
url, until, names = sys.argv[1], time.monotonic() + float(sys.argv[2]), tuple(sys.argv[3:])
time.sleep({leave})
while time.monotonic() < until:
    try:
        lines = urllib.request.urlopen(url, timeout=5).read().decode().splitlines()
    except OSError:
        break
    if not any(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{{")[0].split(" ")[0] in names):
        break
    time.sleep(1)
"""


def pre_stop(local: Local) -> dict[str, Any]:
    """The hook of an engine's container.

    - vLLM and SGLang, by the operator's own command (so that the image has python3): ask the engine until nothing
      runs or waits, at most for the grace period.
    - llama.cpp: its image has no interpreter and SIGTERM cuts running streams (measured), so it sleeps for half of the
      grace period, at most a minute.
    - A user's own command: five seconds, until the Services know; the command must finish its requests on SIGTERM.
    """
    names = _RUNNING.get(local.engine.name)
    grace = local.pod.termination_grace_period_seconds
    if local.engine.command:
        return {"sleep": {"seconds": LEAVE_SERVICES_SECONDS}}
    if names is None:
        return {"sleep": {"seconds": max(LEAVE_SERVICES_SECONDS, min(60, grace // 2))}}
    script = _SCRIPT.format(leave=LEAVE_SERVICES_SECONDS)
    url = f"http://127.0.0.1:{local.engine.port}/metrics"
    return {"exec": {"command": ["python3", "-c", script, url, str(grace - MARGIN_SECONDS), *names]}}
