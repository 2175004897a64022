"""The block pool: what is kept, what is forgotten first, and what salt separates."""

from e2e.engines.prefix_cache import BlockPool, block_hashes
from e2e.engines.tokens import tokenize


def text_of(tokens: int, letter: str) -> bytes:
    return tokenize(letter * tokens * 4)


def store(pool: BlockPool, prompt: bytes) -> list[int]:
    """Compute a prompt of whole blocks of 16 and give the blocks back; returns them."""
    chain = block_hashes(prompt, 16)
    blocks = pool.take(len(chain))
    for block, link in zip(blocks, chain, strict=True):
        pool.remember(block, link)
    pool.release(blocks)
    return blocks


def test_only_full_blocks_have_a_hash() -> None:
    assert len(block_hashes(text_of(47, "a"), 16)) == 2
    assert len(block_hashes(text_of(48, "a"), 16)) == 3


def test_a_hash_stands_for_everything_before_its_block() -> None:
    same_end = text_of(16, "z")
    assert block_hashes(text_of(16, "a") + same_end, 16)[1] != block_hashes(text_of(16, "b") + same_end, 16)[1]


def test_another_salt_shares_nothing() -> None:
    prompt = text_of(32, "a")
    assert not set(block_hashes(prompt, 16, b"one")) & set(block_hashes(prompt, 16, b"two"))


def test_a_released_prefix_is_found_again_and_counts_as_unused() -> None:
    pool = BlockPool(8)
    blocks = store(pool, text_of(64, "a"))
    assert pool.longest_hit(block_hashes(text_of(64, "a"), 16)) == blocks
    assert pool.usage_ratio == 0.0
    assert pool.reusable == 4


def test_the_end_of_the_oldest_prefix_is_forgotten_first() -> None:
    pool = BlockPool(8)
    oldest = store(pool, text_of(64, "a"))
    store(pool, text_of(64, "b"))
    store(pool, text_of(32, "c"))
    assert pool.longest_hit(block_hashes(text_of(64, "a"), 16)) == oldest[:2]
    assert len(pool.longest_hit(block_hashes(text_of(64, "b"), 16))) == 4


def test_a_hit_renews_a_prefix() -> None:
    pool = BlockPool(8)
    store(pool, text_of(64, "a"))
    store(pool, text_of(64, "b"))
    hit = pool.longest_hit(block_hashes(text_of(64, "a"), 16))
    pool.hold(hit)
    pool.release(hit)
    store(pool, text_of(64, "c"))
    assert len(pool.longest_hit(block_hashes(text_of(64, "a"), 16))) == 4
    assert pool.longest_hit(block_hashes(text_of(64, "b"), 16)) == []


def test_a_shared_block_is_free_only_when_the_last_holder_leaves() -> None:
    pool = BlockPool(4)
    blocks = store(pool, text_of(32, "a"))
    pool.hold(blocks)
    pool.hold(blocks)
    pool.release(blocks)
    assert pool.in_use == 2
    pool.release(blocks)
    assert (pool.in_use, pool.references()) == (0, 0)


def test_free_blocks_of_a_hit_are_no_room_for_the_rest() -> None:
    pool = BlockPool(4)
    hit = store(pool, text_of(32, "a"))
    assert pool.fits(hit, 2)
    assert not pool.fits(hit, 3)


def test_the_cache_can_be_emptied_only_while_nothing_runs() -> None:
    pool = BlockPool(4)
    blocks = store(pool, text_of(32, "a"))
    pool.hold(blocks)
    assert not pool.forget_all()
    pool.release(blocks)
    assert pool.forget_all()
    assert pool.reusable == 0
