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
    prompt_tokens: int = 100
    cached_tokens: int = 40
    says: str = ""  # the answer's text; empty: its name
    finish: str = "stop"
    gate: threading.Event = field(default_factory=threading.Event)  # answers come while it is set
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    failed: bool = False  # whether it has refused a request since the last reset

    def reset(self) -> None:
        self.status, self.seconds, self.failed, self.breaks = 200, 0.0, False, False
        self.says, self.finish = "", "stop"
        self.gate.set()
        self.requests.clear()
        self.headers.clear()

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


@contextmanager
def serving(upstream: Upstream) -> Iterator[Upstream]:
    """Serves in threads until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            upstream.requests.append(body)
            upstream.headers.append({name.lower(): value for name, value in self.headers.items()})
            time.sleep(upstream.seconds)
            upstream.gate.wait(60)
            if upstream.status != 200:
                upstream.failed = True
                text = f"{upstream.name} says {upstream.status} {upstream.says}"
                self.whole(upstream.status, {"error": {"message": text}})
            elif body.get("stream"):
                with suppress(ConnectionAbortedError):
                    self.stream(body)
            else:
                message = {"role": "assistant", "content": upstream.says or upstream.name}
                choice = {"index": 0, "message": message, "finish_reason": upstream.finish}
                self.whole(200, self.frame(body, "chat.completion", choices=[choice], usage=upstream.usage()))

        def frame(self, body: dict[str, Any], kind: str, **more: Any) -> dict[str, Any]:
            return {"id": "x", "object": kind, "created": 1, "model": body["model"], **more}

        def whole(self, status: int, content: dict[str, Any]) -> None:
            raw = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def stream(self, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for index in range(5):
                delta = {"role": "assistant", "content": "abcde"[index]}
                last = "stop" if index == 4 else None
                self.event(
                    self.frame(
                        body, "chat.completion.chunk", choices=[{"index": 0, "delta": delta, "finish_reason": last}]
                    )
                )
                time.sleep(0.02)
                upstream.breaks_after(index)
            if (body.get("stream_options") or {}).get("include_usage"):
                self.event(self.frame(body, "chat.completion.chunk", choices=[], usage=upstream.usage()))
            with suppress(OSError):
                self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def event(self, content: dict[str, Any]) -> None:
            with suppress(OSError):  # the client may leave
                self.wfile.write(b"data: " + json.dumps(content).encode() + b"\n\n")
                self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", upstream.port), Handler)
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
