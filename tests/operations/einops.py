"""`rearrange`, `reduce` and `repeat` over patterns that are made up: axes split into groups, permuted, dropped, added, hidden in `...`."""

import importlib
import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, values

NAMES = ("b", "c", "h", "w1", "p_q", "Patch", "axis2", "é")


@dataclass(frozen=True)
class Example:
    """A pattern with everything that was known when it was made. Axes of `...` and numbers have names here, too."""

    pattern: str
    left: list[list[str]]
    right: list[list[str]]
    sizes: dict[str, int]
    given: dict[str, int]

    @property
    def gone(self):
        """The axes that are on the left only."""
        return {axis for axes in self.left for axis in axes} - {axis for axes in self.right for axis in axes}

    @property
    def shape(self):
        return tuple(math.prod(self.sizes[axis] for axis in axes) for axes in self.left)


def grouped(draw, axes):
    """The axes cut into dimensions of none, one or several."""
    found, rest = [], list(axes)
    while rest or draw(st.integers(0, 5)) == 5:
        count = draw(st.sampled_from([0, 1, 1, 1, 2, 3]))
        found.append(rest[:count])
        rest = rest[count:]
    return found


def side(draw, axes, hidden, bracketed):
    """One side: its dimensions, and its text. axes: as they are written; `...` stands for `hidden`, in brackets only if `bracketed`."""
    dimensions, parts = [], []
    for group in grouped(draw, draw(st.permutations(axes))):
        alone = "..." in group and (not bracketed or draw(st.booleans()))
        if alone:
            group.remove("...")
            dimensions += [[axis] for axis in hidden]
            parts.append("...")
        if group or not alone:
            tokens = [axis.partition("#")[0] for axis in group]
            if draw(st.integers(0, 9)) == 9:
                tokens.insert(draw(st.integers(0, len(tokens))), "1")
            bare = len(tokens) == 1 and tokens != ["..."] and draw(st.booleans())
            parts.append(tokens[0] if bare else f"({draw(st.sampled_from(['', ' ']))}{' '.join(tokens)})")
            dimensions.append([name for axis in group for name in (hidden if axis == "..." else [axis])])
    return dimensions, draw(st.sampled_from([" ", "  "])).join(parts)


@st.composite
def examples(draw, function, smallest=0):
    """A pattern for a function; no size is below `smallest`."""
    names = draw(st.permutations(NAMES))[:draw(st.integers(0, 4))]
    dots = draw(st.booleans())
    hidden = [f"hidden{i}" for i in range(draw(st.integers(0, 2)) if dots else 0)]
    numbers = [f"{draw(st.integers(2, 3))}#{i}" for i in range(draw(st.integers(0, 2)) if function != "rearrange" else 0)]
    fresh = [f"new{i}" for i in range(draw(st.integers(0, 2)) if function == "repeat" else 0)]
    sizes = {axis: draw(st.integers(1, 3)) for axis in (*names, *hidden, *fresh)} | {axis: int(axis[0]) for axis in numbers}

    stay = [axis for axis in [*names, *["..."] * dots] if function != "reduce" or draw(st.booleans())]
    left, left_text = side(draw, [*names, *["..."] * dots, *(numbers if function == "reduce" else [])], hidden, bracketed=False)
    right, right_text = side(draw, [*stay, *fresh, *(numbers if function == "repeat" else [])], hidden, bracketed=True)
    given = {axis: sizes[axis] for axis in fresh}
    for group in left:
        told = draw(st.sampled_from([*group, None])) if group else None  # by the shape
        given |= {axis: sizes[axis] for axis in group if axis in names and axis != told}
    alone = [axis for axis in names if [axis] in left and axis not in given]
    if smallest == 0 and alone and draw(st.integers(0, 4)) == 4:
        sizes[alone[0]] = 0
    return Example(f"{left_text}{draw(st.sampled_from(['->', ' -> ']))}{right_text}", left, right, sizes, given)


def called(function, reductions=(None,), smallest=0):
    """Calls with the input as an array, or as a list of its rows."""

    @st.composite
    def calls(draw):
        example = draw(examples(function, smallest))
        x = draw(values())(*example.shape)
        if x.ndim > 1 and len(x) and draw(st.integers(0, 2 if len(x) == 1 else 4)) == 2:
            x = list(x)
        reduction = draw(st.sampled_from(reductions))
        if reduction is None:
            return Call((x, example.pattern), example.given)
        if draw(st.booleans()):
            return Call((x, example.pattern, reduction), example.given)
        return Call((x, example.pattern), {"reduction": reduction} | example.given)

    return calls()


