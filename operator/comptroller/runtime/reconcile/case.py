"""One object before a reconciler: as it is now, as it was understood, and why it may not be acted upon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from comptroller.allocation.validation import Stall
from comptroller.api.fields import ApiModel
from comptroller.kube.resources import KubeDict, ObjectKey, Resource
from comptroller.runtime.reconcile.conditions import honoured, pause_condition, stalled
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.state import Picture, Specs

Spec = TypeVar("Spec", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class Case(Generic[Spec]):
    """An object whose picture is of this generation. `spec` is None only where `stalls` says why."""

    live: KubeDict
    picture: Picture
    name: str  # namespace/name
    spec: Spec | None
    stalls: tuple[Stall, ...]

    @property
    def generation(self) -> int:
        """The generation that the status will speak of."""
        generation: int = self.live["metadata"]["generation"]
        return generation


def open_case(
    context: Context, resource: Resource, key: ObjectKey, specs: Callable[[Specs], Mapping[str, Spec]]
) -> Case[Spec] | None:
    """The object, or None when it is gone, or newer than the picture: then it comes again with the next one."""
    live = context.store.get(resource, key)
    if live is None or live["metadata"].get("deletionTimestamp"):
        return None
    picture, name = context.picture(), "/".join(key)
    stalls, spec = picture.specs.stalled(resource.kind, name), specs(picture.specs).get(name)
    if not picture.specs.current(live) or (spec is None and not stalls):
        return None
    return Case(live, picture, name, spec, stalls)


async def tell_stalled(context: Context, case: Case[Spec], stalls: Sequence[Stall], consequence: str) -> None:
    """Tells why nothing is done, and what stays as it is: what was told before still runs, and is told again.

    A field that is left out of a server-side apply is taken away.
    """
    conditions = [
        *stalled(stalls, case.generation, consequence),
        *honoured(case.live["kind"], case.spec, case.generation),
        pause_condition(case.live, case.generation),
    ]
    before = case.live.get("status") or {}
    await tell(context, case.live, {**before, "observedGeneration": case.generation, "conditions": conditions})
