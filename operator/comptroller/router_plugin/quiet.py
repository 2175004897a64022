"""Logs that tell what went wrong and never what was said.

LiteLLM, and the libraries under it, write prompts, answers and whole upstream errors into their log lines and print
tracebacks. From the moment requests come in, a line of theirs says only where it was written and which errors led to
it; what is printed besides goes nowhere.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

OURS = "comptroller"
LOGGERS = (OURS, "LiteLLM", "LiteLLM Proxy", "LiteLLM Router")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
LONGEST_CHAIN = 5


def begin() -> None:
    """From now on."""
    original = logging.getLogRecordFactory()

    def factory(
        name: str, level: int, path: str, line: int, message: Any, arguments: Any, error: Any, *more: Any, **named: Any
    ) -> logging.LogRecord:
        if name != OURS and not name.startswith(f"{OURS}."):
            message, arguments = summary(path, line, arguments, error), ()
        return original(name, level, path, line, message, arguments, None if name != OURS else error, *more, **named)

    logging.setLogRecordFactory(factory)
    access = logging.getLogger("uvicorn.access")  # its formatter wants the path of each request
    access.handlers, access.propagate = [], False
    handler = logging.StreamHandler(sys.stderr)  # LiteLLM's own handlers look for the stream at each line
    handler.setFormatter(logging.Formatter(FORMAT))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    sys.stdout = sys.stderr = Nowhere()


def summary(path: str, line: int, arguments: Any, error: Any) -> str:
    """Where, and which errors: `router.py:812 InternalServerError <- APIConnectionError (500)`."""
    found = error[1] if isinstance(error, tuple) and len(error) > 1 else error
    if not isinstance(found, BaseException):
        given = arguments if isinstance(arguments, tuple) else ()
        found = next((one for one in given if isinstance(one, BaseException)), None) or sys.exc_info()[1]
    chain: list[str] = []
    while isinstance(found, BaseException) and len(chain) < LONGEST_CHAIN:
        status = getattr(found, "status_code", None)
        chain.append(f"{type(found).__name__} ({status})" if isinstance(status, int) else type(found).__name__)
        found = found.__cause__ or found.__context__
    return f"{path.rpartition('/')[2]}:{line} {' <- '.join(chain)}".rstrip()


class Nowhere(io.TextIOBase):
    """A stream that takes everything and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def writable(self) -> bool:
        return True
