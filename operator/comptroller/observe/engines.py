"""How each engine names what we read: the dialects, joined into one query per meaning.

Names are those of vLLM 0.32, SGLang 0.5.23 and llama.cpp (autumn 2026). llama.cpp puts no labels on its series: the
pool comes from the scrape's own labels, never from `model_name`.
"""

from __future__ import annotations

from typing import Final

RUNNING: Final = ("vllm:num_requests_running", "sglang:num_running_reqs", "llamacpp:requests_processing")
WAITING: Final = ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "llamacpp:requests_deferred")
CACHED_TOKENS: Final = (
    "vllm:prefix_cache_hits_total",
    "sglang:cached_tokens_total",
    "llamacpp:prompt_tokens_cached_total",
)
# vLLM and SGLang count cached tokens into these; llama.cpp does not, so its cached tokens are added
PROMPT_TOKENS: Final = (
    "vllm:prefix_cache_queries_total",
    "sglang:prompt_tokens_total",
    "llamacpp:prompt_tokens_total",
    "llamacpp:prompt_tokens_cached_total",
)
# time between tokens, as the requests meet it: seconds over tokens
TOKEN_SECONDS: Final = (
    "vllm:inter_token_latency_seconds_sum",
    "sglang:inter_token_latency_seconds_sum",
    "llamacpp:tokens_predicted_seconds_total",
)
TIMED_TOKENS: Final = (
    "vllm:inter_token_latency_seconds_count",
    "sglang:inter_token_latency_seconds_count",
    "llamacpp:tokens_predicted_total",
)


# what the cache of one replica holds: vLLM tells it in labels
CACHE_BLOCKS: Final = 'min by (namespace, pool, num_gpu_blocks, block_size) (vllm:cache_config_info{pool!=""})'
CACHE_TOKENS: Final = 'min by (namespace, pool) (sglang:max_total_num_tokens{pool!=""})'


def by_pod(names: tuple[str, ...]) -> str:
    """A gauge of each replica, whatever its engine."""
    return f'sum by (namespace, pool, pod) ({{__name__=~"{"|".join(names)}", pool!=""}})'


def mean_by_pod(names: tuple[str, ...], window_seconds: int) -> str:
    """The mean of a gauge over a window, of each replica."""
    return (
        f'sum by (namespace, pool, pod) (avg_over_time({{__name__=~"{"|".join(names)}", pool!=""}}[{window_seconds}s]))'
    )


def rate_by_pool(names: tuple[str, ...], window_seconds: int) -> str:
    """The rate of a counter over a pool's replicas. `rate` needs one name at a time; `or` joins the dialects.

    `or` drops what differs from its left side in nothing but the metric's name, so every dialect gets a label.
    """
    rates = " or ".join(
        f'label_replace(rate({name}{{pool!=""}}[{window_seconds}s]), "dialect", "{name}", "", "")' for name in names
    )
    return f"sum by (namespace, pool) ({rates})"
