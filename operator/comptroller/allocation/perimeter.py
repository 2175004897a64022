"""Whether a local pool's address leads to its own pods and nowhere else.

A pool is inside because of what answers at its name. Whoever may edit Services could turn that name to a machine
outside: by an ExternalName, by endpoints made by hand, by other pods, or by claiming its address for another Service.
Such a pool is not asked any more until its name is its own again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from comptroller.allocation.validation import Stall
from comptroller.api.conditions import Reason

FIELD = "spec.location.perimeter"


@dataclass(frozen=True, slots=True)
class Way:
    """What the name of a local pool leads to, as the cluster has it now."""

    service: str
    kind: str = "ClusterIP"
    external_name: str = ""
    external_ips: tuple[str, ...] = ()
    owned: bool = True  # by this pool
    selector: Mapping[str, str] = field(default_factory=dict)
    wanted_selector: Mapping[str, str] = field(default_factory=dict)
    hand_made: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # EndpointSlice -> addresses
    claimed_by: tuple[str, ...] = ()  # Services that claim the pool's address as an external one
    pods: frozenset[str] = frozenset()  # addresses of the pool's pods


def way_stalls(way: Way) -> list[Stall]:
    """Why the pool cannot be trusted with what must stay inside; empty when its name is its own."""
    found = [Stall(Reason.ESCAPES_PERIMETER, FIELD, f"{text} No request is sent there.") for text in _escapes(way)]
    if not found and not way.owned:
        text = f"Service {way.service} exists and is not this pool's. Rename this pool or remove that Service."
        return [Stall(Reason.NAME_TAKEN, "metadata.name", text)]
    return found


def _escapes(way: Way) -> Iterator[str]:
    name = f"Service {way.service}"
    if way.kind == "ExternalName":
        yield f"{name} is an ExternalName and leads to {way.external_name or 'nowhere'}. Remove it, it is made anew."
    if way.external_ips:
        yield f"{name} has externalIPs ({_some(way.external_ips)}). Remove them from its spec."
    if way.owned and way.kind != "ExternalName" and dict(way.selector) != dict(way.wanted_selector):
        yield f"{name} selects other pods than the pool's. Its selector is put back; find out who changes it."
    for slice_name, addresses in sorted(way.hand_made.items()):
        if outside := [one for one in addresses if one not in way.pods]:
            text = f"EndpointSlice {slice_name} adds {_some(outside)}, which no pod of the pool has, to {name}."
            yield f"{text} Remove that EndpointSlice."
    for claimant in way.claimed_by:
        yield f"Service {claimant} claims the address of {name} or of its pods as an external one. Remove that claim."


def _some(addresses: Sequence[str]) -> str:
    more = f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
    return ", ".join(addresses[:3]) + more
