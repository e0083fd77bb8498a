"""Normalization: every member of the family in 0 to 3 dimensions of positions, with and without each parameter, empty batches."""

import inspect
import math

import numpy as np
from hypothesis import strategies as st

from minidiff import functional

from .case import Call, Case, Fixed, shapes, values

SOME, NONE = st.integers(1, 4), st.just(0)  # samples
POSITIONS = st.sampled_from([(), (1,), (3,), (5,), (2, 3), (3, 3), (4, 1), (2, 1, 3)])


def epsilon(draw, together):
    """{} or {"eps": ...}. Two numbers normalized together may have so small a deviation that dividing by it makes rounding visible."""
    return draw(st.sampled_from([{}, {"eps": 1e-5}, {"eps": 1e-3}, {"eps": 0.1}] if together > 2 else [{"eps": 0.1}, {"eps": 1.0}]))


def away_from_zero(source, *shape):
    """No vector is so short that dividing by its length makes rounding visible."""
    x = source(*shape)
    return np.asarray(x + 2.0 * np.sign(x))


def optional(draw, source, *shape):
    return source(*shape) if draw(st.booleans()) else None


@st.composite
def group_norms(draw, batch=SOME):
    source, groups, each = draw(values()), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    positions, n, c = draw(POSITIONS), draw(batch), groups * each
    together = each * math.prod(positions)
    if n * together == 1:
        n = 2
    x, weight, bias, eps = source(n, c, *positions), optional(draw, source, c), optional(draw, source, c), epsilon(draw, together)
    return draw(st.sampled_from([Call((x, groups, weight, bias), eps), Call((x, groups), {"weight": weight, "bias": bias, **eps}),
                                 Call((x, groups, weight, bias, *eps.values())), Call((x,), {"num_groups": groups, **eps})]))


@st.composite
def layer_norms(draw, smallest=1):
    source, lead, shape = draw(values()), draw(shapes(least=1 - smallest, most=3, smallest=smallest)), draw(shapes(least=1, most=3))
    weight, bias, eps = optional(draw, source, *shape), optional(draw, source, *shape), epsilon(draw, math.prod(shape))
    x, shape = source(*lead, *shape), draw(st.sampled_from([tuple, list]))(shape)
    return draw(st.sampled_from([Call((x, shape, weight, bias, *eps.values())), Call((x, shape), {"bias": bias, **eps}),
                                 Call((x,), {"normalized_shape": shape, "weight": weight, **eps})]))


@st.composite
def rms_norms(draw):
    source, lead, shape = draw(values()), draw(shapes(most=3, smallest=0)), draw(shapes(least=1, most=3))
    weight, eps = optional(draw, source, *shape), draw(st.sampled_from([None, 1e-6, 0.1]))
    return Call((away_from_zero(source, *lead, *shape), list(shape), weight), {} if eps is None else {"eps": eps})


@st.composite
def by_channel(draw, training, least=0, batch=SOME):
    """Arguments of instance_norm and batch_norm: running statistics are not differentiated, and always there where they are used."""
    source, c, n = draw(values()), draw(st.integers(1, 4)), draw(batch)
    positions = draw(POSITIONS.filter(lambda p: len(p) >= least))
    together = math.prod(positions) * (n if training == "training" else 1)
    if together == 1:  # refused
        n, positions = (2, positions) if training == "training" else (n, (*positions[:-1], 2))
        together = 2
    uses = draw(st.booleans())
    running = (None, None)
    if not uses or draw(st.booleans()):
        running = Fixed(source(c)), Fixed(0.1 + source(c, positive=True))
    weight, bias = optional(draw, source, c), optional(draw, source, c)
    x, eps, momentum = source(n, c, *positions), epsilon(draw, together), draw(st.sampled_from([0.1, 0.5]))
    return draw(st.sampled_from([Call((x, *running, weight, bias), {training: uses, "momentum": momentum, **eps}),
                                 Call((x, *running), {training: uses, "bias": bias, **eps}),
                                 Call((x, *running, weight, bias, uses, momentum, *eps.values()))]))


