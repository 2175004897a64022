"""Where the data of restricted routes goes: nothing leaves, or it is a bug that must be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comptroller.allocation.words import listed, number
from comptroller.report.explain_sentences import figure

Item = Mapping[str, Any]


def restricted_routes(policy: Item, pools: Sequence[Item]) -> list[dict[str, Any]]:
    """The routes of a policy that may not go everywhere, and how much of each goes where it may not: nothing, or a bug.

    `leavingRequestsPerSecond` is None where the route's demand is unknown.
    """
    places = {one["metadata"]["name"]: one.get("spec") or {} for one in pools}
    told = {one["name"]: one for one in (policy.get("status") or {}).get("routes") or ()}
    found = []
    for route in (policy.get("spec") or {}).get("routes") or ():
        rules = {name: list((route.get("data") or {}).get(name) or ()) for name in ("perimeters", "jurisdictions")}
        if not any(rules.values()):
            continue
        status = told.get(route["name"], {})
        rate = figure(status.get("requestsPerSecond"))
        carrying = [one for one in status.get("shares") or () if figure(one.get("share"))]
        outside = [one for one in carrying if one["pool"] in places and not _permitted(rules, places[one["pool"]])]
        share = sum(figure(one.get("share")) or 0.0 for one in outside)
        found.append(
            {
                "policy": policy["metadata"]["name"],
                "route": route["name"],
                "classification": (route.get("data") or {}).get("classification"),
                **rules,
                "backends": [one["pool"] for one in route.get("backends") or ()],
                "requestsPerSecond": rate,
                "leavingRequestsPerSecond": None if rate is None else rate * share,
                "leavingTo": [one["pool"] for one in outside],
            }
        )
    return found


def _permitted(rules: Mapping[str, Sequence[str]], spec: Item) -> bool:
    """An empty list permits any place. Who may not go outside has no way to a hosted API, wherever that says it is."""
    place = spec.get("location") or {}
    perimeters, jurisdictions = rules["perimeters"], rules["jurisdictions"]
    if perimeters and (place.get("perimeter") not in perimeters or ("hosted" in spec and "external" not in perimeters)):
        return False
    return not jurisdictions or place.get("jurisdiction") in jurisdictions


def leaving_text(route: Item) -> str:
    """`route deal-review may only use onPremises: 0 of its 2.2 rps leave.`, of an entry of `restricted_routes`."""
    may = " in ".join("/".join(route[name]) for name in ("perimeters", "jurisdictions") if route[name])
    rate, leaving, to = route["requestsPerSecond"], route["leavingRequestsPerSecond"], listed(route["leavingTo"])
    text = f"route {route['route']} may only use {may}"
    if route["leavingTo"]:
        amount = "some" if rate is None else f"{number(leaving)} of its {number(rate)} rps"
        return f"{text}: {amount} LEAVE to {to}. Pause the policy and report this as a bug."
    return f"{text}: {'nothing leaves' if rate is None else f'0 of its {number(rate)} rps leave'}."
