"""What warm-ups are worth to a fleet: a rolling model update under load, with and without a gate, in virtual time.

The operator's reconciler decides (which runs are due, when a gate opens), the program of the warm-up's pod judges, and
each replica is the scheduler of the simulated engine: continuous batching with a prefix cache of blocks. What stands
beside them is a kubelet that starts pods one after the other, as the Deployment asks, and users who draw a prefix.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from bench.report import Report, Table
from comptroller.kube.resources import POD, KubeDict
from comptroller.observe.replicas import WARM_CONDITION, condition_of
from comptroller.runtime.reconcile import context as clock
from comptroller.runtime.reconcile.warmup import reconcile_warmup
from comptroller.warmup.plan import Plan, PlannedPrefix
from comptroller.warmup.request import Answer
from comptroller.warmup.result import as_json
from comptroller.warmup.run import Filled, judged
from e2e.engines.iteration_time import IterationTime
from e2e.engines.scheduler import Limits, Request, Scheduler, Sequence, State
from e2e.engines.tokens import tokenize
from tests.unit.kube import build
from tests.unit.runtime.warmup_cluster import Cluster

SPEED = IterationTime(alpha_ms=20.0, beta_ms=0.05, gamma_ms=0.0004)
LIMITS = Limits(max_sequences=64, max_batched_tokens=2048, max_model_tokens=32_768, blocks=32_768)
START_SECONDS = 10.0
POD_SECONDS = 1.0
"""From a Job to its program's first request."""
QUESTION_TOKENS, ANSWER_TOKENS = 100, 32
SHORTEST, LONGEST, LETTERS = 2_000, 20_000, "abcdefghijklmnopqrstuvwxyz "
PER_REPLICA = 0.5  # requests per second
SETTLE_SECONDS = 120.0  # what starts cold is warm by then, also where nobody warms it
COLD_SHARE = 0.5  # a request that found less than this of its prefix cached has paid for it


class Asked(NamedTuple):
    """What one user met."""

    first_token_seconds: float
    cold: bool  # had to wait for the prefix to be computed


@dataclass(slots=True)
class Replica:
    """One engine, and whether users reach it."""

    name: str
    engine: Scheduler = field(default_factory=lambda: Scheduler(LIMITS, SPEED))
    serving: bool = False
    asked: list[tuple[float, int, Sequence]] = field(default_factory=list)  # when, tokens of the prefix, the request
    met: list[tuple[float, Asked]] = field(default_factory=list)  # when it was asked, of requests that have begun

    def settle(self) -> None:
        """Lets go of the prompts of requests that have begun to be answered."""
        for when, tokens, one in self.asked:
            if one.first_token_at is not None:
                self.met.append((when, Asked(one.first_token_at - when, one.cached_tokens < COLD_SHARE * tokens)))
        self.asked = [row for row in self.asked if row[2].first_token_at is None]


