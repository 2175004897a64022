"""Whether a measured rate of arrivals is believed.

Prometheus takes a counter that falls for one that began anew, and counts all of it as new. One wrong sample makes two
wrong rates: an absurd rise, and after it an absurd restart. A counter that fell although no router started is not
believed while that is within the window; a rate that jumped is believed when it is measured a second time. What is not
believed is unknown, and unknown holds the last decision; the router itself spills within milliseconds meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.kube.resources import POD
from comptroller.kube.store import ClusterStore
from comptroller.observe.replicas import moment
from comptroller.render.labels import COMPONENT, POLICY

JUMP_FACTOR = 10.0
SMALL_REQUESTS_PER_SECOND = 2.0
"""A rate may always jump to ten times this: a service that wakes up is no lie."""


@dataclass(slots=True)
class Beliefs:
    """Rates that jumped and wait for their second measurement, by route."""

    _suspected: set[str] = field(default_factory=set)

    def rate(self, route: str, measured: Measurement, previous: float | None, fell: bool) -> Measurement:
        """The measurement, or why it is not believed. `previous` is the last believed rate in requests/s; `fell` says
        that the counter went backwards though no router started."""
        if isinstance(measured, Unknown):
            return measured
        if fell:
            return Unknown("its counter went backwards although no router restarted")
        limit = JUMP_FACTOR * max(previous or 0.0, SMALL_REQUESTS_PER_SECOND)
        if measured.value > limit and previous is not None and route not in self._suspected:
            self._suspected.add(route)
            return Unknown(
                f"it jumped from {previous:.3g} to {measured.value:.3g} rps and waits for a second measurement"
            )
        self._suspected.discard(route)
        return measured


def fell(resets: Measurement, store: ClusterStore, policy: str, since_seconds: float) -> bool:
    """Whether a counter of a policy's routers went backwards although none of them started since then."""
    if isinstance(resets, Unknown) or resets.value <= 0:
        return False
    return not any(started >= since_seconds for started in _starts(store, policy))


def _starts(store: ClusterStore, policy: str) -> list[float]:
    namespace, name = policy.split("/", 1)
    pods = [
        pod
        for pod in store.all(POD)
        if pod["metadata"]["namespace"] == namespace
        and (pod["metadata"].get("labels") or {}).get(COMPONENT) == "router"
        and (pod["metadata"].get("labels") or {}).get(POLICY) == name
    ]
    states = [
        one.get("state") or {} for pod in pods for one in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    found = [moment((state.get("running") or {}).get("startedAt")) for state in states]
    return [one for one in found if one is not None]


def believed_peak(measured: Measurement, peak_fell: bool) -> Measurement:
    """The highest rate of the peak window, unless the counter lied within it."""
    if isinstance(measured, Sample) and peak_fell:
        return Unknown("its counter went backwards within the peak window")
    return measured
