"""What runs inside LiteLLM: keys and routes, the sovereignty guard, the plan without restarts, and metrics.

A guest of LiteLLM's process: the standard library, LiteLLM and what LiteLLM itself brings (yaml, prometheus_client),
nothing of the operator. It is shipped as text in a ConfigMap and started with `python3 -m router_plugin`, which puts
`gateway.Gateway` around LiteLLM's application and then starts LiteLLM's own server with **one** worker: counters,
limits and the reload live in the process. More throughput means more pods.
"""