def theirs(name):
    return lambda torch: getattr(importlib.import_module("einops"), name)


X = np.ones((2, 3, 4))


def refused(function, *patterns, reduction=None):
    more = () if reduction is None else (reduction,)
    return tuple(Call((X, pattern, *more), sizes) for pattern, sizes in (p if isinstance(p, tuple) else (p, {}) for p in patterns))


UNREADABLE = (
    "a b c", "a b c -> a b c -> a b c", "a b c - > a b c",
    "a b (c -> a b c", "a b c) -> a b c", "a (b (c)) -> a b c", "a b (c ()) -> a b c",
    "a b b -> a b", "a b c -> a b b c",
    "a b _c -> a b _c", "a b c_ -> a b c_", "a b _ -> a b _", "a b 0c -> a b 0c", "a b c! -> a b c!", "a,b c d -> a b c d",
    "a b 0 -> a b 0",
    "a .. -> a ..", "a .... -> a ....", "... ... -> ...", "a b c... -> a b c...", "a... b c -> a... b c", "a b.c d -> a b.c d",
    "a (b ...) -> a b ...", "(...) -> ...", "a b c -> a ... b c", "a b c -> (a ...) b c",
)
UNFIT = (
    "a b -> a b", "a b c d -> a b c d", "a b c d ... -> a b c d ...", "-> ", "1 b c -> 1 b c", "() b c -> () b c",
    "(a 1 1) b c d -> a b c d", ("a b c -> a b c", {"d": 2}), ("a b c -> a b c", {"a": 3}), "a b (c d) -> a b c d",
    ("a b (c d) -> a b c d", {"c": 3}), ("a b (c d) -> a b c d", {"c": 2, "d": 3}), ("a b (c d) -> a b c d", {"c": 2.0}),
    ("a b (c d) -> a b c d", {"c": -2}), ("a b (c d) -> a b c d", {"c": -2, "d": -2}), ("a b (c d) -> a b c d", {"c": "2"}),
)

CASES = [
    Case("rearrange", called("rearrange"), theirs=theirs("rearrange"), examples=40, refused=(
        *refused("rearrange", *UNREADABLE, *UNFIT, "a b c -> a b", "a b -> a b c", "a b c -> a b c d", "a b c -> a b c 2", "a b 4 -> a b",
                 "a b 4 -> a b 4", "a b (c 2) -> a b c", "a ... -> a", ("a b c -> a b c d", {"d": 2}), "->"),
        Call(([], "a b c -> a b c")), Call(([X, X[:1]], "n a b c -> n a b c")))),
    Case("reduce", called("reduce", ("sum",)), theirs=theirs("reduce"), refused=(
        *refused("reduce", *UNREADABLE, *UNFIT, "a b c -> a b c d", ("a b c -> a d", {"d": 1}), "a b c -> a 2", "a b 4 -> a b 4",
                 "a b 3 -> a b", "a b (c 3) -> a b", "a b 2 2 -> a b", reduction="sum"),
        Call((X, "a b c -> a", "median")), Call((X, "a b c -> a b c", "median")), Call((X, "a b c -> a", None)), Call((X, "a b c -> a")),
        Call((X.astype(np.int64), "a b c -> a", "mean")))),
    Case("reduce", called("reduce", ("mean", "max", "min", "prod", lambda x, dims: (x * x).sum(dims)), smallest=1), label="otherwise",
         theirs=theirs("reduce"), examples=40),
    Case("reduce", called("reduce", ("any", "all")), label="truth", theirs=theirs("reduce"), order=0),
    Case("repeat", called("repeat"), theirs=theirs("repeat"), examples=40, refused=(
        *refused("repeat", *UNREADABLE, *UNFIT, "a b c -> a b", "a b c -> a b c d", ("a b c -> a b c d", {"d": 2.0}),
                 ("a b c -> a b c d", {"d": 2, "e": 2}), "a b 4 -> a b 4", "a b (c 2) -> a b c", "a ... -> a", "1 b c -> 2 b c"),)),
]
