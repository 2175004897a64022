"""Asks Prometheus: one query per metric for the whole fleet, with a time limit, and never an exception to the caller.

An answer is a mapping from label values to a number, or `Unknown` with the reason. NaN, infinities, negative values and
two series for the same labels are unknown, each for itself: one broken series must not hide the others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.settings import PrometheusSettings

Series: TypeAlias = Mapping[tuple[str, ...], Measurement]
"""Label values -> measurement, in the order of the labels asked for."""

History: TypeAlias = Mapping[tuple[str, ...], tuple[tuple[float, float], ...]]
"""Label values -> (seconds, value), oldest first."""

LARGEST_ANSWER = 20_000
LARGEST_HISTORY = 200_000  # samples of one range query
THREADS = 16  # one round of questions at once: a Prometheus that hangs costs one time limit, not several


class PrometheusSource:
    """Queries in a small thread pool of its own, because the client library is synchronous."""

    def __init__(self, settings: PrometheusSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="prometheus")

    def close(self) -> None:
        """Ends the threads; a query under way ends by its own time limit."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def query(self, expression: str, labels: Sequence[str]) -> Series | Unknown:
        """The instant value of an expression, keyed by the given labels."""
        limit = self._settings.timeout_seconds
        rows = await self._answer(lambda source: source.custom_query(expression, timeout=limit))
        return rows if isinstance(rows, Unknown) else read_rows(rows, labels)

    async def query_range(
        self, expression: str, labels: Sequence[str], start_seconds: float, end_seconds: float, step_seconds: float
    ) -> History | Unknown:
        """The values of an expression between two times, one per step."""
        limit = self._settings.timeout_seconds
        start, end = (datetime.fromtimestamp(one, UTC) for one in (start_seconds, end_seconds))
        rows = await self._answer(
            lambda source: source.custom_query_range(expression, start, end, f"{step_seconds:g}", timeout=limit)
        )
        return rows if isinstance(rows, Unknown) else read_history(rows, labels)

    async def _answer(self, question: Callable[[PrometheusConnect], Any]) -> Any | Unknown:
        limit = self._settings.timeout_seconds
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit + 1):
                return await loop.run_in_executor(self._threads, self._ask, question)
        except TimeoutError:
            return Unknown(f"Prometheus did not answer within {limit:g} s")
        except requests.Timeout:
            return Unknown(f"Prometheus did not answer within {limit:g} s")
        except requests.RequestException as error:
            return Unknown(f"Prometheus cannot be reached at {self._settings.url}: {type(error).__name__}")
        except PrometheusApiClientException as error:
            return Unknown(f"Prometheus refused a query: {str(error)[:200]}")
        except OSError as error:
            return Unknown(f"the bearer token for Prometheus cannot be read: {error.strerror or error}")
        except (ValueError, KeyError, TypeError) as error:
            return Unknown(f"Prometheus gave an answer that cannot be read: {str(error)[:200]}")

    def _ask(self, question: Callable[[PrometheusConnect], Any]) -> Any:
        headers = None
        if path := self._settings.bearer_token_file:
            headers = {"Authorization": f"Bearer {Path(path).read_text().strip()}"}
        # One session per question: the library's session is not made for threads. `trust_env` is requests' default.
        with requests.Session() as session:
            once = Retry(total=0, read=False)  # without `read` a time-out would look like a server that is not there
            source = PrometheusConnect(url=self._settings.url, headers=headers, session=session, retry=once)
            return question(source)


def read_rows(rows: Any, labels: Sequence[str]) -> Series | Unknown:
    """The rows of an instant vector as measurements. Raises nothing: what cannot be read is unknown."""
    if not isinstance(rows, list):
        return Unknown(f"Prometheus gave a {type(rows).__name__} where a vector was asked for")
    if len(rows) > LARGEST_ANSWER:
        return Unknown(f"Prometheus gave {len(rows)} series; more than {LARGEST_ANSWER} are not believed")
    result: dict[tuple[str, ...], Measurement] = {}
    for row in rows:
        try:
            key = tuple(str(row["metric"].get(label, "")) for label in labels)
            value = float(row["value"][1])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            return Unknown("Prometheus gave a row that cannot be read")
        if key in result:
            result[key] = Unknown(f"two series for {'/'.join(key)}")
        elif not math.isfinite(value) or value < 0:
            result[key] = Unknown(f"a value of {value} for {'/'.join(key)}")
        else:
            result[key] = Sample(value)
    return result


def read_history(rows: Any, labels: Sequence[str]) -> History | Unknown:
    """The rows of a range as samples. Raises nothing; samples that cannot be true are left out, like two series for one
    key."""
    if not isinstance(rows, list):
        return Unknown(f"Prometheus gave a {type(rows).__name__} where a matrix was asked for")
    result: dict[tuple[str, ...], tuple[tuple[float, float], ...]] = {}
    samples = 0
    for row in rows:
        try:
            key = tuple(str(row["metric"].get(label, "")) for label in labels)
            pairs = [(float(at), float(value)) for at, value in row["values"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            return Unknown("Prometheus gave a row that cannot be read")
        samples += len(pairs)
        if samples > LARGEST_HISTORY:
            return Unknown(f"Prometheus gave more than {LARGEST_HISTORY} samples")
        true = tuple(one for one in pairs if math.isfinite(one[0]) and math.isfinite(one[1]) and one[1] >= 0)
        result[key] = () if key in result else true
    return result
