"""The sovereignty guard: a request carries what a model needs and nothing that steers the router.

LiteLLM takes many instructions from the body (`fallbacks`, `api_base`, `user_config`, `metadata.tags`, credentials);
in its stock configuration a client's `fallbacks` carried a restricted prompt to a hosted API. A list of forbidden names
would be out of date with the next release, so this is a list of permitted ones, and the body is written anew from what
was understood: no parser behind this one sees anything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .content import checked_content
from .errors import RefusedError
from .shapes import check_shapes

COMMON = frozenset({"model", "stream", "temperature", "top_p", "max_tokens", "user", "metadata"})
SAMPLING = frozenset(
    {
        "stop", "seed", "n", "logit_bias", "logprobs", "top_logprobs", "frequency_penalty", "presence_penalty",
        "top_k", "min_p", "repetition_penalty", "min_tokens", "ignore_eos", "stop_token_ids", "stream_options",
        "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs", "cache_salt", "suffix",
    }
)  # fmt: skip
CHAT = SAMPLING | {
    "messages", "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format",
    "max_completion_tokens", "reasoning_effort", "thinking", "verbosity", "modalities", "audio", "prediction", "store",
    "prompt_cache_key", "safety_identifier", "chat_template_kwargs", "add_generation_prompt", "continue_final_message",
}  # fmt: skip
PERMITTED: Mapping[str, frozenset[str]] = {
    "/v1/chat/completions": COMMON | CHAT,
    "/v1/completions": COMMON | SAMPLING | {"prompt", "echo", "best_of"},
    "/v1/embeddings": frozenset({"model", "input", "encoding_format", "dimensions", "user"}),
    "/v1/messages": COMMON
    | {"messages", "system", "tools", "tool_choice", "thinking", "stop_sequences", "top_k", "output_config"},
}
"""Path -> names that a body may have."""

CLIENT_TOOLS: Mapping[str, tuple[str | None, ...]] = {
    "/v1/chat/completions": ("function", "custom"),
    "/v1/messages": ("custom", None),  # Anthropic's clients may leave the type out
}
"""Path -> the types of tools that the client itself runs."""

PATHS = {path: path for path in PERMITTED} | {
    path.removeprefix("/v1"): path for path in PERMITTED if path != "/v1/messages"
}
"""Every path that leads to a model -> its canonical form."""

FORWARDED_HEADERS = frozenset(
    {b"host", b"accept", b"user-agent", b"anthropic-version", b"traceparent", b"tracestate", b"x-request-id"}
)
"""What LiteLLM gets to see of a client's headers; the client's key is not among it."""

HARMLESS = frozenset({b"x-litellm-call-id", b"x-litellm-trace-id", b"x-litellm-session-id"})


def check_headers(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Refuses headers that steer LiteLLM, such as `x-litellm-tags`."""
    for name, _ in headers:
        lowered = name.lower()
        if lowered.startswith(b"x-litellm-") and lowered not in HARMLESS:
            raise RefusedError("headers that begin with x-litellm- steer the router: leave them out")


def checked_body(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body as LiteLLM shall see it. Raises `RefusedError` and `MalformedError`.

    `service_tier` is not permitted: "priority" costs more than the prices by which the books are kept.
    """
    check_shapes(body)
    check_tools(path, body)
    foreign = sorted(set(body) - PERMITTED[path])
    if foreign:
        raise RefusedError(
            f"{', '.join(one[:40] for one in foreign[:5])}: not accepted here, where the router decides who answers; "
            "leave it out and choose by the name of the route in model"
        )
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping) and "tags" in metadata:
        raise RefusedError("metadata.tags: not accepted here, where the router decides who answers; leave it out")
    if body.get("store"):
        raise RefusedError("store: true is not accepted: answers are not stored")
    return checked_content(path, {name: value for name, value in body.items() if name not in ("metadata", "store")})


def check_tools(path: str, body: Mapping[str, Any]) -> None:
    """Refuses tools that a provider runs on its side, where they search the web, run code or call other servers."""
    if path == "/v1/messages" and "mcp_servers" in body:
        raise RefusedError("mcp_servers: not accepted, server-side tools would leave the router; leave it out")
    if path not in CLIENT_TOOLS or body.get("tools") is None:
        return
    for tool in body["tools"]:
        if tool.get("type") not in CLIENT_TOOLS[path]:
            raise RefusedError(
                f"tools: only tools of type {' and '.join(one for one in CLIENT_TOOLS[path] if one)} are accepted; "
                "server-side tools would leave the router"
            )
        if path == "/v1/messages" and tool.get("name") == "web_search":  # LiteLLM goes by the name alone
            raise RefusedError(
                "tools: the name web_search is not accepted, server-side tools would leave the router; choose another"
            )
