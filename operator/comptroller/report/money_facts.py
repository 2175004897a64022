"""What the report on money must know beside the counters, out of the objects in the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from comptroller.allocation.words import usd
from comptroller.api.modelpool import Provider
from comptroller.api.parse import SpecError, parse_spec
from comptroller.economics.accounts import COUNTED, Accounts, Counts
from comptroller.economics.prices import HostedPrice, hosted_price, listed_price, market_price
from comptroller.report.explain_sentences import figure
from comptroller.report.money import Money, PoolFacts, RouteFacts
from comptroller.report.money_words import Purchase

Item = Mapping[str, Any]

NEVER_DAYS = 100_000.0


class BaselineError(ValueError):
    """Nothing to compare with; the message says how to name it."""


def pool_facts(items: Iterable[Item], at: datetime) -> dict[str, PoolFacts]:
    """namespace/name -> what is known of the pool. A spec that cannot be read is left out, as the operator does."""
    found = {}
    for item in items:
        try:
            spec = parse_spec("ModelPool", item)
        except SpecError:
            continue
        price = hosted_price(spec.hosted, spec.model.name, at) if spec.hosted else market_price(spec.model, at)
        inside, place = spec.local is not None, spec.location.perimeter.value
        found[key_of(item)] = PoolFacts(inside, place, spec.model.name, price)
    return found


def route_facts(items: Iterable[Item]) -> dict[tuple[str, str], RouteFacts]:
    """(policy, route) -> its pass rate as the status tells it, and whether its data may leave the premises."""
    found = {}
    for item in items:
        told = {one["name"]: one for one in (item.get("status") or {}).get("routes") or ()}
        for route in (item.get("spec") or {}).get("routes") or ():
            data = route.get("data") or {}
            places = data.get("perimeters") or ()
            found[key_of(item), str(route["name"])] = RouteFacts(
                pass_rate=figure(told.get(route["name"], {}).get("passRate")),
                restricted=bool(places) and "external" not in places,
            )
    return found


def baseline_of(wanted: str | None, pools: Mapping[str, PoolFacts], at: datetime) -> tuple[str, HostedPrice]:
    """What everything is compared with, in words and in prices: a hosted pool (namespace/name), a model of the price
    list (provider/model), or else the dearest hosted pool there is. Raises `BaselineError`."""
    hosted = {key: one.price for key, one in pools.items() if not one.inside and one.price is not None}
    if wanted is None:
        if not hosted:
            raise BaselineError(
                "there is no hosted pool to compare with: name a model of the price list, such as "
                "--baseline anthropic/claude-sonnet-4-5"
            )
        wanted = max(hosted, key=lambda key: (3 * hosted[key].input + hosted[key].output, key))
    price = hosted.get(wanted) or _listed(wanted, at)
    if price is None:
        known = ", ".join(sorted(hosted)) or "none"
        raise BaselineError(
            f"--baseline {wanted}: neither a hosted pool (there are: {known}) nor a model of the price list as "
            "provider/model, such as anthropic/claude-sonnet-4-5"
        )
    dollars = f"{usd(float(price.input))} and {usd(float(price.output))} per million tokens"
    return f"the price of {wanted} ({dollars}, {price.source})", price


def _listed(wanted: str, at: datetime) -> HostedPrice | None:
    provider, _, model = wanted.partition("/")
    return listed_price(Provider(provider), model, at) if provider in {one.value for one in Provider} else None


def narrowed(accounts: Accounts, namespace: str | None) -> Accounts:
    """The accounts of one namespace; None: of all."""
    if namespace is None:
        return accounts
    kept: dict[str, Counts] = {
        name: {key: value for key, value in getattr(accounts, name).items() if key[0].split("/", 1)[0] == namespace}
        for name in COUNTED
    }
    return Accounts(accounts.start_seconds, accounts.end_seconds, unknown=accounts.unknown, **kept)


def purchases(
    items: Iterable[Item], worth_usd_per_hour: Mapping[str, float], days: Mapping[str, float | None]
) -> list[Purchase]:
    """GPU classes by how soon one more would have earned its price. `worth_usd_per_hour` is the mean over the stretch;
    what owning costs stands in the pools' status; `days` is the pay-back for each class, None: never."""
    owning: dict[str, float] = {}
    for item in items:
        status = item.get("status") or {}
        cost = figure((status.get("economics") or {}).get("owningUsdPerGpuHour"))
        if cost is not None:
            owning[str(status.get("modelClass"))] = cost
    found = [
        Purchase(name, worth_usd_per_hour[name], owning[name], days.get(name))
        for name in owning
        if name in worth_usd_per_hour
    ]
    return sorted(found, key=lambda one: (one.payback_days or NEVER_DAYS, one.gpu_class))


def unused(pools: Mapping[str, PoolFacts], warmups: Sequence[Item], money: Money, accounts: Accounts) -> list[str]:
    """What costs or waits and is not asked: idle pools, hosted contracts, warm prefixes. In sentences with remedies."""
    asked = {line.name for line in money.lines["pool"] if line.answers > 0.0}
    spent = {line.name: line.spent_usd for line in money.lines["pool"]}
    hours = {f"{key[0]}/{key[1]}": value for key, value in accounts.gpu_hours.items()}
    found = []
    for key, pool in sorted(pools.items()):
        if key in asked:
            continue
        if pool.inside and hours.get(key, 0.0) > 0.0:
            cost = usd(spent.get(key, 0.0))
            found.append(
                f"Pool {key} held GPUs for {hours[key]:.0f} h ({cost}) and answered nobody: lower its replicas.min."
            )
        elif not pool.inside:
            found.append(
                f"Hosted pool {key} answered nobody: its key may be revoked if no route needs it as a reserve."
            )
    for item in warmups:
        names = [f"{item['metadata']['namespace']}/{name}" for name in (item.get("spec") or {}).get("pools") or ()]
        if names and not asked.intersection(names):
            found.append(f"CacheWarmup {key_of(item)} keeps prefixes warm in pools that answered nobody.")
    return found


def key_of(item: Item) -> str:
    """namespace/name of an object."""
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
