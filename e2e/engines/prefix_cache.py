"""KV blocks with reference counts, reuse by hash chain, and eviction of the least recently used.

The rules are those of vLLM's block pool:

- A block holds `block_size` tokens. A full block is known by the hash of its tokens and of the block before it, so one
  hash stands for the whole prefix up to there.
- A block is *in use* while a sequence holds a reference, else it is *free*; a free block keeps its contents and may be
  taken back by any later prompt with the same prefix, until it is the oldest free block and somebody needs room.
- A sequence gives its blocks back tail first, so a prefix is forgotten from its end: the common beginning of many
  prompts outlives their different ends.

Usage counts blocks in use only, as `vllm:kv_cache_usage_perc` does: a cache full of reusable blocks reads 0.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

from .tokens import BYTES_PER_TOKEN

BlockHash = bytes


def block_hashes(tokens: bytes, block_size: int, salt: bytes = b"") -> list[BlockHash]:
    """Hash chain over the full blocks of `tokens`; a last, partly filled block has none.

    `salt` (a tenant's `cache_salt`) starts the chain, so equal prompts under different salts share nothing.
    """
    width = block_size * BYTES_PER_TOKEN
    chain: list[BlockHash] = []
    previous = salt
    for start in range(0, len(tokens) - width + 1, width):
        previous = hashlib.blake2b(tokens[start : start + width], digest_size=12, key=previous[:64]).digest()
        chain.append(previous)
    return chain


class BlockPool:
    """`capacity` blocks. Blocks are integers; the pool knows who counts on each and what each holds."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._references = [0] * capacity
        self._hash_of: list[BlockHash | None] = [None] * capacity
        self._holder: dict[BlockHash, int] = {}
        # Oldest first. An OrderedDict because a hit takes a block out of the middle.
        self._free: OrderedDict[int, None] = OrderedDict.fromkeys(range(capacity))

    @property
    def free(self) -> int:
        """Blocks nobody counts on; many of them may still hold a prefix worth keeping."""
        return len(self._free)

    @property
    def in_use(self) -> int:
        return self.capacity - len(self._free)

    @property
    def usage_ratio(self) -> float:
        return self.in_use / self.capacity

    @property
    def reusable(self) -> int:
        """Blocks that a later prompt could hit, in use or not."""
        return len(self._holder)

    def references(self) -> int:
        """Sum of all reference counts: 0 when no sequence is alive."""
        return sum(self._references)

    def longest_hit(self, chain: Sequence[BlockHash]) -> list[int]:
        """The blocks that already hold the beginning of `chain`. Takes nothing."""
        hit: list[int] = []
        for link in chain:
            block = self._holder.get(link)
            if block is None:
                break
            hit.append(block)
        return hit

    def fits(self, hit: Sequence[int], new_blocks: int) -> bool:
        """Whether `hit` can be held and `new_blocks` taken; free blocks of the hit are room no longer."""
        taken_back = sum(1 for block in hit if self._references[block] == 0)
        return new_blocks <= len(self._free) - taken_back

    def hold(self, blocks: Sequence[int]) -> None:
        """Count on blocks that were found by `longest_hit`."""
        for block in blocks:
            if self._references[block] == 0:
                del self._free[block]
            self._references[block] += 1

    def take(self, count: int) -> list[int]:
        """Take `count` free blocks, oldest first; what they held is forgotten. Check `fits` before."""
        taken: list[int] = []
        for _ in range(count):
            block, _none = self._free.popitem(last=False)
            self._forget(block)
            self._references[block] = 1
            taken.append(block)
        return taken

    def remember(self, block: int, link: BlockHash) -> bool:
        """Note that `block` now holds the prefix `link`. False if another block already does: the first one stays."""
        if link in self._holder:
            return False
        self._holder[link] = block
        self._hash_of[block] = link
        return True

    def release(self, blocks: Sequence[int]) -> None:
        """Give up one reference on each block of a sequence, the last block first."""
        for block in reversed(blocks):
            self._references[block] -= 1
            if self._references[block] == 0:
                self._free[block] = None

    def forget_all(self) -> bool:
        """Empty the cache, as `POST /reset_prefix_cache`; refused (False) while any block is in use."""
        if self.in_use:
            return False
        for block in range(self.capacity):
            self._forget(block)
        return True

    def _forget(self, block: int) -> None:
        link = self._hash_of[block]
        if link is not None:
            del self._holder[link]
            self._hash_of[block] = None
