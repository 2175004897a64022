"""ModelPool: the decision becomes a Deployment and its companions, and the status tells what and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from comptroller.allocation.decision import PoolTarget
from comptroller.allocation.validation import Stall
from comptroller.api.conditions import Reason
from comptroller.api.modelpool import ModelPoolSpec
from comptroller.apply.objects import NameTakenError
from comptroller.kube.resources import CHILDREN, DEPLOYMENT, MODEL_POOL, POD, SERVICE, KubeDict, ObjectKey
from comptroller.observe.measurements import in_flight_of
from comptroller.observe.replicas import Replica, replicas_of
from comptroller.render.errors import RenderError
from comptroller.render.owner import owner_reference
from comptroller.render.pool import pool_children
from comptroller.runtime.reconcile.case import open_case, tell_stalled
from comptroller.runtime.reconcile.conditions import paused
from comptroller.runtime.reconcile.context import Context
from comptroller.runtime.reconcile.gate import gated_pools
from comptroller.runtime.reconcile.pool_status import hosted_pool_status, local_pool_status
from comptroller.runtime.reconcile.tell import tell
from comptroller.runtime.state import Picture

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


async def reconcile_pool(context: Context, key: ObjectKey) -> None:
    """Makes one pool so. A pool that cannot be acted upon keeps what it has."""
    case = open_case(context, MODEL_POOL, key, lambda specs: specs.pools)
    if case is None:
        return
    live, picture, spec, stalls = case.live, case.picture, case.spec, case.stalls
    if not stalls and spec is not None and spec.local is not None and not paused(live):
        target = picture.decision.pools.get(case.name)
        if target is None:
            return
        stalls = await _apply(context, live, spec, target, picture)
    if case.stalls and spec is not None:
        await _put_services_back(context, live, spec, case.stalls)
    if stalls or spec is None:
        await tell_stalled(context, case, stalls, _consequence(context, key))
        return
    build = local_pool_status if spec.local else hosted_pool_status
    status = build(context, live, spec, picture)
    await tell(context, live, {"observedGeneration": case.generation, **status})


async def _apply(
    context: Context, live: KubeDict, spec: ModelPoolSpec, target: PoolTarget, picture: Picture
) -> tuple[Stall, ...]:
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    gated = f"{namespace}/{name}" in gated_pools(picture.specs)
    try:
        children = pool_children(
            name, namespace, spec, owner_reference(live), context.settings, replicas=target.replicas, gated=gated
        )
        await _prefer_victims(context, (namespace, name), target.replicas, picture)
        done = await context.applier.converge(live, children)
    except RenderError as error:
        return (Stall(Reason.INVALID, error.path, str(error)),)
    except NameTakenError as error:
        return (Stall(Reason.NAME_TAKEN, "metadata.name", str(error)),)
    _, _, micro = context.now()
    for child in done.corrected:
        await context.events.post(
            live, "DriftCorrected", "Apply", f"{child} was edited by somebody else and was put back.", micro, "Warning"
        )
    return ()


async def _put_services_back(context: Context, live: KubeDict, spec: ModelPoolSpec, stalls: Sequence[Stall]) -> None:
    """A pool whose name leads elsewhere gets its own Services back, as far as they are its own; nothing else moves."""
    if spec.local is None or paused(live) or any(one.reason is not Reason.ESCAPES_PERIMETER for one in stalls):
        return
    namespace, name = live["metadata"]["namespace"], live["metadata"]["name"]
    children = pool_children(name, namespace, spec, owner_reference(live), context.settings, replicas=0, gated=False)
    services = [one for one in children if one["kind"] == SERVICE.kind]
    with suppress(NameTakenError):
        await context.applier.converge(live, services, keep=tuple(resource.kind for resource in CHILDREN))


async def _prefer_victims(context: Context, key: ObjectKey, wanted: int, picture: Picture) -> None:
    """Before a pool shrinks, its pods are marked so that Kubernetes removes the one that will be missed least."""
    deployed = context.store.get(DEPLOYMENT, key)
    if deployed is None or wanted >= int(deployed["spec"].get("replicas") or 0):
        return
    pool = "/".join(key)
    order = least_missed_first(replicas_of(context.store, pool).replicas, in_flight_of(picture.measured, pool))
    for rank, replica in enumerate(order):
        if replica.deletion_cost != str(rank):
            body = {"metadata": {"annotations": {DELETION_COST: str(rank)}}}
            await context.client.patch(POD, key[0], replica.name, body)


def least_missed_first(replicas: Sequence[Replica], in_flight: Mapping[str, float]) -> list[Replica]:
    """Not ready before ready, cold before warm, few requests before many, young before old."""
    return sorted(
        replicas, key=lambda one: (one.ready, one.warm, in_flight.get(one.name, 0.0), -one.created_seconds, one.name)
    )


def _consequence(context: Context, key: ObjectKey) -> str:
    deployed = context.store.get(DEPLOYMENT, key)
    if deployed is None:
        return "Nothing is deployed for it."
    return f"Its {deployed['spec'].get('replicas', 0)} replicas stay as they are."
