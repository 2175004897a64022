"""The engines' dialects: image, command line, probe path and environment. One row per engine; adding one is adding a
row.

Sources: each engine's own `--help` (vLLM 0.33, SGLang 0.5.23, llama.cpp b11549).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from comptroller.api.modelpool import EngineName, Local, ModelPoolSpec
from comptroller.api.settings import GpuClass
from comptroller.render.errors import RenderError
from comptroller.render.model_source import ModelSource, parse_model_source

DEFAULT_CONTEXT_TOKENS_PER_SLOT = 8192


@dataclass(frozen=True, slots=True)
class EngineStart:
    """How one replica's engine is started."""

    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    probe_path: str
    sources: tuple[ModelSource, ...]  # weights and adapters, for their volumes
    shared_memory: bool


@dataclass(frozen=True, slots=True)
class _Work:
    """What the dialects read."""

    spec: ModelPoolSpec
    local: Local
    model: ModelSource | None
    adapters: tuple[tuple[str, ModelSource], ...]
    concurrency: int | None
    slots: int


@dataclass(frozen=True, slots=True)
class _Dialect:
    image: str
    cpu_image: str
    command: tuple[str, ...]
    # /health of SGLang runs a request of its own when idle and takes a second or more; /ready is light.
    probe_path: str
    arguments: Callable[[_Work], list[str]]
    object_stores: bool
    cache_variables: tuple[str, ...]  # where downloaded weights are kept
    env: Mapping[str, str]
    shared_memory: bool  # tensor-parallel processes exchange through /dev/shm


def engine_start(spec: ModelPoolSpec, gpu_class: GpuClass) -> EngineStart:
    """The engine's start for a local pool. The user's arguments come last: for all three engines the last one wins.

    Raises `RenderError` for a source that the engine cannot read.
    """
    local = _local(spec)
    dialect = _DIALECTS[local.engine.name]
    model = None
    if spec.model.source is not None:
        model = parse_model_source(spec.model.source, "model", "spec.model.source")
        _check(dialect, local.engine.name, model, "spec.model.source")
    adapters = []
    for index, adapter in enumerate(local.adapters):
        path = f"spec.local.adapters[{index}].source"
        source = parse_model_source(adapter.source, f"adapter-{index}", path)
        _check(dialect, local.engine.name, source, path)
        adapters.append((adapter.name, source))
    declared = local.performance.max_concurrency if local.performance else None
    work = _Work(spec, local, model, tuple(adapters), declared, slots(spec, gpu_class))
    on_cpu = local.accelerator.class_ == "cpu"
    cache = dict.fromkeys(dialect.cache_variables, local.model_cache.path) if local.model_cache else {}
    return EngineStart(
        image=local.engine.image or (dialect.cpu_image if on_cpu else dialect.image),
        command=tuple(local.engine.command) or dialect.command,
        args=(*dialect.arguments(work), *local.engine.args),
        env={**dialect.env, **cache},
        probe_path=dialect.probe_path,
        sources=tuple(one for one in (model, *(source for _, source in adapters)) if one is not None),
        shared_memory=dialect.shared_memory,
    )


def slots(spec: ModelPoolSpec, gpu_class: GpuClass) -> int:
    """How many separate prefix caches a replica has: one per slot for llama.cpp, one in all for the others. A warm-up
    must fill each."""
    local = _local(spec)
    if local.engine.name is not EngineName.LLAMACPP:
        return 1
    return local.performance.max_concurrency if local.performance else gpu_class.max_concurrency


def snapshot_folder(local: Local) -> str:
    """Where llama.cpp saves its slots: on the claim that a pool's replicas share, else on the pod's own volume."""
    return local.model_cache.path if local.model_cache else "/tmp"  # noqa: S108 - in the pod


def snapshot_key(pool: str, spec: ModelPoolSpec, gpu_class: GpuClass) -> str:
    """What the saved caches of a pool's replicas agree in beside the engine's build; empty for engines that save none.

    Whatever changes the model or the engine's command line changes it.
    """
    if _local(spec).engine.name is not EngineName.LLAMACPP:
        return ""
    start = engine_start(spec, gpu_class)
    content = json.dumps([pool, spec.model.source, spec.model.name, start.image, start.command, start.args])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _local(spec: ModelPoolSpec) -> Local:
    if spec.local is None:
        raise RenderError("spec.local", "only local pools have an engine")
    return spec.local


def _check(dialect: _Dialect, engine: EngineName, source: ModelSource, path: str) -> None:
    if source.kind == "object" and not dialect.object_stores:
        raise RenderError(path, f"{engine} cannot stream from {source.reference}: copy it to a claim and use pvc://")


