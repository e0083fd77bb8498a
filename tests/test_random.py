"""The laws of minidiff.random: the words are NumPy's, and what is made of them has the distribution it is named after.

Every statistical test draws a fresh seed and fails a correct generator with probability at most 1e-6 (ALARM, shared
out over the p-values of a test); the message of a failure holds the seed.
"""

import itertools
import json
import math
import secrets
import threading
import types
from collections import Counter

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from minidiff.random import Generator, generator
from minidiff.random.generator import box_muller, remainders, uniform
from minidiff.random.philox import HOST_PIECE, multiply_wide, philox_words, pieces_of_words
from minidiff.random.replay import noted, replayed

ALARM = 1e-6

words64 = st.integers(0, 2**64 - 1)
keys = st.tuples(words64, words64)
# Counters a few blocks below a power of 2^64: the carry runs through one, two, three or all four words.
counters = st.integers(0, 2**256 - 1) | st.builds(
    lambda place, below: 2 ** (64 * place) - below, st.integers(1, 4), st.integers(1, 9)
)
seeds = st.integers(0, 2**100) | st.lists(st.integers(0, 2**40), min_size=1, max_size=5)
lengths = st.integers(0, 70)
dtypes = st.sampled_from(["float32", "float64"])

# Not NumPy, so the words come from `philox_words`; it has only those of CuPy's functions that the generator may use.
OTHER_LIBRARY = types.SimpleNamespace(
    arange=np.arange, array=np.array, empty=np.empty, stack=np.stack, uint64=np.uint64,
    sqrt=np.sqrt, log=np.log, cos=np.cos, sin=np.sin,
)  # fmt: skip


def numpy_words(key, counter, count):
    return np.random.Philox(key=np.array(key, dtype=np.uint64), counter=counter).random_raw(count)


def assert_plausible(*p_values, seed):
    """No p-value below its share of ALARM."""
    assert min(p_values) > ALARM / len(p_values), f"p-values {p_values}, seed {seed}"


def grid_p_value(x, y, cells=16):
    """Chi-square of the joint histogram of two samples that are uniform in [0, 1): sees any dependence between them."""
    counts, _, _ = np.histogram2d(x, y, bins=cells, range=[[0, 1], [0, 1]])
    return stats.chisquare(counts.ravel()).pvalue


# The words.