@dataclass(slots=True)
class Roll:
    """A fleet in virtual time."""

    size: int
    prefixes: Mapping[str, str]
    requests_per_second: float
    steady_seconds: float
    gated: bool
    seed: int
    now: float = 0.0
    replicas: dict[str, Replica] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)  # old replicas that are still to be replaced
    done: list[Replica] = field(default_factory=list)
    steady_from: float = 0.0
    rolled_at: float | None = None
    cluster: Cluster = field(init=False)  # of a gated fleet
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=itertools.count)
    _running: set[str] = field(default_factory=set)  # Jobs
    _random: random.Random = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - a simulation

    def run(self) -> None:
        """A steady time, and then the update of every replica."""
        if self.gated:
            self._install()
        for number in range(self.size):
            self._start(f"old-{number}", first=True)
        self._until(lambda: all(one.serving for one in self.replicas.values()))
        self.steady_from = self.now
        self._at(self.now, self._user)
        self._at(self.now + self.steady_seconds, self._replace_next)
        self.waiting = list(self.replicas)
        self._until(lambda: self.rolled_at is not None)
        self._loop.close()
        for one in (*self.done, *self.replicas.values()):
            one.engine.advance(float("inf"))
            one.settle()

    def _install(self) -> None:
        """The reconciler with an API server in memory, and its clock."""
        self.cluster = cluster = Cluster(setattr)
        setattr(clock, "now_seconds", lambda: build.BORN_SECONDS + self.now)  # noqa: B010 - it is no name of that module
        self._delete("big-0")
        cluster.config_map("prompts", dict(self.prefixes))
        texts = [
            {"name": name, "system": {"configMapKeyRef": {"name": "prompts", "key": name}}} for name in self.prefixes
        ]
        cluster.warmup("docs", prefixes=texts)
        self._loop.run_until_complete(cluster.world.round(1.0))

    def _delete(self, name: str) -> None:
        pod = self._live("Pod", name)
        self._loop.run_until_complete(self.cluster.api.delete(POD, "ai", name, pod["metadata"]["uid"]))

    def _live(self, kind: str, name: str) -> KubeDict:
        return self.cluster.api.live(kind, name) or {}

    def _at(self, when: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._count), what))

    def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self.now, _, what = heapq.heappop(self._events)
            what()

    def _user(self) -> None:
        """One request to a replica that serves; the next one comes as a Poisson process."""
        self._at(self.now + self._random.expovariate(self.requests_per_second), self._user)
        chosen = self._random.choice([one for one in self.replicas.values() if one.serving])
        name = self._random.choice(list(self.prefixes))
        question = "".join(self._random.choices("abcdefgh", k=4 * QUESTION_TOKENS))
        prompt = tokenize(self.prefixes[name])
        request = Request(prompt + tokenize(question), ANSWER_TOKENS, self._random.getrandbits(30))
        chosen.settle()
        chosen.asked.append((self.now, len(prompt) // 4, _submit(chosen.engine, request, self.now)))

    def _replace_next(self) -> None:
        if not self.waiting:
            self.rolled_at = self.now
            return
        name = self.waiting.pop(0)
        old = self.replicas.pop(name)
        self.done.append(old)  # it ends what it has begun
        if self.gated:
            self._delete(name)
        self._start(name.replace("old", "new"), first=False)

    def _start(self, name: str, *, first: bool) -> None:
        self.replicas[name] = Replica(name)
        if self.gated:
            self._pod(name, answers=False)
        self._at(self.now + START_SECONDS, lambda: self._answers(name, first))

    def _answers(self, name: str, first: bool) -> None:
        if not self.gated:
            self._serves(name, first)
            return
        self._pod(name, answers=True)
        self._reconcile(first)

    def _serves(self, name: str, first: bool) -> None:
        self.replicas[name].serving = True
        if self.gated:
            self._pod(name, answers=True)
        if not first:
            self._replace_next()

    def _pod(self, name: str, *, answers: bool) -> None:
        ready = self.replicas[name].serving
        self.cluster.put_replica(name, ready=ready, answers=answers, started_at=self._born(name))

    def _born(self, name: str) -> float:
        live = self._live("Pod", name)
        if not live:
            return self.now
        return _seconds(live["status"]["containerStatuses"][0]["state"]["running"]["startedAt"])

    def _reconcile(self, first: bool) -> None:
        """The operator looks; Jobs that it made begin, and replicas whose gate it opened serve."""
        cluster = self.cluster
        self._loop.run_until_complete(reconcile_warmup(cluster.world.context, ("ai", "docs")))
        for job in set(cluster.jobs()) - self._running:
            self._running.add(job)
            self._at(self.now + POD_SECONDS, lambda job=job: self._job(job, first))  # type: ignore[misc]
        for name, replica in list(self.replicas.items()):
            if not replica.serving and condition_of(self._live("Pod", name), WARM_CONDITION).get("status") == "True":
                self._serves(name, first)

    def _job(self, job: str, first: bool) -> None:
        """The warm-up's pod: every prefix one after the other, and then once more."""
        uid = self._live("Job", job)["metadata"]["labels"]["comptroller.dev/pod-uid"]
        name = next(one for one in self.replicas if f"Pod-{one}" == uid)
        plan = json.loads(self._live("ConfigMap", job)["data"]["plan.json"])
        filled = [Filled(PlannedPrefix(one["name"], (), ())) for one in plan["prefixes"]]
        answers: list[Answer] = []
        steps = [(question, one) for question in (".", "?") for one in filled]

        def step(before: tuple[str, Filled, Sequence] | None) -> None:
            if before is not None:
                question, one, sequence = before
                answer = _answer(sequence)
                answers.append(answer)
                if question == ".":
                    one.cold_seconds = answer.first_token_seconds
                else:
                    one.second = [answer]
            if not steps:
                judge = Plan("", "", (), float(plan["minimumHitRatio"]), 1, 1.0)
                result = json.loads(as_json(judged(judge, filled, answers)))
                self.cluster.end(job, result, self.now)
                self._reconcile(first)
                return
            question, one = steps.pop(0)
            prompt = tokenize(self.prefixes[one.prefix.name]) + tokenize(question)
            engine = self.replicas[name].engine
            sequence = _submit(engine, Request(prompt, 1), self.now)
            self._follow(engine, sequence, lambda: step((question, one, sequence)))

        step(None)

    def _follow(self, engine: Scheduler, sequence: Sequence, then: Callable[[], None]) -> None:
        engine.advance(self.now)
        if sequence.state is State.FINISHED:
            then()
            return
        self._at(engine.next_event_at or self.now, lambda: self._follow(engine, sequence, then))

    def times(self) -> tuple[list[Asked], list[Asked]]:
        """What users met in the steady time, and from the beginning of the update to its end."""
        rows = sorted(row for one in (*self.done, *self.replicas.values()) for row in one.met)
        settled, begins = self.steady_from + SETTLE_SECONDS, self.steady_from + self.steady_seconds
        return [one for when, one in rows if settled <= when < begins], [one for when, one in rows if when >= begins]


def measure(*, replicas: int = 40, prefixes: int = 12, steady_seconds: float = 300.0, seed: int = 1) -> Report:
    """The update of the whole fleet, with and without a gate."""
    texts = texts_of(prefixes, seed)
    rows, values = [], {}
    for gated in (True, False):
        roll = Roll(replicas, texts, PER_REPLICA * replicas, steady_seconds, gated, seed)
        roll.run()
        steady, rolling = roll.times()
        figures = _figures(roll, steady, rolling)
        values["gated" if gated else "ungated"] = figures
        rows.append(
            (
                "gated" if gated else "without a warm-up",
                *(f"{figures[name]:.0f}" for name in ("update_seconds", "requests", "cold", "steady_p50_ms")),
                *(
                    f"{figures[name]:.0f}"
                    for name in ("steady_p99_ms", "update_p50_ms", "update_p99_ms", "update_max_ms")
                ),
                f"{figures['p99_ratio']:.2f}",
            )
        )
    tokens = sorted(len(tokenize(text)) // 4 for text in texts.values())
    table = Table(
        f"A rolling update of {replicas} replicas under load, in virtual time: time to first token, ms",
        (
            "new replicas are",
            "s",
            "requests",
            "cold",
            "p50 before",
            "p99 before",
            "p50",
            "p99",
            "longest",
            "p99 / before",
        ),
        tuple(rows),
        (
            f"{prefixes} prefixes of {tokens[0]} to {tokens[-1]} tokens, drawn evenly; {PER_REPLICA * replicas:.0f} "
            f"requests per second; a replica starts in {START_SECONDS:.0f} s; seed {seed}.",
            "cold: requests of the update that had to wait for their prefix to be computed.",
        ),
    )
    return Report("warmups", (table,), values)


def texts_of(count: int, seed: int) -> dict[str, str]:
    """Prefixes of 2,000 to 20,000 tokens, evenly spaced."""
    draw = random.Random(seed)  # noqa: S311 - a simulation
    lengths = [round(SHORTEST + (LONGEST - SHORTEST) * n / max(1, count - 1)) for n in range(count)]
    return {f"prefix-{n}": "".join(draw.choices(LETTERS, k=4 * tokens)) for n, tokens in enumerate(lengths)}


def _figures(roll: Roll, steady: list[Asked], rolling: list[Asked]) -> dict[str, float]:
    before, during = (sorted(one.first_token_seconds for one in some) for some in (steady, rolling))
    ends = (roll.rolled_at or 0.0) - roll.steady_from - roll.steady_seconds
    return {
        "update_seconds": ends,
        "requests": float(len(rolling)),
        "cold": float(sum(one.cold for one in rolling)),
        "steady_cold": float(sum(one.cold for one in steady)),
        "steady_p50_ms": 1000 * _quantile(before, 0.5),
        "steady_p99_ms": 1000 * _quantile(before, 0.99),
        "update_p50_ms": 1000 * _quantile(during, 0.5),
        "update_p99_ms": 1000 * _quantile(during, 0.99),
        "update_max_ms": 1000 * during[-1],
        "p99_ratio": _quantile(during, 0.99) / _quantile(before, 0.99),
    }


def _quantile(ascending: list[float], share: float) -> float:
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def _submit(engine: Scheduler, request: Request, now: float) -> Sequence:
    engine.advance(now)
    return engine.submit(request, now)


def _answer(sequence: Sequence) -> Answer:
    first_token_at = sequence.arrived_at if sequence.first_token_at is None else sequence.first_token_at
    return Answer(first_token_at - sequence.arrived_at, sequence.prompt_tokens, sequence.cached_tokens)


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp() - build.BORN_SECONDS
