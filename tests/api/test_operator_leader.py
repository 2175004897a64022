"""Two operators, one Lease: told to stop, killed, frozen. Who writes is read from the API server's audit log, while
somebody edits a child without pause, so that whoever may write has something to write."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.api.operator_objects import local_pool, policy
from tests.api.operator_process import (
    HOME,
    WRITES,
    Fleet,
    Operator,
    Prometheus,
    Routers,
    fleet_settings,
    login,
    running_fleet,
    until,
)

if TYPE_CHECKING:
    from tests.api.conftest import ApiServer

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

FROZEN_SECONDS = 30.0


@dataclass
class Pair:
    """Two places for operators, of which one leads."""

    fleet: Fleet
    operators: list[Operator]
    began: int
    took_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def holder(self) -> str:
        spec = self.fleet.server.get("lease", "comptroller", f"--namespace={HOME}")["spec"]
        return str(spec.get("holderIdentity") or "")

    def leader(self) -> Operator:
        (found,) = [one for one in self.operators if one.process and one.metric("comptroller_leader") == 1.0]
        return found

    def other(self, one: Operator) -> Operator:
        return self.operators[1 - self.operators.index(one)]

    def has_taken_over(self, how: str, one: Operator, since: float, within: float) -> None:
        """It leads and has decided."""
        until(f"it leads after {how}", lambda: one.metric("comptroller_leader") == 1.0, within)
        until("it decides", lambda: one.metric("comptroller_decision_timestamp_seconds") > 0, within)
        self.took_seconds[how] = time.monotonic() - since

    def writers(self) -> list[tuple[str, str, str]]:
        """Which process wrote, from when to when by the server's clock; one entry per turn, in order."""
        found: list[tuple[str, str, str]] = []
        written = [one for one in self.fleet.requests(self.began) if one["verb"] in WRITES]
        for one in sorted(written, key=lambda one: str(one["requestReceivedTimestamp"])):
            if one["objectRef"]["resource"] == "leases":
                continue
            agent, start, end = one["userAgent"], one["requestReceivedTimestamp"], one["stageTimestamp"]
            if found and found[-1][0] == agent:
                found[-1] = (agent, found[-1][1], max(found[-1][2], end))
            else:
                found.append((agent, start, end))
        return found

    def writes_go_on(self) -> None:
        """Whoever leads now puts a child back."""
        mark = self.fleet.mark()
        until("something is put back", lambda: "patch/services/kept" in self.fleet.writes(mark), 20)


@pytest.fixture(scope="module")
def pair(
    api_server: ApiServer, routers: Routers, prometheus: Prometheus, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    began = api_server.audit_log.stat().st_size
    election = {"leaderElection": {"namespace": HOME}}
    with running_fleet(api_server, routers, prometheus, first, **election) as fleet:
        settings = fleet_settings(prometheus, fleet.namespace, fleet.gpu_class) | election
        other = Operator(second, login(api_server, second), settings)
        done = threading.Event()
        editor = threading.Thread(target=_edit, args=(fleet, done))
        try:
            other.start()
            editor.start()
            fleet.apply(local_pool("kept", fleet.gpu_class), policy("desk", "kept"))
            fleet.drive("desk", chat=60)
            until("demand brings all replicas", lambda: fleet.wanted("kept") == 4)
            yield Pair(fleet, [fleet.operator, other], began)
        finally:
            done.set()
            editor.join()
            if other.process is not None:
                other.end(signal.SIGKILL)


def _edit(fleet: Fleet, done: threading.Event) -> None:
    """Edits a child several times a second."""
    patch = json.dumps({"metadata": {"labels": {"app.kubernetes.io/name": "mine"}}})
    while not done.wait(0.2):
        fleet.kubectl("patch", "service", "kept", "--type=merge", f"--patch={patch}", check=False)


def _answer(one: Operator, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{one.port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def _targets(one: Operator) -> Any:
    return sorted(json.dumps(found, sort_keys=True) for found in json.loads(_answer(one, "/targets")[1]))


def test_both_are_ready_and_know_the_targets_and_only_the_leader_has_the_ledger(pair: Pair) -> None:
    leader = pair.leader()
    follower = pair.other(leader)
    assert (_answer(leader, "/readyz")[0], _answer(follower, "/readyz")[0]) == (200, 200)
    until("both know the same targets", lambda: _targets(leader) == _targets(follower) != [])
    assert _answer(leader, "/ledger")[0] == 200
    status, text = _answer(follower, "/ledger")
    assert (status, f"{pair.holder} leads" in text) == (503, True)
    pair.writes_go_on()


@pytest.mark.parametrize(("how", "within"), [("SIGTERM", 10.0), ("SIGKILL", 25.0)])
def test_another_takes_over_and_wants_what_was_wanted(pair: Pair, how: str, within: float) -> None:
    leader = pair.leader()
    follower, before, scaled = pair.other(leader), pair.fleet.wanted("kept"), len(pair.fleet.events("Scaled"))
    name, since = pair.holder, time.monotonic()
    assert leader.process is not None
    leader.process.send_signal(signal.Signals[how])
    pair.has_taken_over(how, follower, since, within)
    assert pair.holder not in ("", name)
    leader.process.wait(30)
    leader.start()
    assert leader.metric("comptroller_leader") == 0.0
    pair.writes_go_on()
    assert (pair.fleet.wanted("kept"), len(pair.fleet.events("Scaled"))) == (before, scaled)


def test_a_frozen_leader_writes_nothing_when_it_wakes_and_ends(pair: Pair) -> None:
    leader = pair.leader()
    follower, before, scaled = pair.other(leader), pair.fleet.wanted("kept"), len(pair.fleet.events("Scaled"))
    since = time.monotonic()
    assert leader.process is not None
    leader.process.send_signal(signal.SIGSTOP)
    try:
        pair.has_taken_over("SIGSTOP", follower, since, 25.0)
        time.sleep(max(0.0, since + FROZEN_SECONDS - time.monotonic()))
    finally:
        leader.process.send_signal(signal.SIGCONT)
    assert leader.process.wait(30) == 1
    leader.start()
    assert leader.metric("comptroller_leader") == 0.0
    pair.writes_go_on()
    assert (pair.fleet.wanted("kept"), len(pair.fleet.events("Scaled"))) == (before, scaled)


def test_never_did_two_write_at_once(pair: Pair) -> None:
    """Each process wrote in one turn, and the turns do not touch."""
    turns = pair.writers()
    agents = [agent for agent, _, _ in turns]
    print("takeovers:", {how: f"{seconds:.1f} s" for how, seconds in pair.took_seconds.items()}, turns)
    assert len(agents) == len(set(agents)) == 4
    assert all(end < start for (_, _, end), (_, start, _) in itertools.pairwise(turns))


def test_nothing_went_wrong_in_either(pair: Pair) -> None:
    lines = [line for one in pair.operators for line in one.complaints()]
    assert [line for line in lines if "Another process leads now" not in line] == []
