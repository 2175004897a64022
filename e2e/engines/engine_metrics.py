"""The metrics of a vLLM server, under vLLM's own names.

Names, labels (`model_name`, `engine`) and bucket bounds are those of vLLM 0.32/0.33 (`vllm/v1/metrics/loggers.py`), so
an autoscaler or a dashboard written for vLLM reads this engine unchanged. prometheus_client adds `_total` to counters
and a `_created` gauge beside each, here as there.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .scheduler import Iteration, Scheduler, Sequence

_LABELS = ("model_name", "engine")
_ENGINE = "0"

# Seconds.
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
                40.0, 80.0, 160.0, 640.0, 2560.0)  # fmt: skip
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
              80.0)  # fmt: skip
_REQUEST = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
            960.0, 1920.0, 7680.0)  # fmt: skip


class EngineMetrics:
    """Counts what the scheduler reports. Gauges are read from the scheduler when scraped, so idle costs nothing."""

    def __init__(self, model_name: str, scheduler: Scheduler) -> None:
        self._registry = CollectorRegistry()
        self._labels = {"model_name": model_name, "engine": _ENGINE}
        self.prefix_cache_queries = self._counter("prefix_cache_queries", "Prompt tokens looked up in the prefix cache")
        self.prefix_cache_hits = self._counter("prefix_cache_hits", "Prompt tokens found in the prefix cache")
        self.prompt_tokens = self._counter("prompt_tokens", "Prompt tokens of started answers, cached ones included")
        self.prompt_tokens_cached = self._counter("prompt_tokens_cached", "Prompt tokens that were not computed")
        self.generation_tokens = self._counter("generation_tokens", "Tokens generated")
        self.preemptions = self._counter("num_preemptions", "Sequences that lost their KV blocks to older ones")
        self.time_to_first_token = self._histogram(
            "time_to_first_token_seconds", "Arrival to first token", _FIRST_TOKEN
        )
        self.inter_token_latency = self._histogram("inter_token_latency_seconds", "Token to token", _PER_TOKEN)
        self.time_per_output_token = self._histogram(
            "request_time_per_output_token_seconds", "Mean time per token after the first, by request", _PER_TOKEN
        )
        self.request_latency = self._histogram("e2e_request_latency_seconds", "Arrival to last token", _REQUEST)
        self.queue_time = self._histogram("request_queue_time_seconds", "Arrival to first admission", _REQUEST)
        self._success = Counter(
            "vllm:request_success", "Finished requests", (*_LABELS, "finished_reason"), registry=self._registry
        )
        for reason in ("stop", "length", "abort", "error"):
            self._success.labels(**self._labels, finished_reason=reason)
        self._gauge("num_requests_running", "Sequences in the running batch").set_function(
            lambda: len(scheduler.running)
        )
        self._gauge("num_requests_waiting", "Sequences in the queue").set_function(lambda: len(scheduler.waiting))
        self._gauge("kv_cache_usage_perc", "KV blocks in use, 0 to 1; reusable ones do not count").set_function(
            lambda: scheduler.pool.usage_ratio
        )
        limits = scheduler.limits
        config = {
            "block_size": str(limits.block_size),
            "num_gpu_blocks": str(limits.blocks),
            "kv_cache_size_tokens": str(limits.blocks * limits.block_size),
            "enable_prefix_caching": "True",
        }
        Gauge("vllm:cache_config_info", "KV cache configuration", ("engine", *config), registry=self._registry).labels(
            engine=_ENGINE, **config
        ).set(1)

    def observe(self, iteration: Iteration) -> None:
        """Book one iteration, at the times at which things happened in it."""
        for sequence in iteration.admitted:
            self.prefix_cache_queries.inc(sequence.prompt_tokens)
            self.prefix_cache_hits.inc(sequence.cached_tokens)
            self.queue_time.observe((sequence.admitted_at or sequence.arrived_at) - sequence.arrived_at)
        self.preemptions.inc(len(iteration.preempted))
        self.generation_tokens.inc(len(iteration.produced))
        for sequence, gap_seconds in iteration.produced:
            if gap_seconds is None:
                self.prompt_tokens.inc(sequence.prompt_tokens)
                self.prompt_tokens_cached.inc(sequence.cached_tokens)
                self.time_to_first_token.observe(iteration.ends_at - sequence.arrived_at)
            else:
                self.inter_token_latency.observe(gap_seconds)

    def observe_end(self, sequence: Sequence, reason: str) -> None:
        """Book the end of a request: `stop`, `length` or `abort` (the client went away)."""
        self._success.labels(**self._labels, finished_reason=reason).inc()
        if sequence.first_token_at is None or sequence.last_token_at is None:
            return
        self.request_latency.observe(sequence.last_token_at - sequence.arrived_at)
        if sequence.generated > 1:
            self.time_per_output_token.observe(
                (sequence.last_token_at - sequence.first_token_at) / (sequence.generated - 1)
            )

    def page(self) -> bytes:
        return generate_latest(self._registry)

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(f"vllm:{name}", what, _LABELS, registry=self._registry).labels(**self._labels)

    def _gauge(self, name: str, what: str) -> Gauge:
        return Gauge(f"vllm:{name}", what, _LABELS, registry=self._registry).labels(**self._labels)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"vllm:{name}", what, _LABELS, registry=self._registry, buckets=buckets).labels(**self._labels)
