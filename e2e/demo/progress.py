"""Says which of the seven phases runs, what it waits for, and how long each took."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

PHASES = 7


class PhaseError(RuntimeError):
    """A phase could not be done; the message says what to do."""


@contextmanager
def phase(number: int, what: str) -> Iterator[None]:
    began = time.monotonic()
    say(f"[{number}/{PHASES}] {what}")
    yield
    say(f"      done in {time.monotonic() - began:.0f} s")


def say(text: str) -> None:
    print(text, flush=True)


def note(text: str) -> None:
    say(f"      {text}")


def run(command: Sequence[str], what: str) -> None:
    """Runs a command and shows its lines as they come. Raises PhaseError when it fails."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            note(line.rstrip())
    if process.returncode:
        raise PhaseError(f"{what} failed with exit code {process.returncode}: see the lines above")


def wait(what: str, missing: Callable[[], list[str]], timeout_seconds: float, poll_seconds: float = 1.0) -> None:
    """Waits until nothing is missing any more; says so each time the list changes. Raises PhaseError."""
    end, said = time.monotonic() + timeout_seconds, ""
    while left := missing():
        text = ", ".join(left)
        if time.monotonic() > end:
            raise PhaseError(f"{what} took more than {timeout_seconds:.0f} s; still missing: {text}")
        if text != said:
            note(f"waiting for {text}")
            said = text
        time.sleep(poll_seconds)
