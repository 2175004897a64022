"""Which requests are judged or copied: a fixed share of them, and never more than about twice that share."""

from __future__ import annotations

import hashlib

WHOLE = 2**64


def sampled(content: bytes, purpose: str, ratio: float) -> bool:
    """Whether a request belongs to the sample. The same request always does or never does, whichever process asks.

    The first 8 bytes of SHA-256 of purpose and request are a number that is uniform between 0 and 2**64; those below
    ratio x 2**64 belong to the sample. A judge and a shadow draw independently.

    >>> sampled(b"a", "judge", 1.0), sampled(b"a", "judge", 0.0)
    (True, False)
    """
    digest = hashlib.sha256(purpose.encode() + b"\0" + content).digest()
    return int.from_bytes(digest[:8], "big") < ratio * WHOLE


class Allowance:
    """How many samples a route may still pay for. Each request earns `MARGIN` times the ratio, up to `BURST`.

    The draw alone is no limit: clients may repeat one request that belongs to the sample a million times. With this,
    n requests have at most BURST + MARGIN x ratio x n samples. Worked: at a ratio of 0.05, of a million requests at
    most 100,016 are judged, of which 50,000 are expected. In dollars: a judgement reads at most 56,192 characters (some
    14,000 tokens) and writes at most 300 tokens; at $3 and $15 per million tokens that is $0.047 at most, so at most
    $0.0047 per request of the route at this ratio; for a request of 1,000 tokens and an answer of 250 it is $0.0002.
    """

    MARGIN, BURST = 2.0, 16.0

    def __init__(self) -> None:
        self._left = self.BURST

    def earn(self, ratio: float) -> None:
        """One more request has come."""
        self._left = min(self.BURST, self._left + self.MARGIN * ratio)

    def spend(self) -> bool:
        """Takes one sample, if there is one."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
