"""Keeps what is spent: in a file that outlives the container, and in the Redis that processes share.

Both are written behind the answers: a file at most once a second, Redis five times a second. A process that is killed
loses at most the last second of its own sums, and none with Redis but the last fifth of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from pathlib import Path

from .share import Share
from .spending import Spending

LOG = logging.getLogger("comptroller.router")
BEAT_SECONDS = 0.2
BEATS_PER_FILE = 5


class Keeper:
    """Reads the file when it is made, and keeps file and Redis while it runs. `path` None: no file."""

    def __init__(self, spending: Spending, path: str | None) -> None:
        self._spending = spending
        self._path = None if path is None else Path(path)
        self._share = Share(spending)
        self._written: str | None = None
        self._read()

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            self._spending.restore(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            LOG.warning("%s cannot be read, what it says to be spent is forgotten: %s", self._path, error)

    async def run(self) -> None:
        """For ever. What cannot be written now is written at the next beat."""
        beat = 0
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            beat += 1
            try:
                self._spending.tick()
                await self._share.beat()
                if beat % BEATS_PER_FILE == 0:
                    await self._write()
            except Exception:
                LOG.exception("what is spent cannot be kept now; it is tried again")

    async def close(self) -> None:
        """The last words of a process that ends in order."""
        with contextlib.suppress(Exception):
            await self._share.beat()
            await self._write()
        await self._share.close()

    async def _write(self) -> None:
        text = json.dumps(self._spending.state(), sort_keys=True)
        if self._path is None or text == self._written:
            return
        await asyncio.to_thread(replace_file, self._path, text)
        self._written = text


def replace_file(path: Path, text: str) -> None:
    """Writes a file so that a reader, also one after a crash, finds the old text or the new one."""
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
