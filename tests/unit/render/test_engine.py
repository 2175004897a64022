"""How each engine is started."""

from __future__ import annotations

from typing import Any

import pytest

from comptroller.api.settings import Settings
from comptroller.render.engine import _DIALECTS, EngineStart, engine_start, slots
from comptroller.render.errors import RenderError
from tests.golden.cases import POOLS, local_pool

CLASSES = Settings().gpu_classes


def start(engine: str, gpu: dict[str, Any], model: dict[str, Any], **more: Any) -> EngineStart:
    return engine_start(
        local_pool({"name": engine, "args": ["--mine"]}, gpu, {"name": "m", **model}, **more), CLASSES["h100"]
    )


H100 = {"class": "h100", "count": 2}
ADAPTERS = {"adapters": [{"name": "kyc", "source": "pvc://weights/kyc"}]}


def test_every_engine_of_the_api_has_a_row() -> None:
    assert {str(name) for name in _DIALECTS} == {"vllm", "sglang", "llamacpp"}


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("vllm", "--model a/b --revision r --served-model-name m --enable-prompt-tokens-details --quantization fp8"),
        ("vllm", "--max-model-len 1000 --max-num-seqs 7 --tensor-parallel-size 2 --enable-lora"),
        ("vllm", "--lora-modules kyc=/mnt/comptroller/adapter-0/kyc"),
        ("sglang", "--model-path a/b --revision r --enable-metrics --enable-cache-report --context-length 1000"),
        ("sglang", "--max-running-requests 7 --tp-size 2 --lora-paths kyc=/mnt/comptroller/adapter-0/kyc"),
        (
            "llamacpp",
            "-hf a/b --alias m --metrics --slots -np 7 -c 7000 -ngl 999 --lora /mnt/comptroller/adapter-0/kyc",
        ),
    ],
)
def test_the_spec_becomes_the_engines_own_words(engine: str, words: str) -> None:
    performance = {"alphaMs": "1", "betaMs": "1", "gammaMs": "1", "maxConcurrency": 7}
    model = {"source": "hf://a/b@r", "quantization": "fp8", "contextLength": 1000}

    args = start(engine, H100, model, performance=performance, **ADAPTERS).args

    assert set(words.split()) <= set(args), args
    assert args[-1] == "--mine"


@pytest.mark.parametrize(
    ("source", "reference"),
    [
        ("file:///models/x", "/models/x"),
        ("pvc://claim/deep/x", "/mnt/comptroller/model/deep/x"),
        ("pvc://claim", "/mnt/comptroller/model"),
        ("oci://registry.example/x:1", "/mnt/comptroller/model"),
        ("s3://bucket/x", "s3://bucket/x"),
    ],
)
def test_sources_become_what_vllm_reads(source: str, reference: str) -> None:
    args = start("vllm", H100, {"source": source}).args

    assert args[args.index("--model") + 1] == reference


@pytest.mark.parametrize("engine", ["sglang", "llamacpp"])
def test_an_object_store_is_refused_where_the_engine_cannot_read_it(engine: str) -> None:
    with pytest.raises(RenderError, match=r"spec\.model\.source: .*use pvc://"):
        start(engine, H100, {"source": "s3://bucket/x"})


def test_a_relative_file_is_refused() -> None:
    with pytest.raises(RenderError, match="absolute path"):
        start("vllm", H100, {"source": "file://models/x"})


def test_only_llamacpp_has_a_cache_per_slot() -> None:
    assert slots(POOLS["tiny-cpu"], CLASSES["cpu"]) == 2
    assert slots(POOLS["qwen3-32b-h100"], CLASSES["h100"]) == 1


def test_images_can_be_replaced_and_differ_without_a_gpu() -> None:
    with_gpu = start("llamacpp", H100, {"source": "file:///x"})
    without = start("llamacpp", {"class": "cpu", "count": 0}, {"source": "file:///x"})

    assert "cuda" in with_gpu.image
    assert "cuda" not in without.image
    assert "-ngl" not in without.args
