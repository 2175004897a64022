"""The clients that people use, as they are: OpenAI's and Anthropic's own packages against the real router."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from .running import RunningRouter
from .stubs import Upstream

pytestmark = [pytest.mark.router, pytest.mark.timeout(300)]
Upstreams = dict[str, Upstream]
HELLO: Any = [{"role": "user", "content": "hello"}]
WEATHER: Any = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class Answer(BaseModel):
    answer: int


@pytest.fixture
def client(router: RunningRouter) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key="key-a", max_retries=0, timeout=60) as found:
        yield found


@pytest.fixture
def claude(router: RunningRouter) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=router.url, api_key="key-a", max_retries=0, timeout=60) as found:
        yield found


def test_openai_asks_and_reads_who_answered(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="single", messages=HELLO)
    answer = raw.parse()

    assert answer.choices[0].message.content == "one"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 100
    assert raw.headers["x-litellm-model-id"] == "inference/one/single"


def test_openai_streams(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="single", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    pieces = list(stream)

    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices) == "abcde"
    assert [piece.usage.completion_tokens for piece in pieces if piece.usage] == [5]


def test_openai_gives_tools_and_their_results(client: openai.OpenAI, upstreams: Upstreams) -> None:
    tools: Any = [{"type": "function", "function": WEATHER}]
    asked = client.chat.completions.create(model="single", messages=HELLO, tools=tools).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert asked.message.tool_calls is not None
    call = asked.message.tool_calls[0]
    result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}

    # the answer goes back as it came, with whatever was added to it
    messages: Any = [*HELLO, asked.message.model_dump(), result]
    done = client.chat.completions.create(model="single", messages=messages, tools=tools)

    assert done.choices[0].message.content == "one"
    assert upstreams["one"].requests[-1]["messages"][-1]["content"] == "rain"


def test_openai_reads_json_by_a_schema(client: openai.OpenAI, upstreams: Upstreams) -> None:
    answer = client.chat.completions.parse(model="single", messages=HELLO, response_format=Answer)

    assert answer.choices[0].message.parsed == Answer(answer=42)
    assert upstreams["one"].requests[-1]["response_format"]["json_schema"]["name"] == "Answer"


def test_openai_sends_a_picture_in_the_request(client: openai.OpenAI, upstreams: Upstreams) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, picture]}]

    assert client.chat.completions.create(model="single", messages=messages).choices[0].message.content == "one"
    assert upstreams["one"].requests[-1]["messages"][0]["content"][1] == picture


def test_openai_embeds(client: openai.OpenAI) -> None:
    assert client.embeddings.create(model="single", input="hello", encoding_format="float").data[0].embedding == [
        0.5,
        0.25,
    ]


def test_openai_completes(client: openai.OpenAI) -> None:
    assert client.completions.create(model="single", prompt="hello").usage is not None


def test_openai_lists_the_routes(client: openai.OpenAI) -> None:
    assert [one.id for one in client.models.list()] == ["chat", "other", "single"]


@pytest.mark.parametrize(
    ("key", "model", "error", "words"),
    [
        ("wrong", "chat", openai.AuthenticationError, "a valid key is needed"),
        ("key-b", "chat", openai.PermissionDeniedError, "tenant team-b may not use route chat"),
        ("key-a", "gpt-5", openai.NotFoundError, "model must be the name of a route; yours here: chat, other, single"),
    ],
)
def test_openai_raises_its_own_errors_with_our_words(
    client: openai.OpenAI, key: str, model: str, error: type[openai.APIStatusError], words: str
) -> None:
    with pytest.raises(error, match=words):
        client.with_options(api_key=key).chat.completions.create(model=model, messages=HELLO)


def test_openai_is_told_which_parameter_is_not_accepted(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="fallbacks: not accepted") as raised:
        client.chat.completions.create(model="chat", messages=HELLO, extra_body={"fallbacks": ["other"]})
    assert raised.value.code == "parameter_not_accepted"


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, openai.BadRequestError, "invalid_request"),
        (401, openai.InternalServerError, "backend_refused"),
        (403, openai.InternalServerError, "backend_refused"),
        (429, openai.RateLimitError, "overloaded"),
        (500, openai.InternalServerError, "backend_failed"),
        (503, openai.InternalServerError, "backend_failed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_openai_meets_a_failing_backend(
    client: openai.OpenAI,
    upstreams: Upstreams,
    status: int,
    error: type[openai.APIStatusError],
    code: str,
    stream: bool,
) -> None:
    """A backend that refuses the router's key is no client without a key."""
    upstreams["one"].status = status

    with pytest.raises(error) as raised:
        client.chat.completions.create(model="single", messages=HELLO, stream=stream)

    assert raised.value.code == code
    assert "litellm" not in raised.value.message.lower()


