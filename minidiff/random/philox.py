"""Philox4x64-10: random words as a function of a key and a counter.

An ordinary generator is a machine that must take every step. A counter-based one is a function: block number b of the
stream is the 256-bit number b, scrambled under a 128-bit key into four 64-bit words. Any stretch of the stream can be
made anywhere, in any order. Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".

`philox_words` is the mathematics, on any array library. On the host `pieces_of_words` takes the same words from
`numpy.random.Philox`, which is compiled; the tests hold the two together.
"""

from collections.abc import Iterator

import numpy as np

ROUNDS = 10
WORDS_PER_BLOCK = 4
COUNTER_PERIOD = 2**256
WORD_PERIOD = 2**64

MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)  # the fractions of the golden ratio and of sqrt(3), times 2^64

# Box-Muller takes about ten passes over what a piece becomes: at 64 KiB those passes stay in cache.
HOST_PIECE = 8192


def pieces_of_words(xp, key: tuple[int, int], counter: int, count: int) -> Iterator:
    """The words of `philox_words`, in consecutive pieces of a size that suits the library `xp`."""
    if xp is np:
        philox = np.random.Philox(key=np.array(key, dtype=np.uint64), counter=counter)
        for start in range(0, count, HOST_PIECE):
            yield philox.random_raw(min(HOST_PIECE, count - start))
    elif count > 0:
        yield philox_words(xp, key, counter, count)


def philox_words(xp, key: tuple[int, int], counter: int, count: int):
    """The first `count` words of the blocks counter + 1, counter + 2, ... under `key`.

    key: two integers in [0, 2^64). counter: an integer in [0, 2^256); as in NumPy it numbers the block before the first
    one made, and it wraps around. Returns (count,) uint64 of the library `xp`, equal to
    `numpy.random.Philox(key=key, counter=counter).random_raw(count)`.

    One round multiplies two of the block's four words, crosses the halves of the products over, and mixes in the key:

        (c0, c1, c2, c3) -> (high(M1 c2) ^ c1 ^ k0, low(M1 c2), high(M0 c0) ^ c3 ^ k1, low(M0 c0))

    x = (c0, c2) and y = (c1, c3) take both halves of it at once.
    """
    blocks = -(-count // WORDS_PER_BLOCK)
    c0, c1, c2, c3 = block_numbers(xp, counter + 1, blocks)
    x, y = xp.stack([c0, c2]), xp.stack([c1, c3])
    multipliers = xp.array([[m] for m in MULTIPLIERS], dtype=xp.uint64)
    round_keys = xp.array(
        [[[(k + r * step) % WORD_PERIOD] for k, step in zip(key, KEY_STEPS)] for r in range(ROUNDS)], dtype=xp.uint64
    )

    for round_key in round_keys:
        high, low = multiply_wide(xp, x, multipliers)
        x, y = high[::-1] ^ y ^ round_key, low[::-1]

    return xp.stack([x[0], y[0], x[1], y[1]], axis=1).reshape(-1)[:count]


def block_numbers(xp, first: int, blocks: int) -> tuple:
    """The 256-bit numbers first, first + 1, ... modulo 2^256: four (blocks,) uint64 arrays, the lowest words first."""
    carry = xp.arange(blocks, dtype=xp.uint64)
    words = []
    for place in range(4):
        digit = xp.uint64((first >> 64 * place) % WORD_PERIOD)
        word = carry + digit
        carry = (word < digit).astype(xp.uint64)  # a sum that wrapped around is less than what went in
        words.append(word)
    return tuple(words)


def multiply_wide(xp, x, m) -> tuple:
    """The high and the low 64 bits of the 128-bit products x m of uint64 arrays, by halves of 32 bits:

        x m = x1 m1 2^64 + (x1 m0 + x0 m1) 2^32 + x0 m0        with x = x1 2^32 + x0, m = m1 2^32 + m0
    """
    half, mask = xp.uint64(32), xp.uint64(2**32 - 1)
    x1, x0 = x >> half, x & mask
    m1, m0 = m >> half, m & mask
    # (2^32 - 1)^2 + 2 (2^32 - 1) = 2^64 - 1: no sum below can overflow.
    middle = x1 * m0 + (x0 * m0 >> half)
    carried = x0 * m1 + (middle & mask)
    return x1 * m1 + (middle >> half) + (carried >> half), x * m
