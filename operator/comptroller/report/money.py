"""Where the money went: dollars of a stretch of time by route, tenant, pool and day, and what was saved.

Everything follows from counters (`economics.accounts`), so that any stretch can be asked and parts add up. Spent is on
the marginal basis: tokens of hosted APIs, power and rent of own replicas. What an own pool cost is divided among its
routes in proportion to their tokens at the pool's marginal prices; what it cost while nobody asked is `idle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import TypeVar

from comptroller.economics.accounts import Accounts, Counts
from comptroller.economics.prices import HostedPrice
from comptroller.economics.savings import Savings, TokenCounts, Use, savings

Key = TypeVar("Key")

IDLE = "(idle)"
UNSET = "(none)"


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What the counters do not say of a pool. `price`: what an API asks for its model; None: nobody is known to."""

    inside: bool
    perimeter: str
    model: str
    price: HostedPrice | None


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """What the counters do not say of a route. `pass_rate`: share of answers that solve the task; None: unknown."""

    pass_rate: float | None = None
    classification: str = ""
    restricted: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One group: a route, a tenant, a pool, a workflow, a day."""

    name: str
    answers: float = 0.0
    inside: float = 0.0  # answers of own pools
    spent_usd: float = 0.0
    solved: float | None = 0.0  # None: the pass rate of a part is unknown

    @property
    def usd_per_solved_task(self) -> float | None:
        """Dollars per solved task; None where nobody knows what is solved, or nothing was."""
        return self.spent_usd / self.solved if self.solved else None


@dataclass(frozen=True, slots=True)
class Money:
    """A stretch of time in dollars."""

    hours: float
    arrivals: float
    answers: float
    inside: float
    left_the_premises: float  # answers of restricted routes that an external pool gave: 0, or something is very wrong
    restricted: float  # answers of restricted routes
    savings: Savings
    allocation_usd: float  # own replicas with their purchase spread over its life; not comparable with `savings`
    gpu_hours: Mapping[str, float]  # GPU class -> hours
    lines: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)  # by route, tenant, pool, workflow, step
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """The answers of one pool on one route for one tenant, and what they cost."""

    policy: str
    route: str
    tenant: str
    pool: str
    answers: float
    spent_usd: float


BY: Mapping[str, Callable[[_Part], str]] = {
    "route": lambda part: f"{part.policy}/{part.route}" if part.route else IDLE,
    "tenant": lambda part: part.tenant or IDLE,
    "pool": lambda part: part.pool,
}


def money(
    accounts: Accounts,
    pools: Mapping[str, PoolFacts],
    routes: Mapping[tuple[str, str], RouteFacts],
    baseline: HostedPrice,
) -> Money:
    """The books as people ask for them. `routes` are keyed (policy, route); pools that are gone count as outside."""
    parts = _parts(accounts, pools)
    answers = sum(one.answers for one in parts)
    inside = sum(one.answers for one in parts if _is_inside(pools, one.pool))
    restricted = [one for one in parts if routes.get((one.policy, one.route), RouteFacts()).restricted]
    left = sum(one.answers for one in restricted if not _stays(pools, one.pool))
    lines = {name: _lines(parts, group, pools, routes) for name, group in BY.items()}
    for name, position in (("workflow", 3), ("step", 4)):
        names = {key[:2]: key[position] or UNSET for key in accounts.arrivals if key[1] != "unknown"}
        group = _grouped_by(names)
        lines[name] = _lines(parts, group, pools, routes)
    return Money(
        hours=accounts.hours,
        arrivals=sum(value for key, value in accounts.arrivals.items() if key[1] != "unknown"),
        answers=answers,
        inside=inside,
        left_the_premises=left,
        restricted=sum(one.answers for one in restricted),
        savings=savings(_uses(accounts, parts, pools), baseline),
        allocation_usd=sum(value for key, value in accounts.pool_usd.items() if key[2] == "allocation"),
        gpu_hours=_sums(accounts.gpu_hours, lambda key: key[2]),
        lines=lines,
        unknown=accounts.unknown,
    )


def _grouped_by(names: Mapping[tuple[str, ...], str]) -> Callable[[_Part], str]:
    return lambda part: names.get((part.policy, part.route), UNSET) if part.route else IDLE


def _parts(accounts: Accounts, pools: Mapping[str, PoolFacts]) -> list[_Part]:
    """Answers and dollars of each (policy, route, tenant, pool); what own pools cost beyond their answers is idle."""
    answers = _sums({key: value for key, value in accounts.answers.items() if key[4] == "ok"}, lambda key: key[:4])
    replicas = {f"{key[0]}/{key[1]}": value for key, value in accounts.pool_usd.items() if key[2] == "marginal"}
    weights = _weights(accounts, answers)
    parts = []
    for key in sorted({*answers, *accounts.usd}):
        pool = key[3]
        spent = accounts.usd.get(key, 0.0)
        if pool in replicas or _is_inside(pools, pool):
            spent = replicas.get(pool, 0.0) * weights.get(key, 0.0)
        parts.append(_Part(key[0], key[1], key[2], pool, answers.get(key, 0.0), spent))
    used = {key[3] for key, weight in weights.items() if weight > 0.0}
    parts += [_Part("", "", "", pool, 0.0, usd) for pool, usd in sorted(replicas.items()) if pool not in used]
    return parts


def _weights(accounts: Accounts, answers: Mapping[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    """Each part's share of its pool: by priced tokens where the pool has prices, else by answers."""
    by_usd = _sums(accounts.usd, lambda key: key[3])
    by_answers = _sums(answers, lambda key: key[3])
    found = {}
    for key in {*answers, *accounts.usd}:
        pool = key[3]
        if by_usd.get(pool, 0.0) > 0.0:
            found[key] = accounts.usd.get(key, 0.0) / by_usd[pool]
        elif by_answers.get(pool, 0.0) > 0.0:
            found[key] = answers.get(key, 0.0) / by_answers[pool]
    return found


