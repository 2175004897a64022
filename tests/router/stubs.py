"""Tiny OpenAI-like servers: what the router sees as an engine or a hosted API. Each records what reaches it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Upstream:
    """One backend. `status`, `seconds` and `breaks` are how it behaves from now on."""

    name: str
    port: int = 0
    status: int = 200
    seconds: float = 0.0
    breaks: bool = False  # closes the connection in the middle of a stream
    piece_seconds: float = 0.02  # between two pieces of a stream
    prompt_tokens: int = 100
    cached_tokens: int = 40
    says: str = ""  # the answer's text; empty: its name
    finish: str = "stop"
    gate: threading.Event = field(default_factory=threading.Event)  # answers come while it is set
    echoes: bool = False  # its errors repeat the whole request, as some providers' do
    tells: dict[str, str] = field(default_factory=dict)  # headers of its answers
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)  # paths that somebody read

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    failed: bool = False  # whether it has refused a request since the last reset

    def reset(self) -> None:
        self.status, self.seconds, self.failed, self.breaks = 200, 0.0, False, False
        self.says, self.finish = "", "stop"
        self.gate.set()
        self.echoes, self.tells = False, {}
        self.piece_seconds = 0.02
        self.requests.clear()
        self.headers.clear()
        self.fetched.clear()

    def breaks_after(self, index: int) -> None:
        """Raises where a stream that breaks does so."""
        if self.breaks and index == 1:
            raise ConnectionAbortedError

    def usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": 5,
            "total_tokens": self.prompt_tokens + 5,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }


class Handler(BaseHTTPRequestHandler):
    """Answers as one upstream."""

    upstream: Upstream
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.upstream.fetched.append(self.path)
        self.whole(404, {})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.upstream.requests.append(body)
        self.upstream.headers.append({name.lower(): value for name, value in self.headers.items()})
        time.sleep(self.upstream.seconds)
        self.upstream.gate.wait(60)
        if self.upstream.status != 200:
            self.upstream.failed = True
            more = f": {json.dumps(body)} {json.dumps(dict(self.headers))}" if self.upstream.echoes else ""
            text = f"{self.upstream.name} says {self.upstream.status}{more} {self.upstream.says}"
            self.whole(self.upstream.status, {"error": {"message": text}})
        elif self.path.endswith("/embeddings"):
            vector = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
            self.whole(200, self.frame(body, "list", data=[vector], usage={"prompt_tokens": 3, "total_tokens": 3}))
        elif body.get("stream"):
            try:
                self.stream(body)
            except ConnectionAbortedError:
                self.close_connection = True
        else:
            choice = {"index": 0, **self.said(body)}
            self.whole(200, self.frame(body, "chat.completion", choices=[choice], usage=self.upstream.usage()))

    def said(self, body: dict[str, Any]) -> dict[str, Any]:
        """A tool call where there are tools and no result yet; JSON where a schema is asked for; else the name."""
        tools = [one for one in body.get("tools") or () if "function" in one]
        if tools and not any(one.get("role") == "tool" for one in body.get("messages", [])):
            function = {"name": tools[0]["function"]["name"], "arguments": '{"city": "Oslo"}'}
            calls = [{"id": "call-1", "type": "function", "function": function}]
            return {
                "message": {"role": "assistant", "content": None, "tool_calls": calls},
                "finish_reason": "tool_calls",
            }
        text = self.upstream.says or ('{"answer": 42}' if body.get("response_format") else self.upstream.name)
        return {"message": {"role": "assistant", "content": text}, "finish_reason": self.upstream.finish}

    def frame(self, body: dict[str, Any], kind: str, **more: Any) -> dict[str, Any]:
        return {"id": "x", "object": kind, "created": 1, "model": body["model"], **more}

    def whole(self, status: int, content: dict[str, Any]) -> None:
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        for name, value in self.upstream.tells.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()
        for index in range(5):
            delta = {"role": "assistant", "content": "abcde"[index]}
            last = "stop" if index == 4 else None
            self.event(
                self.frame(body, "chat.completion.chunk", choices=[{"index": 0, "delta": delta, "finish_reason": last}])
            )
            time.sleep(self.upstream.piece_seconds)
            self.upstream.breaks_after(index)
        if (body.get("stream_options") or {}).get("include_usage"):
            self.event(self.frame(body, "chat.completion.chunk", choices=[], usage=self.upstream.usage()))
        self.piece(b"data: [DONE]\n\n")
        self.piece(b"")
        self.close_connection = True

    def event(self, content: dict[str, Any]) -> None:
        self.piece(b"data: " + json.dumps(content).encode() + b"\n\n")

    def piece(self, content: bytes) -> None:
        with suppress(OSError):  # the client may leave
            self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
            self.wfile.flush()


@contextmanager
def serving(upstream: Upstream) -> Iterator[Upstream]:
    """Serves in threads until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", upstream.port), type("Named", (Handler,), {"upstream": upstream}))
    server.daemon_threads = True
    upstream.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
