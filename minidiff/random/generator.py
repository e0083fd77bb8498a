"""`Generator`: from random words to uniforms, normals, integers and permutations, and the place in the stream.

Stands on `philox.py` for the words and on `backend` for the array library. Nothing in minidiff draws from anything
else.
"""

import copy
import math
import operator
from collections.abc import Sequence

import numpy as np

from ..backend import get_library
from .philox import COUNTER_PERIOD, WORD_PERIOD, WORDS_PER_BLOCK, pieces_of_words
from .replay import note

ALGORITHM = "Philox4x64-10"


class Generator:
    """A stream of random numbers that depends on the seed alone: Philox4x64-10, NumPy's `Philox(seed)` word for word.

    seed: an integer >= 0, or a sequence of them, which is NumPy's `SeedSequence` entropy: `Generator((seed, 1))`,
    `Generator((seed, 2))`, ... are streams independent of `Generator(seed)` and of one another. Number them from 1 and
    keep seeds below 2^32: SeedSequence pads with zeros and cuts large integers into 32-bit parts, so `(seed, 0)` is
    `seed` itself and `(seed, 1)` is `seed + 2**32`.
    device: where `random` and `standard_normal` make their arrays, "cpu" or "cuda". The words, and so the uniforms, are
    the same bits on every device; the normals, which pass through log, sqrt, cos and sin, agree to rounding.

    **Blocks.** Every call begins at a fresh block of four words and leaves the rest of its last block unused. So the
    place in the stream is one integer, and a short draw is the beginning of a longer one made from the same state, but
    two draws of 3 are not one draw of 6.

    Raises TypeError for a seed that is not made of integers, ValueError for a negative or an empty one.
    """

    def __init__(self, seed: int | Sequence[int], device: str = "cpu"):
        self._xp = get_library(device)
        key = np.random.SeedSequence(_entropy(seed)).generate_state(2, np.uint64)
        self._key = (int(key[0]), int(key[1]))
        self._counter = 0

    def random(self, size: int | tuple[int, ...], dtype="float32"):
        """Independent uniforms in [0, 1), on the generator's device: see `uniform`. dtype: float32 or float64.

        On a fresh generator bit for bit `numpy.random.Generator(numpy.random.Philox(seed)).random(size, dtype)`.
        Raises ValueError for a negative size or another dtype.
        """
        return self._fill("random", uniform, size, dtype)

    def standard_normal(self, size: int | tuple[int, ...], dtype="float32"):
        """Independent standard normals, on the generator's device: see `box_muller`. dtype: float32 or float64.

        Raises ValueError for a negative size or another dtype.
        """
        return self._fill("standard_normal", box_muller, size, dtype)

    def integers(self, low: int, high: int, size: int | tuple[int, ...]) -> np.ndarray:
        """Independent integers, each of low ... high - 1 with exactly the same probability: int64, on the host.

        Words beyond the last whole multiple of high - low are left out, the others taken modulo high - low.
        Raises ValueError for an empty range, one outside int64, or a negative size.
        """
        low, high = _integer(low, "integers: low"), _integer(high, "integers: high")
        if not low < high:
            raise ValueError(f"integers: low must be less than high (high is not drawn), got low={low}, high={high}")
        if low < -(2**63) or high > 2**63:
            raise ValueError(f"integers: low and high - 1 must fit into int64, got low={low}, high={high}")
        shape = _shape("integers", size)
        count = math.prod(shape)
        offsets = np.empty(0, dtype=np.uint64)
        while len(offsets) < count:
            offsets = np.concatenate([offsets, remainders(self._host_words(count - len(offsets)), high - low)])
        # In uint64, modulo 2^64: an offset may be larger than int64 holds even where low + offset is not.
        return (offsets[:count] + np.uint64(low % WORD_PERIOD)).view(np.int64).reshape(shape)

    def permutation(self, n: int) -> np.ndarray:
        """The integers 0 .. n-1, each of the n! orders with exactly the same probability: (n,) int64 on the host.

        It is the order that sorts n words. Two equal words (one time in 2^65 / n^2) have no order: then all are drawn
        again.
        Raises ValueError for a negative n.
        """
        n = _integer(n, "permutation: n")
        if n < 0:
            raise ValueError(f"permutation: n must be 0 or more, got {n}")
        while True:
            words = self._host_words(n)[:n]
            order = np.argsort(words)
            ascending = words[order]
            if np.all(ascending[:-1] < ascending[1:]):
                return order.astype(np.int64, copy=False)

    def __deepcopy__(self, memo: dict) -> "Generator":
        """A stream of its own at the same place: what a copied model draws from."""
        return copy.copy(self)

    def get_state(self) -> dict:
        """The place in the stream, in strings, which JSON keeps exactly: {"algorithm", "key": two words, "counter"}.

        The state does not hold the device: one saved on the GPU continues on the CPU.
        """
        return {"algorithm": ALGORITHM, "key": [f"{word:#x}" for word in self._key], "counter": f"{self._counter:#x}"}

    def set_state(self, state: dict) -> None:
        """Continue where `get_state` was called. Raises ValueError, and changes nothing, for any other value."""
        if not isinstance(state, dict) or state.keys() != {"algorithm", "key", "counter"}:
            raise ValueError(f"set_state: expected what get_state returns (algorithm, key, counter), got {state!r}")
        if state["algorithm"] != ALGORITHM:
            raise ValueError(f"set_state: this generator is {ALGORITHM}, the state is of {state['algorithm']!r}")
        if not isinstance(state["key"], (list, tuple)) or len(state["key"]) != 2:
            raise ValueError(f"set_state: key must be two hexadecimal strings, got {state['key']!r}")
        key = tuple(_parse_hexadecimal("key", word, WORD_PERIOD) for word in state["key"])
        counter = _parse_hexadecimal("counter", state["counter"], COUNTER_PERIOD)
        self._key, self._counter = key, counter

    def _fill(self, name: str, formula, size, dtype):
        shape, dtype = _shape(name, size), _float_dtype(name, dtype)
        xp = self._xp
        out = xp.empty(math.prod(shape), dtype=dtype)
        start = 0
        for words in self._words(xp, -(-out.size * dtype.itemsize // 8)):
            values = formula(xp, parts(words, dtype), dtype)[: out.size - start]
            out[start : start + values.size] = values
            start += values.size
        return out.reshape(shape)

    def _host_words(self, count: int) -> np.ndarray:
        return np.concatenate([np.empty(0, dtype=np.uint64), *self._words(np, count)])

    def _words(self, xp, count: int):
        """The next `count` words in pieces, rounded up to whole blocks; the counter moves behind them."""
        note(self)
        blocks = -(-count // WORDS_PER_BLOCK)
        pieces = pieces_of_words(xp, self._key, self._counter, blocks * WORDS_PER_BLOCK)
        self._counter = (self._counter + blocks) % COUNTER_PERIOD
        return pieces


def parts(words, dtype: np.dtype):
    """(n,) words as unsigned integers as wide as `dtype`: for float32 their halves, the low one first."""
    return words.astype("<u8", copy=False).view(f"<u{dtype.itemsize}")


def uniform(xp, bits, dtype: np.dtype):
    """Uniforms in [0, 1): the highest p bits of each integer, p the precision of `dtype` (24 or 53), as a fraction:

        u = floor(bits / 2^(width - p)) 2^-p          each multiple of 2^-p in [0, 1) with the same probability
    """
    precision = int(np.finfo(dtype).nmant) + 1
    surplus = bits.dtype.type(8 * bits.itemsize - precision)
    return (bits >> surplus).astype(dtype) * 2.0**-precision


def box_muller(xp, bits, dtype: np.dtype):
    """Standard normals, two from every two integers of `width` (32 or 64) bits (Box and Muller 1958):

        z1 = sqrt(-2 log u1) cos(2 pi u2)           u1 = (first + 1) / 2^width  in (0, 1]
        z2 = sqrt(-2 log u1) sin(2 pi u2)           u2 = second / 2^width       in [0, 1]

    u1 is never 0, so the logarithm is finite. It keeps all bits of its integer, more than the 24 or 53 of a uniform:
    small u1 are the tail of the normal, and floating point holds them. The largest |z| is sqrt(2 width log 2), 6.66 for
    float32 and 9.42 for float64; 2.7e-11 and 4.5e-21 of a normal distribution lie beyond.

    bits: (2k,) unsigned integers. Returns (2k,): z1, z2, z1, z2, ...
    """
    scale = 2.0 ** -(8 * bits.itemsize)
    u1 = (bits[0::2].astype(dtype) + 1) * scale
    angle = bits[1::2].astype(dtype) * (2 * math.pi * scale)
    radius = xp.sqrt(-2 * xp.log(u1))
    return xp.stack([radius * xp.cos(angle), radius * xp.sin(angle)], axis=1).reshape(-1)


def remainders(words: np.ndarray, n: int) -> np.ndarray:
    """The words modulo n (1 <= n <= 2^64), without those from the last multiple of n in [0, 2^64] on.

    So as many of the 2^64 words lead to one remainder as to any other.
    """
    kept = words[words <= np.uint64(WORD_PERIOD - 1 - WORD_PERIOD % n)]
    return kept % np.uint64(n) if n < WORD_PERIOD else kept


def _entropy(seed) -> int | list[int]:
    is_sequence = isinstance(seed, Sequence) and not isinstance(seed, str)
    values = [_integer(value, "Generator: seed") for value in (seed if is_sequence else [seed])]
    if not values or min(values) < 0:
        raise ValueError(f"Generator: seed must be an integer >= 0 or a sequence of them, got {seed!r}")
    return values if is_sequence else values[0]


def _integer(value, what: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{what} must be an integer, got {value!r}") from None


def _shape(name: str, size) -> tuple[int, ...]:
    shape = tuple(_integer(n, f"{name}: size") for n in (size if isinstance(size, (tuple, list)) else (size,)))
    if any(n < 0 for n in shape):
        raise ValueError(f"{name}: size must not be negative, got {size}")
    return shape


def _float_dtype(name: str, dtype) -> np.dtype:
    try:
        resolved = None if dtype is None else np.dtype(dtype)  # np.dtype(None) would be float64
    except TypeError:
        resolved = None
    if resolved is None or resolved not in (np.float32, np.float64):
        raise ValueError(f"{name}: dtype must be float32 or float64, got {dtype!r}")
    return resolved


def _parse_hexadecimal(what: str, text, end: int) -> int:
    try:
        value = int(text, 16)
    except (TypeError, ValueError):
        value = -1
    if not 0 <= value < end:
        bits = end.bit_length() - 1
        raise ValueError(f"set_state: {what} must be a hexadecimal number of at most {bits} bits, got {text!r}")
    return value