def _uses(accounts: Accounts, parts: Iterable[_Part], pools: Mapping[str, PoolFacts]) -> list[Use]:
    """What each pool answered, for the savings; idle pools cost and answer nothing."""
    spent: dict[str, float] = {}
    for part in parts:
        spent[part.pool] = spent.get(part.pool, 0.0) + part.spent_usd
    tokens = _sums(accounts.tokens, lambda key: (key[2], key[3]))
    return [
        Use(
            TokenCounts(**{kind: exact(tokens.get((pool, kind), 0.0)) for kind in KINDS}),
            exact(usd),
            pools[pool].price if pool in pools else None,
        )
        for pool, usd in sorted(spent.items())
    ]


KINDS = tuple(one.name for one in fields(TokenCounts))


def _lines(
    parts: Iterable[_Part],
    group: Callable[[_Part], str],
    pools: Mapping[str, PoolFacts],
    routes: Mapping[tuple[str, str], RouteFacts],
) -> tuple[Line, ...]:
    """The parts grouped, dearest first."""
    found: dict[str, Line] = {}
    for part in parts:
        before = found.get(name := group(part), Line(name))
        rate = routes.get((part.policy, part.route), RouteFacts()).pass_rate if part.route else 0.0
        unknown = before.solved is None or (rate is None and part.answers > 0.0)
        found[name] = Line(
            name,
            before.answers + part.answers,
            before.inside + (part.answers if _is_inside(pools, part.pool) else 0.0),
            before.spent_usd + part.spent_usd,
            None if unknown else (before.solved or 0.0) + part.answers * (rate or 0.0),
        )
    return tuple(sorted(found.values(), key=lambda line: (-line.spent_usd, line.name)))


def _is_inside(pools: Mapping[str, PoolFacts], pool: str) -> bool:
    return pool in pools and pools[pool].inside


def _stays(pools: Mapping[str, PoolFacts], pool: str) -> bool:
    return pool in pools and pools[pool].perimeter != "external"


def _sums(counts: Counts, name: Callable[[tuple[str, ...]], Key]) -> dict[Key, float]:
    total: dict[Key, float] = {}
    for key, value in counts.items():
        total[name(key)] = total.get(name(key), 0.0) + value
    return total


def exact(value: float) -> Decimal:
    """The number as its shortest text says it."""
    return Decimal(str(value))