def _vllm(work: _Work) -> list[str]:
    args = _flag("--model", work.model.reference if work.model else None)
    args += _flag("--revision", work.model.revision if work.model else None)
    args += _flag("--load-format", "runai_streamer" if work.model and work.model.kind == "object" else None)
    args += ["--served-model-name", work.spec.model.name, *_address(work), "--enable-prompt-tokens-details"]
    args += _flag("--quantization", _QUANTIZATION.get(work.spec.model.quantization or ""))
    args += _flag("--max-model-len", work.spec.model.context_length)
    args += _flag("--max-num-seqs", work.concurrency)
    args += _flag("--tensor-parallel-size", _several(work.local.accelerator.count))
    if work.adapters:
        args += ["--enable-lora", "--max-loras", str(min(len(work.adapters), 8)), "--lora-modules"]
        args += [f"{name}={source.reference}" for name, source in work.adapters]
    return args


def _sglang(work: _Work) -> list[str]:
    args = _flag("--model-path", work.model.reference if work.model else None)
    args += _flag("--revision", work.model.revision if work.model else None)
    args += ["--served-model-name", work.spec.model.name, *_address(work), "--enable-metrics", "--enable-cache-report"]
    args += _flag("--quantization", _QUANTIZATION.get(work.spec.model.quantization or ""))
    args += _flag("--context-length", work.spec.model.context_length)
    args += _flag("--max-running-requests", work.concurrency)
    args += _flag("--tp-size", _several(work.local.accelerator.count))
    if work.adapters:
        args += ["--enable-lora", "--lora-paths", *(f"{name}={source.reference}" for name, source in work.adapters)]
    return args


def _llamacpp(work: _Work) -> list[str]:
    """`-c` is shared out over the slots, so that each holds the whole context length."""
    model = work.model
    args = _flag("-hf" if model and model.kind == "repository" else "-m", model.reference if model else None)
    args += ["--alias", work.spec.model.name, *_address(work), "--metrics", "--slots", "-np", str(work.slots)]
    args += ["-c", str((work.spec.model.context_length or DEFAULT_CONTEXT_TOKENS_PER_SLOT) * work.slots)]
    args += ["--slot-save-path", snapshot_folder(work.local)]
    args += _flag("-ngl", 999 if work.local.accelerator.count else None)
    for _, source in work.adapters:
        args += ["--lora", source.reference]
    return args


def _address(work: _Work) -> list[str]:
    return ["--host", "0.0.0.0", "--port", str(work.local.engine.port)]  # noqa: S104 - a server in a pod


def _flag(name: str, value: object | None) -> list[str]:
    return [] if value is None else [name, str(value)]


def _several(count: int) -> int | None:
    return count if count > 1 else None


_QUANTIZATION: Mapping[str, str] = {
    # int8, int4 and none have no word of their own: the checkpoint says it
    "fp8": "fp8",
    "awq": "awq",
    "gptq": "gptq",
    "nvfp4": "modelopt_fp4",
    "mxfp4": "mxfp4",
    "gguf": "gguf",
}

_DIALECTS: Mapping[EngineName, _Dialect] = {
    EngineName.VLLM: _Dialect(
        image="vllm/vllm-openai:v0.33.0",
        cpu_image="vllm/vllm-openai-cpu:v0.33.0",
        # not `vllm serve`, which takes the model only by position: users' commands may replace this one
        command=("python3", "-m", "vllm.entrypoints.openai.api_server"),
        probe_path="/health",
        arguments=_vllm,
        object_stores=True,
        cache_variables=("HF_HOME",),
        env={"VLLM_NO_USAGE_STATS": "1"},
        shared_memory=True,
    ),
    EngineName.SGLANG: _Dialect(
        image="lmsysorg/sglang:v0.5.23",
        cpu_image="lmsysorg/sglang:v0.5.23",
        command=("python3", "-m", "sglang.launch_server"),
        probe_path="/ready",
        arguments=_sglang,
        object_stores=False,
        cache_variables=("HF_HOME",),
        env={},
        shared_memory=True,
    ),
    EngineName.LLAMACPP: _Dialect(
        image="ghcr.io/ggml-org/llama.cpp:server-cuda-b11549",
        cpu_image="ghcr.io/ggml-org/llama.cpp:server-b11549",
        command=("/app/llama-server",),
        probe_path="/health",
        arguments=_llamacpp,
        object_stores=False,
        cache_variables=("LLAMA_CACHE",),
        env={},
        shared_memory=False,
    ),
}
