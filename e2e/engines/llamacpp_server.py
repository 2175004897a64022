"""The real engine: llama.cpp's own HTTP server, from the `xllamacpp` wheel, under upstream's flag names.

    python3 -m engines.llamacpp_server --tiny-model --port 8090 --alias tiny -np 2 -c 16384 --metrics --slots

This is llama.cpp's C++ server, not a re-implementation: slots, host prompt cache, /metrics and /slots are its own.
`-c` is shared out: each of the `-np` slots holds c / np tokens, and a cached prefix belongs to one slot. SIGTERM ends
it at once and cuts running streams, as upstream does; draining is the router's and the preStop hook's business.
"""

from __future__ import annotations

import argparse
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

from .tiny_model import write_tiny_model


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llamacpp_server", description="llama.cpp's server from the xllamacpp wheel.")
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-m", "--model", type=Path, help="GGUF file")
    source.add_argument("--tiny-model", action="store_true", help="make the tiny random model, once per temp folder")
    add("-a", "--alias", default="tiny", help="name under which the model is served")
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=8080)
    add("-np", "--parallel", type=int, default=2, help="slots")
    add("-c", "--ctx-size", type=int, default=16_384, help="tokens of KV cache, over all slots")
    add("-t", "--threads", type=int, default=2)
    add("-b", "--batch-size", type=int, default=2048)
    add("-ub", "--ubatch-size", type=int, default=512)
    add("--cache-ram", type=int, default=8192, help="host prompt cache, MiB; 0 turns it off")
    add("-sps", "--slot-prompt-similarity", type=float, default=0.1)
    add("--metrics", action="store_true", help="serve /metrics")
    add("--slots", action=argparse.BooleanOptionalAction, default=True, help="serve /slots")
    add("--slot-save-path", type=Path, help="folder for saved slots: a prefix can be restored into another process")
    add("--chat-template-file", type=Path, help="Jinja template in the place of the model's own")
    add("--log-verbosity", type=int, default=1)
    return parser


def tiny_model_path() -> Path:
    """The tiny model in the temp folder, made on first use; renamed into place so that two starts do not collide."""
    path = Path(tempfile.gettempdir()) / "comptroller-tiny-1.gguf"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            draft = Path(folder) / path.name
            write_tiny_model(draft)
            draft.replace(path)
    return path


def start(given: argparse.Namespace) -> Any:
    """Start the server in threads of this process; it listens when this returns and stops when it is collected."""
    import xllamacpp  # type: ignore[import-untyped]

    params = xllamacpp.CommonParams()
    params.model.path = str(tiny_model_path() if given.tiny_model else given.model)
    params.model_alias = {given.alias}
    params.hostnames = [given.host]
    params.port = given.port
    params.n_parallel = given.parallel
    params.n_ctx = given.ctx_size
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    params.n_batch = given.batch_size
    params.n_ubatch = given.ubatch_size
    params.cache_ram_mib = given.cache_ram
    params.slot_prompt_similarity = given.slot_prompt_similarity
    params.endpoint_metrics = given.metrics
    params.endpoint_slots = given.slots
    params.verbosity = given.log_verbosity
    if given.slot_save_path:
        params.slot_save_path = f"{given.slot_save_path}/"  # llama.cpp joins path and file name as they are
    if given.chat_template_file:
        params.chat_template = given.chat_template_file.read_text()
        params.use_jinja = True
    # No trial run and no guessing what fits: the model is tiny, and a start takes 0.2 s instead of seconds.
    params.warmup = False
    params.fit_params = False
    return xllamacpp.Server(params)


def main() -> None:
    # Signals are blocked before the server starts its threads, so that they come to this one.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = start(parser().parse_args())
    print(f"listening on {server.listening_address}", flush=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    stop.wait()


if __name__ == "__main__":
    main()
