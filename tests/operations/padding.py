"""Padding in all modes, for all shapes that PyTorch takes."""

import numpy as np
from hypothesis import strategies as st

from .case import Call, Case, shapes, values

X = np.ones((2, 3, 4))


@st.composite
def forms(draw, input, widths, mode, value):
    """The ways to write a call."""
    widths = draw(st.sampled_from([tuple, list]))(widths)
    options = {"mode": mode, "value": value}
    if value is None and draw(st.booleans()):
        del options["value"]
    if mode == "constant" and draw(st.booleans()):
        del options["mode"]
    if "mode" in options and draw(st.booleans()):
        return Call((input, widths, options.pop("mode"), *options.values()))
    return Call((), {"input": input, "pad": widths, **options}) if draw(st.booleans()) else Call((input, widths), options)


@st.composite
def constant(draw):
    """Any number of dimensions; negative widths crop, up to everything."""
    shape = draw(shapes(smallest=0))
    widths = []
    for n in shape[::-1][:draw(st.integers(0, len(shape)))]:
        left = draw(st.integers(-n, 3))
        widths += [left, draw(st.integers(-n - min(left, 0), 3))]
    value = draw(st.sampled_from([None, 0, 0.0, 1.5, -2, 3.25]))
    return draw(forms(draw(values())(*shape), widths, "constant", value))


@st.composite
def continued(draw, mode):
    """(N, C, ...) or (C, ...); widths from cropping all but one place to the mode's limit."""
    size = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    widths = []
    for n in size[::-1]:
        if mode == "circular":  # at most what cropping leaves
            left = -draw(st.integers(0, n - 1))
            right = -draw(st.integers(0, n - 1 + left))
            widths += [draw(st.integers(0, n + left + right)) if width == 0 else width for width in (left, right)]
        else:
            most = n - 1 if mode == "reflect" else 5
            left = draw(st.integers(1 - n - most, most))
            widths += [left, draw(st.integers(1 - n - left, most))]
    lead = [draw(st.integers(0, 2))] * draw(st.booleans()) + [draw(st.integers(1, 2))]
    return draw(forms(draw(values())(*lead, *size), widths, mode, draw(st.sampled_from([None, 0.0]))))


def refused(mode, *more):
    """What no mode takes that continues the array, and what this one does not."""
    return (
        Call((X, (), mode)), Call((X, (1,), mode)), Call((X, (1, 1), mode, 1.0)), Call((X, (1,) * 6, mode)), Call((X, (1.0, 1), mode)),
        Call((X[0, 0], (1, 1), mode)), Call((X[None], (1, 1), mode)), Call((X[None, None], (1,) * 4, mode)),
        Call((X[..., :0], (1, 1), mode)),
        *(Call((x, widths, mode)) for x, widths in more),
    )


CASES = [
    Case("pad", constant(), label="constant", refused=(
        Call((X, (1,))), Call((X, (1,) * 8)), Call((X, (-3, -2))), Call((X, (-5, 9))), Call((X, (1.0, 1))), Call((X, 1)), Call((X, "11")),
        Call((X, (1, 1), "nearest")),
    )),
    Case("pad", continued("reflect"), label="reflect", refused=refused(
        "reflect", (X, (4, 0)), (X, (0, 4)), (X, (0, 0, 3, 0)), (X, (-6, 8)), (X, (-2, -2)), (X[:, :0], (1, 1)), (X[:0, 0], (1, 1)))),
    Case("pad", continued("replicate"), label="replicate", refused=refused(
        "replicate", (X, (-5, 0)), (X, (-2, -2)), (X[:, :0], (1, 1)), (X[:0, 0], (1, 1)))),
    Case("pad", continued("circular"), label="circular", refused=refused("circular", (X, (5, 0)), (X, (0, 5)), (X, (-3, -2)))),
]
