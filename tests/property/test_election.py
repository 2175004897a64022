"""Any number of processes that want to lead, each by a clock of its own, over a network that delays and loses, and
frozen whenever it suits least: never may two write at once, and when all is calm again somebody leads."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from comptroller.api.settings import LeaderElectionSettings
from comptroller.kube.client import KubeError
from comptroller.kube.resources import KubeDict
from comptroller.runtime.leader import Elector

TERMS = LeaderElectionSettings()
CALM_SECONDS = 60.0


class Request:
    """What a process asks, suspended until the world answers."""

    def __init__(self, ask: Callable[[], KubeDict | None]) -> None:
        self.ask = ask

    def __await__(self) -> Generator[Request, Any, Any]:
        return (yield self)


@dataclass
class Server:
    """One Lease that only changes from the version that was read."""

    lease: KubeDict | None = None
    versions: Any = field(default_factory=lambda: itertools.count(1))

    async def get(self, *_: object) -> Any:
        return await Request(lambda: self.lease)

    async def create(self, lease: KubeDict) -> Any:
        return await Request(lambda: self._take(lease, None))

    async def replace(self, lease: KubeDict) -> Any:
        return await Request(lambda: self._take(lease, lease["metadata"]["resourceVersion"]))

    def _take(self, lease: KubeDict, over: str | None) -> KubeDict:
        if (self.lease["metadata"]["resourceVersion"] if self.lease else None) != over:
            raise KubeError(409, "changed meanwhile")
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(next(self.versions))}}
        return self.lease


@dataclass
class Process:
    """An elector with a clock that shows what it likes and runs a little fast or slow."""

    elector: Elector
    rate: float
    stopping: bool = False

    def writes(self) -> bool:
        return not self.stopping and self.elector.left_seconds() > 0.0


class World:
    """Everything that happens, in the order in which it truly does."""

    def __init__(self, seed: int, drifts: list[float], calm_from: float) -> None:
        self.draw, self.now, self.calm_from = random.Random(seed), 0.0, calm_from
        self.server, self.names, self.order = Server(), itertools.count(), itertools.count()
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.processes: list[Process] = []
        self.terms_begun = 0
        for place, drift in enumerate(drifts):
            self.processes.append(self.born(1.0 + drift))
            self.later(self.draw.uniform(0.0, 5.0), lambda place=place: self.attempt(place))  # type: ignore[misc]

    def born(self, rate: float) -> Process:
        offset = self.draw.uniform(-1e6, 1e6)
        api: Any = self.server
        elector = Elector(api, "home", f"p{next(self.names)}", TERMS, now=lambda: offset + rate * self.now)
        return Process(elector, rate)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.due, (self.now + seconds, next(self.order), do))

    def chance(self, probability: float) -> bool:
        return self.now < self.calm_from and self.draw.random() < probability

    def delay(self) -> float:
        """Of one way, or of a frozen process; mostly short."""
        if self.chance(0.25):
            return self.draw.choice((1.0, 4.0, 9.0, 11.0, 16.0, 60.0)) * self.draw.uniform(0.8, 1.2)
        return self.draw.uniform(0.001, 0.05)

    def attempt(self, place: int) -> None:
        process = self.processes[place]
        if process.elector.view.lost_to is not None or process.stopping:
            process = self.processes[place] = self.born(process.rate)  # its successor in the same place
        process.stopping = self.chance(0.05)
        self.go_on(place, (process.elector.release if process.stopping else process.elector.attempt)(), None)

    def go_on(self, place: int, work: Any, answer: KubeDict | KubeError | None) -> None:
        try:
            request = work.throw(answer) if isinstance(answer, KubeError) else work.send(answer)
        except (StopIteration, KubeError):
            self.later(2.0 * self.draw.uniform(0.8, 1.0) + (self.delay() if self.chance(0.3) else 0.0),
                       lambda: self.attempt(place))  # fmt: skip
            return
        self.later(self.delay(), lambda: self.arrive(place, work, request))

    def arrive(self, place: int, work: Any, request: Request) -> None:
        if self.chance(0.25):
            found: KubeDict | KubeError | None = KubeError(0, "the request was lost")
        else:
            try:
                found = request.ask()
            except KubeError as error:
                found = error
            if self.chance(0.1):
                found = KubeError(0, "the answer was lost")
        self.later(self.delay(), lambda: self.go_on(place, work, found))

    def run(self, until: float) -> None:
        """Between events a right to write only ends, so it is enough to look after each."""
        before: set[str] = set()
        while self.due and self.due[0][0] <= until:
            self.now, _, do = heapq.heappop(self.due)
            do()
            writers = {one.elector.me for one in self.processes if one.writes()}
            assert len(writers) <= 1, f"{writers} may write at {self.now:.3f}"
            self.terms_begun += bool(writers - before)
            before = writers
        self.now = until


DRIFTS = st.lists(st.sampled_from((-0.15, 0.0, 0.15)), min_size=2, max_size=4)
"""The slowest and the fastest clock differ in rate by a third: 15 s / 10 s permit less than a half."""


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), DRIFTS)
def test_never_may_two_write_and_after_a_while_of_calm_one_does(seed: int, drifts: list[float]) -> None:
    world = World(seed, drifts, calm_from=600.0)
    world.run(600.0 + 60.0 + CALM_SECONDS)  # what was under way at its beginning may take another minute
    assert [one.writes() for one in world.processes].count(True) == 1


def test_the_world_is_wild_enough_to_mean_something() -> None:
    """Leaders change often in it."""
    changes = []
    for seed in range(10):
        world = World(seed, [0.0, 0.1, -0.1], 600.0)
        world.run(600.0)
        changes.append(world.terms_begun)
    assert min(changes) >= 5
