"""How long one iteration of continuous batching takes.

    T = alpha + beta * (tokens computed) + gamma * (tokens of context read)

`alpha` is the fixed cost of a step (launch, weights streamed from memory), `beta` the compute of one token through the
model, `gamma` the reading of one token of KV cache by attention. With b sequences that all decode, each computes one
token and reads its context c, so T(b) = alpha + b * (beta + gamma * c): the model of llm-d's inferno and of the
operator's own planner, which averages it over a request of `in` + `out` tokens to
alpha + b * (beta * (in + out) / (out + 1) + gamma * (in + out / 2)). On published measurements of real GPUs the form
predicts time per output token within 2-11 % for dense models (more for mixture-of-experts, which is concave in b).

Worked: alpha 6.1 ms, beta 0.05 ms, gamma 0.0004 ms; 32 sequences with 1,000 tokens of context each:
6.1 + 32 * (0.05 + 0.4) = 20.5 ms per token and stream, 1,561 tokens/s in all. Prefill of 4,000 tokens alone:
6.1 + 4,000 * 0.05 + 0.0004 * 4,000 = 207.7 ms.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IterationTime:
    """The three coefficients, in milliseconds as they are declared in a ModelPool."""

    alpha_ms: float = 6.1
    beta_ms: float = 0.05
    gamma_ms: float = 0.0004
    prefill_ms_per_token: float | None = None  # None: a prompt token computes as long as a decoded one, beta
    time_factor: float = 1.0  # multiplies every duration: 0.1 is ten times faster than life

    def seconds(self, prefill_tokens: int, decode_tokens: int, context_tokens: int) -> float:
        """Duration of an iteration that computes these tokens and reads `context_tokens` over all its sequences."""
        per_prefill_token = self.beta_ms if self.prefill_ms_per_token is None else self.prefill_ms_per_token
        milliseconds = (
            self.alpha_ms
            + per_prefill_token * prefill_tokens
            + self.beta_ms * decode_tokens
            + self.gamma_ms * context_tokens
        )
        return milliseconds * self.time_factor / 1000
