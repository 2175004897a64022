"""Asks Prometheus: one query per metric for the whole fleet, with a time limit, and never an exception to the caller.

An answer is a mapping from label values to a number, or `Unknown` with the reason. NaN, infinities, negative values and
two series for the same labels are unknown, each for itself: one broken series must not hide the others.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from comptroller.allocation.snapshot import Measurement, Sample, Unknown
from comptroller.api.settings import PrometheusSettings

Series: TypeAlias = Mapping[tuple[str, ...], Measurement]
"""Label values -> measurement, in the order of the labels asked for."""

LARGEST_ANSWER = 20_000
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
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limit + 1):
                rows = await loop.run_in_executor(self._threads, self._ask, expression)
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
        return read_rows(rows, labels)

    def _ask(self, expression: str) -> Any:
        headers = None
        if path := self._settings.bearer_token_file:
            headers = {"Authorization": f"Bearer {Path(path).read_text().strip()}"}
        # One session per question: the library's session is not made for threads. `trust_env` is requests' default.
        with requests.Session() as session:
            once = Retry(total=0, read=False)  # without `read` a time-out would look like a server that is not there
            source = PrometheusConnect(url=self._settings.url, headers=headers, session=session, retry=once)
            return source.custom_query(expression, timeout=self._settings.timeout_seconds)


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