def test_a_client_is_told_when_to_retry_and_then_succeeds(client: openai.OpenAI, upstreams: Upstreams) -> None:
    upstreams["one"].status, upstreams["one"].tells = 429, {"retry-after": "2"}
    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(model="single", messages=HELLO)
    assert raised.value.response.headers["retry-after"] == "2"

    threading.Timer(1.0, upstreams["one"].reset).start()
    answer = client.with_options(max_retries=2).chat.completions.create(model="single", messages=HELLO)

    assert answer.choices[0].message.content == "one"


def test_openai_sees_a_stream_break(client: openai.OpenAI, upstreams: Upstreams) -> None:
    upstreams["one"].breaks = True

    with pytest.raises(openai.APIError) as raised:
        list(client.chat.completions.create(model="single", messages=HELLO, stream=True))

    assert "the answer broke off" in raised.value.message


def test_anthropic_asks_and_streams(claude: anthropic.Anthropic) -> None:
    answer = claude.messages.create(model="single", max_tokens=10, messages=HELLO, system="be brief")
    assert [block.text for block in answer.content if block.type == "text"] == ["one"]
    assert answer.usage.output_tokens == 5

    with claude.messages.stream(model="single", max_tokens=10, messages=HELLO) as stream:
        assert "".join(stream.text_stream) == "abcde"
        assert stream.get_final_message().stop_reason == "end_turn"


def test_anthropic_gives_tools_and_their_results(claude: anthropic.Anthropic, upstreams: Upstreams) -> None:
    tools: Any = [{"name": "weather", "description": "The weather.", "input_schema": WEATHER["parameters"]}]
    asked = claude.messages.create(model="single", max_tokens=10, messages=HELLO, tools=tools)
    call = next(block for block in asked.content if block.type == "tool_use")
    assert (asked.stop_reason, call.name, call.input) == ("tool_use", "weather", {"city": "Oslo"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "rain"}]}

    messages: Any = [
        *HELLO,
        {"role": "assistant", "content": [block.model_dump() for block in asked.content]},
        {"role": "user", "content": [result]},
    ]
    done = claude.messages.create(model="single", max_tokens=10, messages=messages, tools=tools)

    assert done.stop_reason == "end_turn"
    assert "rain" in str(upstreams["one"].requests[-1]["messages"][-1]["content"])


@pytest.mark.parametrize(
    ("key", "model", "error", "words"),
    [
        ("wrong", "chat", anthropic.AuthenticationError, "a valid key is needed"),
        ("key-b", "chat", anthropic.PermissionDeniedError, "tenant team-b may not use route chat"),
        ("key-a", "claude-opus", anthropic.NotFoundError, "model must be the name of a route"),
    ],
)
def test_anthropic_raises_its_own_errors_with_our_words(
    claude: anthropic.Anthropic, key: str, model: str, error: type[anthropic.APIStatusError], words: str
) -> None:
    with pytest.raises(error, match=words):
        claude.with_options(api_key=key).messages.create(model=model, max_tokens=10, messages=HELLO)


def test_anthropic_meets_a_failing_backend(claude: anthropic.Anthropic, upstreams: Upstreams) -> None:
    for status, error in ((429, anthropic.RateLimitError), (500, anthropic.InternalServerError)):
        upstreams["one"].status = status
        with pytest.raises(error) as raised:
            claude.messages.create(model="single", max_tokens=10, messages=HELLO)
        assert "litellm" not in str(raised.value).lower()
