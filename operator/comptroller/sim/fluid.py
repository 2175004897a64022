"""What one replica can do at most: the fluid limit of the engine of `engine.py`, without any waiting.

The engine's iteration takes T(b) = alpha + root sqrt(b) + slope b, slope = beta (in+out)/(out+1) + gamma (in + out/2);
root is 0 for most dense models. A request holds its place for S(b) = out T(b) + (beta+gamma) in. With b requests always
in flight a replica answers b / S(b), and that grows with b. The largest b that keeps the objective has T(b) <= time per
output token, T(b) + own prompt <= time to first token and b <= max concurrency. Nothing waits and nothing varies in
this limit, so no replica does more within its objective; `allocation.capacity` lies below it, because there arrivals
are random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from comptroller.allocation.snapshot import Profile


@dataclass(frozen=True, slots=True)
class Fluid:
    """The limit of one replica for one shape of request. Where not even one request alone keeps the objective,
    `reachable` is False and the rate is that of a full batch."""

    requests_per_second: float
    batch: float
    reachable: bool


def slope_ms(profile: Profile, input_tokens: float, output_tokens: float) -> float:
    """How much longer an iteration takes for one more request in the batch."""
    return profile.beta_ms * (input_tokens + output_tokens) / (output_tokens + 1.0) + profile.gamma_ms * (
        input_tokens + output_tokens / 2.0
    )


def prompt_ms(profile: Profile, input_tokens: float) -> float:
    """How long a request's own prompt takes."""
    return (profile.beta_ms + profile.gamma_ms) * input_tokens


def service_seconds(profile: Profile, input_tokens: float, output_tokens: float, iteration_ms: float) -> float:
    """How long a request holds its place when iterations take so long."""
    return (output_tokens * iteration_ms + prompt_ms(profile, input_tokens)) / 1000.0


def fluid_limit(
    profile: Profile,
    input_tokens: float,
    output_tokens: float,
    time_to_first_token_ms: float,
    time_per_output_token_ms: float,
) -> Fluid:
    """Worked: alpha 5.5, beta 0.04, gamma 0.00016, N 64, 1000 in, 250 out: T(64) = 29.8 ms. At 30 ms per output token
    the batch is 64 and the rate 64 / 7.49 s = 8.54 requests/s; at 20 ms it is 38.2 and 7.57."""
    slope, prompt = slope_ms(profile, input_tokens, output_tokens), prompt_ms(profile, input_tokens)
    longest = min(time_per_output_token_ms, time_to_first_token_ms - prompt)
    places = float(max(profile.max_concurrency, 1))
    root = profile.root_ms
    left = longest - profile.alpha_ms  # root x + slope x^2 with x = sqrt(b)
    reachable = root + slope <= left
    batch = places
    if reachable and root + slope > 0:
        batch = min(places, (2.0 * left / (root + math.sqrt(root * root + 4.0 * slope * left))) ** 2)
    iteration_ms = profile.alpha_ms + root * math.sqrt(batch) + slope * batch
    busy = service_seconds(profile, input_tokens, output_tokens, iteration_ms)
    return Fluid(batch / max(busy, 1e-9), batch, reachable)
