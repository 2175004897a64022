"""What a new process remembers of its predecessor: the status of the policies tells what was sent where, and what was
decided last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comptroller.allocation.ledger import Entry
from comptroller.allocation.snapshot import Memory
from comptroller.kube.resources import ROUTING_POLICY, key_of
from comptroller.kube.store import ClusterStore
from comptroller.runtime.clock import timestamp
from comptroller.runtime.ledger import usd_per_hour_spent
from comptroller.runtime.reconcile.numbers import decimal_text
from comptroller.runtime.state import Picture, State

LAST_DECISIONS = 10
LONGEST_MESSAGE = 1024


def remembered(store: ClusterStore) -> Memory:
    """Shares and rates of the last plan, per route. What cannot be read is left out: a status is no promise."""
    shares: dict[str, dict[str, float]] = {}
    rates: dict[str, float] = {}
    for item in store.all(ROUTING_POLICY):
        namespace, name = key_of(item)
        for route in (item.get("status") or {}).get("routes") or ():
            key = f"{namespace}/{name}/{route.get('name')}"
            try:
                found = {f"{namespace}/{one['pool']}": float(one["share"]) for one in route.get("shares") or ()}
                if found:
                    shares[key] = found
                if "requestsPerSecond" in route:
                    rates[key] = float(route["requestsPerSecond"])
            except (KeyError, TypeError, ValueError):
                continue
    return Memory(shares=shares, requests_per_second=rates)


def remembered_decisions(store: ClusterStore) -> dict[str, list[dict[str, str]]]:
    """The last decisions of each policy (namespace/name), newest first, so that a restart does not wipe them."""
    return {
        "/".join(key_of(item)): list(decisions)
        for item in store.all(ROUTING_POLICY)
        if (decisions := (item.get("status") or {}).get("decisions"))
    }


def last_number(history: Mapping[str, Sequence[Mapping[str, str]]]) -> int:
    """The highest number of a remembered decision: numbers go on after a restart."""
    numbers = (str(one.get("id", "")) for decisions in history.values() for one in decisions)
    return max((int(text) for text in numbers if text.isascii() and text.isdigit() and len(text) < 16), default=0)


def remember_entry(state: State, store: ClusterStore, picture: Picture, entry: Entry) -> None:
    """An entry of the ledger in the history of every policy that it changes something for: when it is made, and again
    when it is known what it cost."""
    number, spent = str(entry.number), usd_per_hour_spent(entry)
    for policy, spec in picture.specs.policies.items():
        known = state.history.get(policy, [])
        if any(one.get("id") == number for one in known):
            cost = {} if spent is None else {"realisedUsdPerHour": decimal_text(spent)}
            state.history[policy] = [one | cost if one.get("id") == number else one for one in known]
            continue
        namespace, name = policy.split("/", 1)
        if entry.realised is not None or store.get(ROUTING_POLICY, (namespace, name)) is None:
            continue  # nothing of it was of this policy, or the policy went while this was decided
        used = {f"{namespace}/{backend.pool}" for route in spec.routes for backend in route.backends}
        words = [
            f"{one.subject.split('/', 1)[1]}: {one.words}" if one.subject in entry.replicas else one.words
            for one in entry.changes
            if one.subject in used or one.subject.startswith(f"{policy}/")
        ]
        if words:
            made = {
                "id": number,
                "at": timestamp(entry.at_seconds),
                "message": " ".join(words)[:LONGEST_MESSAGE],
                "rung": entry.rung,
                "inputs": entry.inputs,
                "usdPerHour": decimal_text(entry.usd_per_hour),
            }
            state.history[policy] = [made, *known][:LAST_DECISIONS]
