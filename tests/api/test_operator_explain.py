"""`comptroller explain` and `status` against a real API server, and the ledger of a running operator."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.request import urlopen

import pytest

from tests.api.operator_objects import hosted_pool, local_pool, policy
from tests.api.operator_process import Fleet, until

pytestmark = [pytest.mark.api, pytest.mark.xdist_group("operator")]

LOW, HIGH = 2.0, 22.0


@pytest.fixture(scope="module")
def grown(fleet: Fleet) -> Iterator[Fleet]:
    """A pool that has grown with its demand; one of its two routes must stay on the premises."""
    desk = policy("desk", "chat", "api")
    (route,) = desk["spec"]["routes"]
    desk["spec"]["routes"].append({**route, "name": "deals", "data": {"perimeters": ["onPremises"]}})
    fleet.apply(local_pool("chat", fleet.gpu_class, maximum=6), hosted_pool("api"), desk)
    fleet.drive("desk", chat=LOW, deals=LOW)
    until("the first decision is in force", lambda: bool(_status(fleet, "chat").get("allocation")), 60)
    fleet.drive("desk", chat=HIGH, deals=LOW)
    until("the pool has grown", lambda: (_status(fleet, "chat")["allocation"].get("desired") or 0) >= 4, 60)
    until("the policy remembers", lambda: bool(fleet.get("routingpolicy", "desk")["status"].get("decisions")), 60)
    yield fleet
    fleet.routers.remove(f"{fleet.namespace}/desk")


def _status(fleet: Fleet, pool: str) -> dict[str, Any]:
    found: dict[str, Any] = fleet.get("modelpool", pool).get("status", {})
    return found


def call(fleet: Fleet, *arguments: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "comptroller", *arguments]
    environment = os.environ | {"KUBECONFIG": str(fleet.server.kubeconfig)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


SENTENCES = (
    r"^Want \d \(was \d\) since \d\d:\d\d:\d\d\.\n  Why   \d.* rps of .* need .* replicas",
    r"  Else  .*All hosted: \$\S+/h more, and nobody would answer \S+ rps\.\n",
    r"  Data  route deals may only use onPremises: 0 of its \S+ rps leave\.\n",
    r"  Last  \d\d:\d\d:\d\d #\d+ .*\(\$\S+/h predicted",
)


def test_a_pool_is_explained_in_sentences_with_numbers(grown: Fleet) -> None:
    """Each decision tells anew what the pool does, so the sentences of a pool that grows are waited for."""

    def missing() -> list[str]:
        code, out, err = call(grown, "explain", "pool/chat", "-n", grown.namespace)
        assert (code, err) == (0, "")
        return [one for one in SENTENCES if not re.search(one, out)]

    until("all is explained", lambda: not missing(), 30)


def test_a_policy_has_a_sentence_for_every_route(grown: Fleet) -> None:
    code, out, _ = call(grown, "explain", "policy/desk", "-n", grown.namespace)
    assert code == 0
    assert out.startswith("desk: 2 routes, ")
    assert "  Route chat: " in out
    assert "  Route deals: " in out


def test_as_json_it_is_what_the_status_says(grown: Fleet) -> None:
    code, out, _ = call(grown, "explain", "pool/chat", "-n", grown.namespace, "-o", "json")
    assert code == 0
    found = json.loads(out)
    assert [one["name"] for one in found["allocation"]["alternatives"]] == ["all hosted", "previous plan"]
    assert float(found["economics"]["owningUsdPerGpuHour"]) > 0
    assert found["data"][0]["leavingRequestsPerSecond"] == 0
    assert found["decisions"][0]["inputs"]


def test_what_is_not_there_is_told_with_what_is(grown: Fleet) -> None:
    code, _, err = call(grown, "explain", "pool/nothing", "-n", grown.namespace)
    assert code == 1
    assert "There are: pool/api, pool/chat, policy/desk." in err


def test_the_fleet_is_shown_with_its_cost(grown: Fleet) -> None:
    code, out, _ = call(grown, "status", "-n", grown.namespace)
    assert code == 0
    assert re.search(r"\nmodelpool/chat .*\n", out)
    assert re.search(r"\$\S+/h: \$\S+ inside, \$\S+ at hosted APIs \(marginal basis", out)


@contextmanager
def watching(fleet: Fleet, *arguments: str, **streams: Any) -> Iterator[subprocess.Popen[str]]:
    """`comptroller status --watch` as a process that Control-C reaches, wherever the tests were started."""
    command = [sys.executable, "-m", "comptroller", "status", "-n", fleet.namespace, "--watch", "0.5", *arguments]
    environment = os.environ | {"KUBECONFIG": str(fleet.server.kubeconfig), "COLUMNS": "90", "LINES": "60"}
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of a background job ignores it
    try:
        process = subprocess.Popen(command, env=environment, text=True, **streams)
    finally:
        signal.signal(signal.SIGINT, heard)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_status_is_watched_on_a_terminal_until_control_c(grown: Fleet) -> None:
    terminal, program = pty.openpty()
    shown = ""

    def more() -> str:
        nonlocal shown
        with suppress(OSError):  # the terminal is closed: the program has ended
            shown += os.read(terminal, 65536).decode()
        return shown

    with watching(grown, stdin=program, stdout=program, stderr=subprocess.PIPE) as process:
        os.close(program)
        until("it was drawn twice", lambda: more().count("\x1b[H") >= 2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")
    until("the cursor is back", lambda: more().endswith("\x1b[?25h"))
    os.close(terminal)
    last = re.sub(r"\x1b\[[?\d]*\w", "", shown[shown.rindex("\x1b[H") :])
    assert "modelpool/chat" in last
    assert re.search(rf"\n{grown.gpu_class} +[4-6] ", last)
    assert "LAST DECISIONS" in last
    assert max(len(line) for line in last.splitlines()) <= 90


def test_status_as_json_lines_while_it_is_watched(grown: Fleet) -> None:
    with watching(grown, "-o", "json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        rounds = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert [one["class"] for one in rounds[1]["gpus"] if one["want"]] == [grown.gpu_class]
    assert rounds[1]["decisions"]


def test_the_ledger_is_served_and_intervals_get_their_cost(grown: Fleet) -> None:
    def entries(query: str = "") -> list[dict[str, Any]]:
        with urlopen(f"http://127.0.0.1:{grown.operator.port}/ledger{query}", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    until("an interval is over", lambda: any("realised" in one for one in entries()), 90)
    newest = entries(f"?pool={grown.namespace}/chat&limit=1")
    assert [set(one["replicas"]) for one in newest] == [{f"{grown.namespace}/chat"}]
    assert re.fullmatch("[0-9a-f]{16}", newest[0]["inputs"])
    assert any(one["changes"] for one in entries())
