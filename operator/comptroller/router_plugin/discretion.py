"""LiteLLM logs what a backend says when it refuses, which may repeat a prompt. Of the gateway's own requests it logs
only that there was something: the metrics tell how many failed, and of whom."""

from __future__ import annotations

import logging
from contextvars import ContextVar

OWN: ContextVar[bool] = ContextVar("own", default=False)
"""Whether what runs is done for a request of the gateway's own; what LiteLLM starts for it inherits it."""
LOGGERS = ("LiteLLM", "LiteLLM Proxy", "LiteLLM Router")


class Discreet(logging.Filter):
    """Takes the text out of the records of the gateway's own requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        if OWN.get():
            record.msg, record.args = "a request of a judge, a shadow or a verified answer did not go well", ()
            record.exc_info = record.exc_text = record.stack_info = None
        return True


def be_discreet() -> None:
    """Puts the filter on LiteLLM's loggers."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(Discreet())
