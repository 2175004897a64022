"""A warm-up is worth nothing unless its prompt begins with the very tokens of a user's prompt.

The user's request goes through a real LiteLLM; the warm-up's is its program's own, from mounted files. Both are made
into tokens by llama.cpp itself, with a chat template that prints tools, system message and turns.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from comptroller.warmup.plan import read_plan
from comptroller.warmup.request import request_body
from e2e.engines.tiny_model import Shape, write_tiny_model

from .running import ROOT, RunningRouter
from .stubs import Upstream

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")

TEMPLATE = (
    "{% if tools %}<|im_start|>system\n"
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}\n{% endif %}"
    "Tools:\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if not (tools and loop.first and m['role'] == 'system') %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SYSTEM = 'Check every clause.\n\n  "Quotes", tabs\t, umlauts: äöü, and a trailing newline\n'
SHOTS = [
    {"role": "user", "content": "Is clause 4 valid?"},
    {"role": "assistant", "content": "No: it names no date."},
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "zebra",
            "description": "Finds a clause. <b>&amp;</b> é",
            "parameters": {
                "type": "object",
                "properties": {"z": {"type": "string"}, "a": {"type": "number", "minimum": 0.5}},
                "required": ["z"],
                "additionalProperties": False,
            },
            "strict": True,
        },
    },
    {
        "type": "function",
        "function": {
            "name": "apple",
            "parameters": {"type": "object", "properties": {"strict": {"type": "boolean"}}, "additionalProperties": {}},
        },
    },
]
PREFIXES: dict[str, dict[str, Any]] = {
    "system": {"system": SYSTEM},
    "system-and-tools": {"system": SYSTEM, "tools": TOOLS},
    "all": {"system": SYSTEM, "tools": TOOLS, "messages": SHOTS},
    "shots": {"messages": SHOTS},
    "tools-alone": {"tools": TOOLS},
}
ENDING = 32  # tokens of the chat template behind the question, at most
QUESTION = "What does clause 7 say?"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[dict[str, Any]], list[int]]]:
    """The prompt of a request, in tokens, by llama.cpp."""
    folder = tmp_path_factory.mktemp("engine")
    write_tiny_model(folder / "tiny.gguf", Shape(layers=1, hidden=64, feed_forward=64))
    (folder / "template").write_text(TEMPLATE)
    command = [sys.executable, "-m", "e2e.engines.llamacpp_server", "--model", str(folder / "tiny.gguf"), "--port", "0"]
    command += ["--chat-template-file", str(folder / "template")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        address = next(line for line in process.stdout if line.startswith("listening on ")).split()[-1]

        def asked(body: dict[str, Any]) -> list[int]:
            shape = {name: body[name] for name in ("messages", "tools") if name in body}
            prompt = httpx.post(f"{address}/apply-template", json=shape, timeout=30).raise_for_status().json()["prompt"]
            answer = httpx.post(f"{address}/tokenize", json={"content": prompt, "parse_special": True}, timeout=30)
            return list(answer.raise_for_status().json()["tokens"])

        yield asked
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.router
@pytest.mark.engine
@pytest.mark.parametrize("name", PREFIXES)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_warm_up_sends_the_tokens_that_users_will_send(
    router: RunningRouter,
    upstreams: dict[str, Upstream],
    tokens: Callable[[dict[str, Any]], list[int]],
    tmp_path: Path,
    name: str,
    stream: bool,
) -> None:
    content = PREFIXES[name]
    system = [{"role": "system", "content": content["system"]}] if "system" in content else []
    messages = [*system, *content.get("messages", []), {"role": "user", "content": QUESTION}]
    tools = {"tools": content["tools"]} if "tools" in content else {}
    answer = router.chat("single", messages=messages, stream=stream, max_tokens=5, **tools)
    assert answer.status_code == 200
    (users,) = upstreams["one"].requests

    planned = {part: {"file": f"{tmp_path}/{part}"} for part in ("system", "tools") if part in content}
    for part in planned:
        text = content[part] if part == "system" else json.dumps(content[part], indent=2, ensure_ascii=False)
        (tmp_path / part).write_text(text)
    plan = {"name": name, "messages": content.get("messages"), **planned}
    settings = {"address": "", "model": "m", "minimumHitRatio": 1, "concurrency": 1, "deadlineSeconds": 1}
    (tmp_path / "plan.json").write_text(json.dumps(settings | {"prefixes": [plan]}))
    (prefix,) = read_plan(tmp_path / "plan.json").prefixes
    ours = request_body("m", prefix, QUESTION, None)

    wanted, sent = tokens(users), tokens(ours)
    assert len(sent) > len(QUESTION)
    assert sent == wanted
    shorter = tokens(request_body("m", prefix, ".", None))
    shared = next(n for n, (one, other) in enumerate(zip(shorter, wanted, strict=False)) if one != other)
    assert shared >= len(wanted) - len(QUESTION) - ENDING
