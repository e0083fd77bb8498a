"""Losses: every reduction, weights, classes by index and by probability, in any number of dimensions."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, Fixed, broadcastable, shapes, values

REDUCTIONS = st.sampled_from([{}, {"reduction": "mean"}, {"reduction": "sum"}, {"reduction": "none"}])


def option(draw, name, strategy):
    return {name: draw(strategy)} if draw(st.booleans()) else {}


@st.composite
def pairs(draw, extra=None, weighted=False, legacy=True):
    source, shape = draw(values()), draw(shapes(smallest=0))
    options = {**draw(REDUCTIONS), **(option(draw, *extra) if extra else {})}
    if weighted and draw(st.booleans()):
        options["weight"] = source(*shape, positive=True)
    x, y = source(*shape), source(*shape)
    if draw(st.booleans()) and len(options) == 2 and legacy:
        return Call((x, y, None, None, *options.values()))
    return Call((x, y), options) if draw(st.booleans()) else Call((x,), {"target": y, **options})


@st.composite
def hubers(draw):
    """Here nothing stands between target and reduction."""
    call = draw(pairs(("delta", st.sampled_from([0.25, 1.0, 5.0])), weighted=True, legacy=False))
    return Call((*call.args, *call.kwargs.values())) if list(call.kwargs) == ["reduction", "delta", "weight"] else call


def class_shapes(draw):
    """(input shape, target shape, number of classes)"""
    n, c = draw(st.integers(0, 4)), draw(st.integers(1, 5))
    positions = draw(st.sampled_from([None, (), (3,), (2, 3), (0,), (1, 2, 2)]))
    return ((c,), (), c) if positions is None else ((n, c, *positions), (n, *positions), c)


@st.composite
def by_index(draw, smoothing=False):
    source, (shape, target, c) = draw(values()), class_shapes(draw)
    ignored = draw(st.sampled_from([None, -100, 0, -1]))
    labels = source.integers(0, c, target)
    if ignored is not None:
        labels = np.where(source.booleans(target) & source.booleans(target), ignored, labels)
    options = {**draw(REDUCTIONS), **({} if ignored in (None, -100) else {"ignore_index": ignored})}
    if smoothing:
        options |= option(draw, "label_smoothing", st.sampled_from([0.1, 0.9, 1.0, 0.0]))
    if labels.size and (labels == options.get("ignore_index", -100)).all():
        options["reduction"] = "none"  # the mean of nothing is NaN, and has no derivative
    if draw(st.booleans()):
        weight = Fixed(source(c, positive=True))
        return Call((3 * source(*shape), labels, weight), options) if draw(st.booleans()) else Call((source(*shape), labels), {
            **options, "weight": weight})
    return Call((3 * source(*shape), np.asarray(labels)), options)


@st.composite
def by_probability(draw):
    source, (shape, _, c) = draw(values()), class_shapes(draw)
    options = {**draw(REDUCTIONS), **option(draw, "label_smoothing", st.sampled_from([0.1, 0.9, 1.0]))}
    if draw(st.booleans()):
        options["weight"] = Fixed(source(c, positive=True))
    return Call((source(*shape), source(*shape, positive=True)), options)


@st.composite
def binary(draw, weights, probabilities):
    """Weights may broadcast to the input."""
    source, (shape, *others) = draw(values()), draw(broadcastable(1 + len(weights), smallest=0))
    shape = np.broadcast_shapes(shape, *others)
    x = np.asarray(0.1 + source(*shape, positive=True) / 2.5 if probabilities else 4 * source(*shape))
    options = {**draw(REDUCTIONS), **{name: Fixed(source(*other, positive=True))
                                      for name, other in zip(weights, others) if draw(st.booleans())}}
    return Call((x, source(*shape, positive=True)), options)


def in_unit_interval(call):
    """Large arrays of `values()` leave [0, 1]."""
    return all(not x.size or (x.min() >= 0 and x.max() <= 1) for x in call.args)


@st.composite
def divergences(draw):
    source, shape = draw(values()), draw(shapes(smallest=0))
    options = {**draw(st.one_of(REDUCTIONS, st.just({"reduction": "batchmean"}))), **option(draw, "log_target", st.booleans())}
    return Call((source(*shape), source(*shape, positive=True)), options)


X, Y = np.ones((2, 3)), np.ones(3)
LABELS = np.array([0, 2])
INTEGERS = np.ones((2, 3), np.int64)
BAD = Call((X, X), {"reduction": "average"})

CASES = [
    Case("mse_loss", pairs(weighted=True), refused=(BAD, Call((X, X), {"weight": Y}), Call((INTEGERS, INTEGERS)))),
    Case("l1_loss", pairs(weighted=True), peer_order=1, refused=(BAD, Call((X, X), {"weight": Y}))),
    Case("huber_loss", hubers(), refused=(BAD, Call((X, X, "mean", 0.0)), Call((X, X), {"delta": -1.0}), Call((X, X), {"weight": Y}))),
    Case("smooth_l1_loss", pairs(("beta", st.sampled_from([0.25, 1.0, 5.0]))), refused=(BAD, Call((X, X), {"beta": -1.0}))),
    Case("smooth_l1_loss", pairs(("beta", st.just(0.0))), label="sharp", peer_order=1, examples=10),
    Case("nll_loss", by_index(), refused=(
        Call((X, np.array([0, 3]))), Call((X, np.array([-1, 0]))), Call((X, np.zeros(3, np.int64))), Call((X, X)),
        Call((X, LABELS, np.ones(2))), Call((np.ones(()), np.array(0))), Call((X, LABELS), {"reduction": "average"}),
        Call((INTEGERS, LABELS)))),
    Case("cross_entropy", by_index(smoothing=True), label="by index", examples=40, refused=(
        Call((X, np.array([0, 3]))), Call((X, np.array([-1, 0]))), Call((X, np.zeros(3, np.int64))), Call((X, LABELS, np.ones(2))),
        Call((X, INTEGERS)), Call((X, np.array([0.0, 1.0]))), Call((X, LABELS), {"reduction": "average"}),
        Call((X, LABELS), {"label_smoothing": 1.5}), Call((np.ones(()), np.array(0))), Call((INTEGERS, LABELS)))),
    Case("cross_entropy", by_probability(), label="by probability", examples=30, refused=(
        Call((X, X[:, :2])), Call((X, X, np.ones(2))), Call((X, X), {"ignore_index": 0}))),
    Case("binary_cross_entropy_with_logits", binary(("weight", "pos_weight"), False), refused=(
        BAD, Call((X, Y)), Call((X, X, np.ones(2))), Call((X, X), {"pos_weight": np.ones((4, 2, 3))}), Call((X, INTEGERS)))),
    Case("binary_cross_entropy", binary(("weight",), True).filter(in_unit_interval), tolerance=1e-9, refused=(
        BAD, Call((X, Y)), Call((2 * X, X)), Call((X, -X)), Call((X, X, np.ones(2))), Call((X, INTEGERS)))),
    Case("kl_div", divergences(), refused=(BAD,)),
]