@st.composite
def normalized(draw):
    source, shape = draw(values()), draw(shapes(least=1, smallest=0))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    several = tuple(sorted(draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    p = draw(st.sampled_from([2.0, 2, 1.0, 3.0, 4, 0.5, 2.5, float("inf"), float("-inf"), -1.0]))
    if 0 in shape:
        p = 2.0  # PyTorch refuses some others
    x = away_from_zero(source, *shape)
    options = [Call((x, p, dim)), Call((x,), {"p": p, "dim": several}), Call((source(*shape), 2.0, dim, 1.5)),
               Call((source(*shape),), {"dim": dim, "eps": 0.25})]
    return draw(st.sampled_from([*options, Call((x,))] if len(shape) > 1 else options))


@st.composite
def similarities(draw):
    source, shape = draw(values()), draw(shapes(least=1, smallest=0))
    one = tuple(1 if draw(st.booleans()) else n for n in shape)
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    pair = draw(st.permutations([away_from_zero(source, *shape), away_from_zero(source, *one)]))
    return draw(st.sampled_from([Call((*pair, dim)), Call(tuple(pair), {"dim": dim, "eps": 1e-6}),
                                 Call((pair[0],), {"x2": pair[1], "dim": dim})]))


@st.composite
def batches(draw):
    source, c, n, positions = draw(values()), draw(st.integers(1, 4)), draw(st.integers(0, 4)), draw(POSITIONS)
    each_sample = draw(st.booleans()) and math.prod(positions) > 1
    if not each_sample and n * math.prod(positions) == 1:
        n = 2
    return Call((Fixed(source(n, c, *positions)), Fixed(source(c)), Fixed(source(c, positive=True)), draw(st.sampled_from([0.1, 0.7]))),
                {"each_sample": each_sample})


def with_weight(name):
    """PyTorch's function, with a weight of ones where there is none: without one it cannot give every second derivative."""

    def theirs(torch):
        def function(*args, **kwargs):
            bound = inspect.signature(getattr(functional, name)).bind(*args, **kwargs).arguments
            if bound.get("weight") is None:
                shape = bound.get("normalized_shape", bound["input"].shape[1:2])
                bound["weight"] = torch.ones(shape, dtype=bound["input"].dtype)
            return getattr(torch.nn.functional, name)(**bound)

        return function

    return theirs


def running_statistics(torch):
    """What PyTorch writes into its arguments."""

    def statistics(input, mean, var, momentum, each_sample):
        mean, var = mean.clone(), var.clone()
        if not input.numel():
            return mean, var
        if each_sample:
            torch.nn.functional.instance_norm(input, mean, var, momentum=momentum)
        else:
            torch.nn.functional.batch_norm(input, mean, var, training=True, momentum=momentum)
        return mean, var

    return statistics


X = np.ones((2, 4, 3))
W, TWO = np.ones(4), np.ones(2)
INTEGERS = np.ones((2, 4, 3), np.int64)

CASES = [
    Case("group_norm", group_norms(), theirs=with_weight("group_norm"), tolerance=1e-10, refused=(
        Call((X, 3)), Call((X, -1)), Call((X, 2, np.ones(3))), Call((X, 2, None, np.ones((4, 1)))), Call((X[0, 0], 1)),
        Call((X[:1, :, :1], 4)), Call((INTEGERS, 2)))),
    Case("layer_norm", layer_norms(), theirs=with_weight("layer_norm"), tolerance=1e-10, refused=(
        Call((X, (4,))), Call((X, ())), Call((X, 3)), Call((X, (2, 4, 3, 1))), Call((X, (3,), W)), Call((X, (4, 3), None, W)),
        Call((INTEGERS, (3,))))),
    Case("instance_norm", by_channel("use_input_stats", 1), theirs=with_weight("instance_norm"), tolerance=1e-10, refused=(
        Call((X[:, :, 0],)), Call((X[:, :, :1],)), Call((X, W)), Call((X, None, W)), Call((X, TWO, TWO)),
        Call((X,), {"use_input_stats": False}), Call((X,), {"weight": TWO}), Call((X,), {"bias": TWO}), Call((INTEGERS,)))),
    Case("batch_norm", by_channel("training"), theirs=with_weight("batch_norm"), tolerance=1e-10, refused=(
        Call((X, None, None)), Call((X, W, None)), Call((X, None, W, None, None, True)), Call((X, W, TWO)), Call((X, W, W, TWO)),
        Call((X, W, W), {"bias": TWO}), Call((X[:1, :, :1], W, W), {"training": True}), Call((X, W, W), {"training": True, "eps": 0.0}),
        Call((X, W, W), {"eps": -1.0}), Call((X[0, 0], None, None), {"training": True}), Call((INTEGERS, None, None), {"training": True}))),
    Case("group_norm", group_norms(NONE), label="of nothing", peer_order=0, examples=5),
    Case("layer_norm", layer_norms(smallest=0), label="of nothing", peer_order=0, examples=5),
    Case("instance_norm", by_channel("use_input_stats", 1, NONE), label="of nothing", no_peer="PyTorch cannot do all of these", examples=5),
    Case("batch_norm", by_channel("training", 0, NONE), label="of nothing", peer_order=0, examples=5),
    Case("running_statistics", batches(), theirs=running_statistics, order=0),
    Case("rms_norm", rms_norms(), tolerance=1e-10, refused=(
        Call((X, (4,))), Call((X, ())), Call((X, 3)), Call((X, (3,), W)), Call((INTEGERS, (3,))))),
    Case("normalize", normalized(), examples=40, tolerance=1e-10, refused=(
        Call((W,)), Call((X, 2.0, 3)), Call((INTEGERS,)), Call((X, 2.0, (1, 1))))),
    Case("cosine_similarity", similarities(), tolerance=1e-10, refused=(
        Call((W, W)), Call((X, np.ones((2, 4, 2)))), Call((INTEGERS, INTEGERS)), Call((X, X, 3)))),
]
