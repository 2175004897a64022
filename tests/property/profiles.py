"""How many cases the properties try: `HYPOTHESIS_PROFILE=dev` (the default) or `long`.

`dev` tries the same cases each time, so that a failure belongs to the change at hand. `long` tries new ones.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "dev")
TIMES = {"dev": 1, "long": 100}[PROFILE]


def cases(count: int) -> settings:
    """Settings for that many cases in `dev`, and a hundred times as many in `long`."""
    return settings(
        max_examples=TIMES * count,
        derandomize=PROFILE == "dev",
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
