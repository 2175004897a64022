"""The end of a router's process."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from .plans import plans
from .running import PYTHON, running, wait_until_ready
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]


def test_sigterm_lets_running_answers_finish(upstreams: dict[str, Upstream], tmp_path: Path) -> None:
    if not PYTHON.exists():
        pytest.skip(f"no LiteLLM at {PYTHON}")
    upstreams["one"].seconds = 3.0
    answers: list[httpx.Response] = []
    with running(tmp_path / "router", plans(upstreams)["restricted"], {"team-a": {"first": "key-a"}}, {}) as router:
        wait_until_ready(router)
        asking = [
            threading.Thread(target=lambda stream=stream: answers.append(router.chat("secret", stream=stream)))
            for stream in (False, True)
        ]
        for thread in asking:
            thread.start()
        time.sleep(1.0)
        router.process.send_signal(signal.SIGTERM)
        for thread in asking:
            thread.join()
        router.process.wait(30)

    assert [answer.status_code for answer in answers] == [200, 200]
    assert any(answer.text.rstrip().endswith("data: [DONE]") for answer in answers)