# Random123's published known answers, tests/kat_vectors, "philox4x64 10": counter, key, result.
KNOWN_ANSWERS = [
    ("0000000000000000 0000000000000000 0000000000000000 0000000000000000", "0000000000000000 0000000000000000",
     "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
    ("ffffffffffffffff ffffffffffffffff ffffffffffffffff ffffffffffffffff", "ffffffffffffffff ffffffffffffffff",
     "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
    ("243f6a8885a308d3 13198a2e03707344 a4093822299f31d0 082efa98ec4e6c89", "452821e638d01377 be5466cf34e90c6c",
     "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6"),
]  # fmt: skip


@pytest.mark.parametrize("counter, key, answer", KNOWN_ANSWERS)
def test_a_block_is_the_published_answer(counter, key, answer):
    """Random123's vectors give the block's own number; ours is the number before it."""
    counter, key, answer = ([int(word, 16) for word in text.split()] for text in (counter, key, answer))
    before = (sum(word << 64 * place for place, word in enumerate(counter)) - 1) % 2**256
    assert philox_words(np, tuple(key), before, 4).tolist() == answer


@given(keys, counters, lengths)
def test_the_vectorized_words_are_numpys(key, counter, count):
    """Against numpy.random.Philox, with carries across the words of the counter and its wrap at 2^256."""
    words = philox_words(np, key, counter, count)
    assert words.dtype == np.uint64
    np.testing.assert_array_equal(words, numpy_words(key, counter, count))


@given(st.lists(words64, min_size=1, max_size=9), words64)
def test_the_wide_product_is_the_integer_product(x, m):
    """Against Python's integers."""
    high, low = multiply_wide(np, np.array(x, dtype=np.uint64), np.array([m], dtype=np.uint64))
    assert [int(h) * 2**64 + int(lo) for h, lo in zip(high, low)] == [value * m for value in x]


@pytest.mark.parametrize("count", [0, 4, HOST_PIECE - 1, HOST_PIECE, HOST_PIECE + 4, 3 * HOST_PIECE + 8])
def test_the_pieces_are_the_words(count):
    """Host pieces, and the one piece of another library, laid end to end."""
    key, counter = (secrets.randbits(64), secrets.randbits(64)), secrets.randbits(256)
    for library in (np, OTHER_LIBRARY):
        pieces = list(pieces_of_words(library, key, counter, count))
        joined = np.concatenate([np.empty(0, np.uint64), *pieces])
        np.testing.assert_array_equal(joined, numpy_words(key, counter, count))


# Place in the stream.


@given(seeds, lengths, dtypes)
def test_uniforms_are_numpys_bit_for_bit(seed, count, dtype):
    """Against numpy.random.Generator(Philox(seed)).random, for seeds that are integers and sequences."""
    ours = Generator(seed).random(count, dtype)
    theirs = np.random.Generator(np.random.Philox(seed)).random(count, dtype=dtype)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@given(seeds, st.lists(lengths, max_size=6))
def test_every_call_begins_at_the_next_whole_block(seed, counts):
    """The calls one after another, against NumPy's stream cut where blocks of four words end."""
    rng, stream = Generator(seed), np.random.Philox(seed)
    for count in counts:
        whole_blocks = stream.random_raw(-(-count // 4) * 4)
        np.testing.assert_array_equal(rng.random(count, "float64"), (whole_blocks[:count] >> np.uint64(11)) * 2.0**-53)


DRAWS = {
    "random": lambda rng, n, dtype: rng.random(n, dtype),
    "standard_normal": lambda rng, n, dtype: rng.standard_normal(n, dtype),
    "integers": lambda rng, n, dtype: rng.integers(-5, 3 * 2**61, n),  # a range that rejects one word in four
}


@given(seeds, st.sampled_from(sorted(DRAWS)), dtypes, lengths, st.sampled_from([1, 7, 40_000]))
def test_a_short_draw_is_the_beginning_of_a_longer_one(seed, name, dtype, count, more):
    """Two generators in the same state; the longer draw goes on over several pieces."""
    short = DRAWS[name](Generator(seed), count, dtype)
    long = DRAWS[name](Generator(seed), count + more, dtype)
    np.testing.assert_array_equal(short, long[:count])


@given(seeds, seeds, st.lists(st.tuples(st.sampled_from(sorted(DRAWS)), lengths), max_size=4), lengths, dtypes)
def test_a_saved_state_continues_the_stream(seed, other_seed, before, count, dtype):
    """Through JSON text, into a generator of another seed, in the middle of a stream."""
    rng = Generator(seed)
    for name, n in before:
        DRAWS[name](rng, n, dtype)
    resumed = Generator(other_seed)
    resumed.set_state(json.loads(json.dumps(rng.get_state())))
    for draw in DRAWS.values():
        np.testing.assert_array_equal(draw(resumed, count, dtype), draw(rng, count, dtype))
    np.testing.assert_array_equal(resumed.permutation(count), rng.permutation(count))
    assert resumed.get_state() == rng.get_state()


def test_the_counter_wraps_around():
    """The block after number 2^256 - 1 is number 0, and the state still loads."""
    rng = Generator(secrets.randbits(64))
    rng.set_state({**rng.get_state(), "counter": hex(2**256 - 2)})
    key = tuple(int(word, 16) for word in rng.get_state()["key"])
    words = numpy_words(key, 2**256 - 2, 12)
    np.testing.assert_array_equal(rng.random(12, "float64"), (words >> np.uint64(11)) * 2.0**-53)
    assert rng.get_state()["counter"] == "0x1"
    rng.set_state(rng.get_state())


@given(seeds, st.sampled_from([(), 0, 1, 5, (3, 0), (2, 3, 5), 50_000]), dtypes)
def test_every_library_draws_the_same_numbers(seed, size, dtype):
    """The host's pieces from NumPy's Philox against one piece of vectorized words, in every kind of draw."""
    host, device = Generator(seed), Generator(seed)
    device._xp = OTHER_LIBRARY
    for rng in (host, device):
        assert rng.random(size, dtype).shape == rng.standard_normal(size, dtype).shape == np.empty(size).shape
    for name in ("random", "standard_normal", "integers"):
        np.testing.assert_array_equal(DRAWS[name](host, size, dtype), DRAWS[name](device, size, dtype))
    np.testing.assert_array_equal(host.permutation(9), device.permutation(9))


def test_streams_of_one_seed_are_independent():
    """The joint histogram of the streams (seed,), (seed, 1), (seed, 2), pair by pair; false alarm 1e-6."""
    seed = secrets.randbits(32)
    streams = [Generator(entropy).random(2**17) for entropy in (seed, (seed, 1), (seed, 2))]
    assert_plausible(*(grid_p_value(x, y) for x, y in itertools.combinations(streams, 2)), seed=seed)


def test_streams_are_numbered_from_one():
    """Stream 0 is the seed itself, and stream 1 a seed beyond 2^32: NumPy's entropy, as the docstring warns."""
    assert Generator((5, 0)).get_state() == Generator(5).get_state()
    assert Generator((5, 1)).get_state() == Generator(5 + 2**32).get_state()


# Distributions.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniforms_are_the_leading_bits(dtype):
    """The smallest and the largest integer, and the step between: 0, 1 - 2^-p and 2^-p, p = 24 or 53."""
    width, precision = (32, 24) if dtype == "float32" else (64, 53)
    surplus = width - precision
    bits = np.array([0, 2**surplus - 1, 2**surplus, 2**width - 1], dtype=f"uint{width}")
    np.testing.assert_array_equal(uniform(np, bits, np.dtype(dtype)), [0, 0, 2.0**-precision, 1 - 2.0**-precision])


@given(dtypes, st.data())
def test_box_muller_is_its_formula(dtype, data):
    """Against 50 digits. The error is rounding of u1, which moves the radius r by eps / r, and of everything after."""
    width, eps = (32, 2**-23) if dtype == "float32" else (64, 2**-52)
    edges = st.sampled_from([0, 1, 2 ** (width - 2), 2 ** (width - 1), 2**width - 1])
    first, second = (data.draw(st.integers(0, 2**width - 1) | edges) for _ in range(2))
    values = box_muller(np, np.array([first, second], dtype=f"uint{width}"), np.dtype(dtype))
    assert values.dtype == dtype
    with mpmath.workdps(50):
        radius = mpmath.sqrt(-2 * mpmath.log(mpmath.mpf(first + 1) / 2**width))
        angle = 2 * mpmath.pi * second / 2**width
        expected = [float(radius * mpmath.cos(angle)), float(radius * mpmath.sin(angle))]
        bound = 8 * eps * float(radius) + min(2 * eps / float(radius + eps), 2 * math.sqrt(eps))
    np.testing.assert_allclose(values, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("dtype, largest", [("float32", 6.66), ("float64", 9.41)])
def test_normals_are_finite_and_reach_far_into_the_tail(dtype, largest):
    """All four corners of (u1, u2): the logarithm never meets 0, and float32 gets beyond the 5.8 sigma of 24 bits."""
    width = 8 * np.dtype(dtype).itemsize
    top = 2**width - 1
    values = box_muller(np, np.array([0, 0, 0, top, top, 0, top, top], dtype=f"uint{width}"), np.dtype(dtype))
    assert np.isfinite(values).all()
    assert values[0] == pytest.approx(math.sqrt(2 * width * math.log(2)), rel=1e-6) and values[0] > largest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normals_have_the_moments_shape_and_tail_of_a_normal(dtype):
    """Mean, variance (chi-square), third and fourth moment, Kolmogorov-Smirnov, how many beyond 4; false alarm 1e-6."""
    seed, n = secrets.randbits(64), 2**20
    z = Generator(seed).standard_normal(n, dtype).astype(np.float64)
    variance_tail = stats.chi2.cdf(np.sum(z**2), n)
    assert_plausible(
        2 * stats.norm.sf(abs(z.mean()) * math.sqrt(n)),
        2 * min(variance_tail, 1 - variance_tail),
        2 * stats.norm.sf(abs(np.mean(z**3)) / math.sqrt(15 / n)),
        2 * stats.norm.sf(abs(np.mean(z**4) - 3) / math.sqrt(96 / n)),
        stats.kstest(z[: 2**17], "norm").pvalue,
        stats.binomtest(int(np.sum(np.abs(z) > 4)), n, 2 * stats.norm.sf(4)).pvalue,
        seed=seed,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_two_branches_and_neighbouring_pairs_are_independent(dtype):
    """Joint histograms of cosine and sine branch, of sine and next cosine, of next cosines; false alarm 1e-6."""
    seed = secrets.randbits(64)
    probabilities = stats.norm.cdf(Generator(seed).standard_normal(2**18, dtype))
    cosine, sine = probabilities[0::2], probabilities[1::2]
    pairs = [(cosine, sine), (sine[:-1], cosine[1:]), (cosine[:-1], cosine[1:])]
    assert_plausible(*(grid_p_value(x, y) for x, y in pairs), seed=seed)


@given(seeds, st.lists(st.integers(-(2**63), 2**63), min_size=2, max_size=2, unique=True).map(sorted), lengths)
def test_integers_are_the_kept_words_modulo_the_range(seed, bounds, count):
    """Against the rule in Python's integers, word after word: skip those beyond the last multiple of the range."""
    low, high = bounds
    n = high - low
    words = map(int, np.random.Philox(seed).random_raw(600))  # at worst one word in two is skipped
    expected = [low + word % n for word in words if word < 2**64 // n * n][:count]
    drawn = Generator(seed).integers(low, high, count)
    assert isinstance(drawn, np.ndarray) and drawn.dtype == np.int64
    assert drawn.tolist() == expected


@given(st.integers(1, 2**64))
def test_rejection_leaves_as_many_words_for_every_remainder(n):
    """The words kept are 0 .. k n - 1 with k n the largest multiple up to 2^64: tried on both sides of the edge."""
    end = 2**64 // n * n
    edge = [word for word in (0, end - 1, end, 2**64 - 1) if word < 2**64]
    kept = remainders(np.array(edge, dtype=np.uint64), n).tolist()
    assert kept == [word % n for word in edge if word < end]


@pytest.mark.parametrize("low, high", [(0, 2), (-3, 4), (0, 1000), (-(2**62), 2**63), (-(2**63), 2**63)])
def test_integers_are_uniform(low, high):
    """Chi-square over up to 12 equal parts of the range; 3 * 2^62 values would show a missing rejection. 1e-6."""
    seed, n = secrets.randbits(64), high - low
    drawn = Generator(seed).integers(low, high, 2**16)
    assert drawn.min() >= low and drawn.max() < high
    cells = max(k for k in range(1, 13) if n % k == 0)
    counts = Counter((int(value) - low) * cells // n for value in drawn)
    assert_plausible(stats.chisquare([counts[cell] for cell in range(cells)]).pvalue, seed=seed)


@given(seeds, st.integers(0, 300))
def test_a_permutation_holds_every_integer_once(seed, n):
    """Sorted, it is 0 .. n-1."""
    order = Generator(seed).permutation(n)
    assert order.dtype == np.int64 and isinstance(order, np.ndarray)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_all_permutations_are_equally_likely():
    """Chi-square over the 24 orders of 4 in 12000 permutations; false alarm 1e-6."""
    seed = secrets.randbits(64)
    rng = Generator(seed)
    counts = Counter(tuple(rng.permutation(4).tolist()) for _ in range(12000))
    assert_plausible(
        stats.chisquare([counts[order] for order in itertools.permutations(range(4))]).pvalue, seed=seed
    )


def test_a_permutation_with_equal_words_is_drawn_again(monkeypatch):
    """Words with a tie first, then without: the order is that of the second."""
    draws = iter([[5, 9, 5, 0], [7, 1, 9, 3]])
    monkeypatch.setattr(generator, "pieces_of_words", lambda *args: [np.array(next(draws), dtype=np.uint64)])
    assert Generator(0).permutation(4).tolist() == [1, 3, 0, 2]


# Refusals.


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda rng: Generator(-1), ValueError, "seed must be an integer >= 0"),
        (lambda rng: Generator((3, -1)), ValueError, "seed must be an integer >= 0"),
        (lambda rng: Generator([]), ValueError, "seed must be an integer >= 0"),
        (lambda rng: Generator(1.5), TypeError, "seed must be an integer, got 1.5"),
        (lambda rng: Generator(None), TypeError, "seed must be an integer, got None"),
        (lambda rng: Generator("7"), TypeError, "seed must be an integer, got '7'"),
        (lambda rng: rng.random(3, "float16"), ValueError, "random: dtype must be float32 or float64, got 'float16'"),
        (lambda rng: rng.standard_normal(3, "real"), ValueError, "dtype must be float32 or float64, got 'real'"),
        (lambda rng: rng.standard_normal(3, np.int64), ValueError, "dtype must be float32 or float64"),
        (lambda rng: rng.random(3, None), ValueError, "dtype must be float32 or float64, got None"),
        (lambda rng: rng.random((2, -1)), ValueError, "random: size must not be negative"),
        (lambda rng: rng.random(2.0), TypeError, "random: size must be an integer, got 2.0"),
        (lambda rng: rng.integers(3, 3, 1), ValueError, "low must be less than high"),
        (lambda rng: rng.integers(0, 2**63 + 1, 1), ValueError, "must fit into int64"),
        (lambda rng: rng.integers(0.5, 3, 1), TypeError, "integers: low must be an integer, got 0.5"),
        (lambda rng: rng.integers(0, 3, -1), ValueError, "integers: size must not be negative"),
        (lambda rng: rng.permutation(-1), ValueError, "permutation: n must be 0 or more, got -1"),
    ],
)
def test_bad_arguments_are_refused_and_draw_nothing(call, error, message):
    """The error names the argument and what came; the state is what it was."""
    rng = Generator(0)
    before = rng.get_state()
    with pytest.raises(error, match=message):
        call(rng)
    assert rng.get_state() == before


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": "PCG64"}, {"key": ["0x1"]}, {"key": "0x1"}, {"key": ["0x1", "0x1" + 16 * "0"]}, {"key": [1, 2]},
        {"counter": 3}, {"counter": "-0x1"}, {"counter": "0x1" + 64 * "0"}, {"counter": "x"}, {"more": 0},
    ],
)  # fmt: skip
def test_a_bad_state_is_refused_and_changes_nothing(change):
    """One entry of a good state made bad; also what is no dict at all, and a dict with an entry missing."""
    rng = Generator(3)
    rng.random(7)
    before = rng.get_state()
    for state in ({**before, **change}, list(before), {"algorithm": before["algorithm"]}):
        with pytest.raises(ValueError, match=r"^set_state: "):
            rng.set_state(state)
    assert rng.get_state() == before


# Drawing again.


def test_every_generator_that_draws_is_noted_with_the_state_it_had():
    """By any kind of draw, once, in this thread only, in every context around; what does not draw is not noted."""
    drawn = [Generator(n) for n in range(5)]
    idle, elsewhere = Generator(8), Generator(9)
    for rng in drawn:
        rng.random(3)
    before = [rng.get_state() for rng in drawn]
    with noted() as outer:
        drawn[0].random(5)
        with noted() as inner:
            for rng, draw in zip(drawn, [*DRAWS.values(), lambda rng, n, dtype: rng.permutation(n)]):
                draw(rng, 7, "float32")
                draw(rng, 7, "float32")
            thread = threading.Thread(target=lambda: elsewhere.random(3))
            thread.start()
            thread.join()
            idle.get_state()
        drawn[4].random(1)
    drawn[0].random(2)
    assert [outer[rng] for rng in drawn] == before and len(outer) == 5
    assert set(inner) == set(drawn[:4]) and inner[drawn[1]] == before[1] and inner[drawn[0]] != before[0]


def test_a_replay_draws_the_same_numbers_and_leaves_no_trace():
    """The generators stand afterwards where they stood, also when the replay fails; an outer note does not see it."""
    rng, other = Generator(3), Generator(4)
    with noted() as states:
        first = rng.random(5), other.integers(0, 9, 3)
    rng.random(100)
    stood = rng.get_state(), other.get_state()
    with noted() as outer:
        with pytest.raises(KeyError), replayed(states):
            again = rng.random(5), other.integers(0, 9, 3)
            raise KeyError
        with replayed({}), noted() as inside:
            rng.random(1)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    assert (inside[rng], other.get_state()) == stood and not outer
