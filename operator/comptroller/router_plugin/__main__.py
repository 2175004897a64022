"""Starts LiteLLM with the gateway around it: `python3 -m router_plugin --config FILE --port N`.

LiteLLM insists on a master key although a custom authentication replaces it. It is drawn here at each start, is known
to nobody and never leaves the process; no request is ever compared with it.
"""

from __future__ import annotations

import argparse
import os
import secrets

from .config import Config

KEEP_ALIVE_SECONDS = 120


def main() -> None:
    """Parses the two arguments and serves until SIGTERM, which lets running answers finish."""
    parser = argparse.ArgumentParser(prog="router_plugin", description="LiteLLM with Comptroller's gateway.")
    parser.add_argument("--config", required=True, help="the mounted LiteLLM configuration")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104 - a server in a pod
    parser.add_argument("--port", type=int, default=4000)
    parser.add_argument("--state", default=None, help="where the sums spent outlive a restart of the container")
    options = parser.parse_args()

    os.environ["LITELLM_MASTER_KEY"] = "sk-" + secrets.token_urlsafe(48)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_TELEMETRY", "False")
    # else Anthropic's protocol is translated to /v1/responses, which compatible endpoints do not have
    os.environ.setdefault("LITELLM_USE_CHAT_COMPLETIONS_URL_FOR_ANTHROPIC_MESSAGES", "True")
    with open(options.config, encoding="utf-8") as file:  # noqa: PTH123
        config = Config.parse(file.read())

    from litellm.proxy.proxy_cli import run_server
    from litellm.proxy.proxy_server import app

    from .choice import choose_where_there_is_room
    from .gateway import Gateway
    from .keep import Keeper
    from .live import Live, keep_wrong_requests_here

    keep_wrong_requests_here()
    choose_where_there_is_room()
    live = Live(config, options.config)
    app.add_middleware(Gateway, live=live, keeper=Keeper(live.spending, options.state))
    arguments = ["--config", options.config, "--host", options.host, "--port", str(options.port), "--num_workers", "1"]
    # longer than clients and load balancers keep an idle connection: else a request meets a connection that just closed
    arguments += ["--keepalive_timeout", str(KEEP_ALIVE_SECONDS), "--telemetry", "False"]
    run_server(args=arguments, prog_name="litellm")


if __name__ == "__main__":
    main()
