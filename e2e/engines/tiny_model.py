"""Makes the tiny random-weight model that the real engine runs: a llama in GGUF, 7 MB, in about a second.

Nothing is downloaded: the weights come from a seeded generator. The text it writes is nonsense, but the engine under
it does everything it does for a real model: real prefill, a real KV cache, real slots. The tokenizer has one token for
each printable ASCII character and one for every byte, so a prompt of N characters is N tokens and a few dozen of
template.

    python3 -m engines.tiny_model /tmp/tiny.gguf --seed 1

Needs `gguf` (and numpy with it), imported only when a model is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL_PIECES = ("<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>")
_START_ID, _END_OF_TURN_ID = 1, 4
# SentencePiece writes a blank as U+2581.
_TEXT_PIECES = ("\u2581", *map(chr, range(0x21, 0x7F)))
_BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the model. The default computes 3,000 prompt tokens in about 1.5 s on two cores."""

    layers: int = 8
    hidden: int = 256
    heads: int = 4
    feed_forward: int = 704
    context: int = 32_768
    seed: int = 1


def write_tiny_model(path: Path, shape: Shape | None = None) -> None:
    """Write the model to `path`; equal shapes give equal files with equal versions of gguf and numpy."""
    import gguf

    shape = shape or Shape()
    writer = gguf.GGUFWriter(str(path), "llama")
    _describe(writer, shape)
    _add_vocabulary(writer, gguf.TokenType)
    for name, weights in _tensors(shape):
        if weights.ndim == 1:
            writer.add_tensor(name, weights)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, shape: Shape) -> None:
    writer.add_name("tiny-random")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.hidden // shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(_SPECIAL_PIECES) + len(_BYTE_PIECES) + len(_TEXT_PIECES))
    writer.add_file_type(7)  # mostly q8_0


def _add_vocabulary(writer: Any, kinds: Any) -> None:
    special = [kinds.UNKNOWN] + [kinds.CONTROL] * (len(_SPECIAL_PIECES) - 1)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*_SPECIAL_PIECES, *_BYTE_PIECES, *_TEXT_PIECES])
    # A text piece scores by its place; no piece is a merge of others, so only the order matters.
    before = len(_SPECIAL_PIECES) + len(_BYTE_PIECES)
    writer.add_token_scores([0.0] * before + [-1.0 - index for index in range(len(_TEXT_PIECES))])
    kinds_in_order = special + [kinds.BYTE] * len(_BYTE_PIECES) + [kinds.NORMAL] * len(_TEXT_PIECES)
    writer.add_token_types([int(kind) for kind in kinds_in_order])
    writer.add_bos_token_id(_START_ID)
    writer.add_eos_token_id(_END_OF_TURN_ID)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def _tensors(shape: Shape) -> Iterator[tuple[str, Any]]:
    """(name, weights) of every layer; norms are ones, matrices random with the usual 1/sqrt(inputs)."""
    import numpy as np

    random = np.random.default_rng(shape.seed)
    hidden, inner = shape.hidden, shape.feed_forward
    silent = len(_SPECIAL_PIECES) + len(_BYTE_PIECES)

    def matrix(outputs: int, inputs: int, scale: float) -> Any:
        return random.standard_normal((outputs, inputs), dtype=np.float32) * np.float32(scale)

    yield "token_embd.weight", matrix(silent + len(_TEXT_PIECES), hidden, 1.0)
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight", np.ones(hidden, dtype=np.float32)
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{part}.weight", matrix(hidden, hidden, hidden**-0.5)
        yield f"blk.{layer}.ffn_norm.weight", np.ones(hidden, dtype=np.float32)
        yield f"blk.{layer}.ffn_gate.weight", matrix(inner, hidden, hidden**-0.5)
        yield f"blk.{layer}.ffn_up.weight", matrix(inner, hidden, hidden**-0.5)
        yield f"blk.{layer}.ffn_down.weight", matrix(hidden, inner, inner**-0.5)
    yield "output_norm.weight", np.ones(hidden, dtype=np.float32)
    # Loud rows for printable text, none for control and byte tokens: the model practically never ends by itself.
    voice = matrix(silent + len(_TEXT_PIECES), hidden, 4.0 * hidden**-0.5)
    voice[:silent] = 0.0
    yield "output.weight", voice


def main() -> None:
    default = Shape()
    parser = argparse.ArgumentParser(prog="tiny_model", description="Make a tiny random-weight model (GGUF).")
    parser.add_argument("path", type=Path)
    parser.add_argument("--layers", type=int, default=default.layers)
    parser.add_argument("--hidden", type=int, default=default.hidden)
    parser.add_argument("--seed", type=int, default=default.seed)
    given = parser.parse_args()
    inner = max(32, given.hidden * 11 // 4 // 32 * 32)  # q8_0 works in groups of 32
    write_tiny_model(given.path, Shape(given.layers, given.hidden, feed_forward=inner, seed=given.seed))


if __name__ == "__main__":
    main()
