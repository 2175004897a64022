"""Which pools each route may reach, read anew from the raw specs: the arena's own check of every request.

This shares no code with the programme, the rendering or `stage.py`; it must not, for it is here to find their mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from comptroller.api.modelpool import ModelPoolSpec
from comptroller.api.routingpolicy import RoutingPolicySpec


def forbidden_pairs(
    policies: Mapping[str, RoutingPolicySpec],
    pools: Mapping[str, ModelPoolSpec],
    routes: Sequence[str],
    columns: Sequence[str],
) -> npt.NDArray[np.bool_]:
    """True where a route (rows, namespace/policy/route) must not reach a pool (columns, namespace/name).

    Forbidden is a pool that the route does not name; one in another jurisdiction or perimeter than its data rules list;
    and anything hosted for a route whose perimeters leave out `external`.
    """
    found = np.ones((len(routes), len(columns)), dtype=np.bool_)
    for row, key in enumerate(routes):
        namespace, policy, name = key.split("/", 2)
        spec = next(one for one in policies[f"{namespace}/{policy}"].routes if one.name == name)
        raw = spec.model_dump(mode="json")
        named = {f"{namespace}/{one['pool']}" for one in raw["backends"]}
        places = (raw["data"] or {}).get("jurisdictions") or None
        circles = (raw["data"] or {}).get("perimeters") or None
        for column, pool_key in enumerate(columns):
            pool = pools[pool_key].model_dump(mode="json")
            location = pool["location"]
            right_place = places is None or location["jurisdiction"] in places
            right_circle = circles is None or location["perimeter"] in circles
            way_out = pool["hosted"] is None or circles is None or "external" in circles
            found[row, column] = not (pool_key in named and right_place and right_circle and way_out)
    return found
