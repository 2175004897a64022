"""The HorizontalPodAutoscaler's arithmetic, which HPA and KEDA share.

kubernetes/kubernetes, pkg/controller/podautoscaler/replica_calculator.go (read at 0006726):
`GetExternalPerPodMetricReplicas` and `GetObjectPerPodMetricReplicas` hold total / (target x replicas) against 1 and,
beyond a tolerance of 0.1, want ceil(total / target). horizontal.go stabilises: the highest recommendation of the last
300 s (scale down), the lowest of the last 0 s (scale up). pkg/apis/autoscaling/v2/defaults.go limits growth to the
larger of 4 pods and 100 % per 15 s, and shrinking to 100 % per 15 s, which is no limit. KEDA (kedacore/keda,
pkg/scaling/executor/scale_scaledobjects.go) makes such an HPA and itself only scales between 0 and 1: up when a trigger
is active, down when none was for `cooldownPeriod` (300 s).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

TOLERANCE = 0.1
GROWTH_PODS, GROWTH_FACTOR, GROWTH_PERIOD_SECONDS = 4, 2, 15.0


def desired_replicas(current: int, total: float, target: float, tolerance: float = TOLERANCE) -> int:
    """ceil(total / target), or the current count while the mean per replica is within the tolerance of the target.

    Worked: 3 replicas with 100 requests in flight together, target 25: 33.3 each, a third too many: 4. With 80: 26.7
    each, within a tenth: 3.

    >>> desired_replicas(3, 100.0, 25.0), desired_replicas(3, 80.0, 25.0), desired_replicas(0, 1.0, 25.0)
    (4, 3, 1)
    """
    if current > 0 and abs(total / (target * current) - 1.0) <= tolerance + 1e-9:
        return current
    return math.ceil(total / target - 1e-9)


def grown(current: int, wanted: int, elapsed_seconds: float) -> int:
    """What the default policies of a scale-up allow: doubling, or 4 pods, in each 15 s.

    >>> grown(1, 40, 15.0), grown(1, 40, 60.0), grown(8, 40, 15.0)
    (5, 40, 16)
    """
    most = current
    for _ in range(max(1, int(elapsed_seconds / GROWTH_PERIOD_SECONDS))):
        most = max(most + GROWTH_PODS, GROWTH_FACTOR * most)
        if most >= wanted:
            return wanted
    return min(wanted, most)


def shrunk(current: int, wanted: int, elapsed_seconds: float, part_per_minute: float) -> int:
    """What a scale-down policy of type Percent with a period of 60 s allows; 1: everything.

    >>> shrunk(16, 1, 60.0, 1.0), shrunk(16, 1, 60.0, 0.1), shrunk(4, 1, 60.0, 0.1), shrunk(16, 15, 60.0, 0.5)
    (1, 14, 3, 15)
    """
    if part_per_minute >= 1.0:
        return wanted
    left = current * math.pow(1.0 - part_per_minute, elapsed_seconds / 60.0)
    return max(wanted, math.floor(left + 1e-9))


@dataclass(slots=True)
class Stabiliser:
    """Recommendations of a pool, kept for the longer of both windows.

    Down goes only what every recommendation of `down_seconds` allows, up only what each of `up_seconds` asks for.
    """

    down_seconds: float
    up_seconds: float = 0.0
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def settled(self, at_seconds: float, current: int, recommended: int) -> int:
        """What to want now. What is there when it begins counts as its first recommendation, as in Kubernetes."""
        if not self._seen:
            self._seen.append((at_seconds, current))
        self._seen.append((at_seconds, recommended))
        while self._seen[0][0] <= at_seconds - max(self.down_seconds, self.up_seconds, 1.0):
            self._seen.popleft()
        highest = max(
            [recommended, *(count for second, count in self._seen if second > at_seconds - self.down_seconds)]
        )
        lowest = min([recommended, *(count for second, count in self._seen if second > at_seconds - self.up_seconds)])
        if current < lowest:
            return lowest
        return highest if current > highest else current
