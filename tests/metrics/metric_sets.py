"""Sets of points for hypothesis: with ties, repetitions, offsets and outliers, where nearest neighbours go wrong."""

import numpy as np
from hypothesis import strategies as st

KINDS = ("integers", "normal", "repeated", "far from zero", "an outlier", "tiny", "huge", "float32")


@st.composite
def point_sets(draw, smallest=1, largest=12, count=2):
    """`count` sets of points of one dimension and one kind."""
    kind, dimension = draw(st.sampled_from(KINDS)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sets = []
    for _ in range(count):
        n = draw(st.integers(smallest, largest))
        points = rng.integers(-2, 3, (n, dimension)).astype(float) if kind == "integers" else rng.standard_normal((n, dimension))
        if kind == "repeated":
            points = points[rng.integers(0, n, n)]
        elif kind == "far from zero":
            points = np.round(points, 1) * 2.0**-10 + 1e6
        elif kind == "an outlier":
            points[0] *= 1e12
        points = points * {"tiny": 1e-161, "huge": 1e40}.get(kind, 1.0)
        sets.append(points.astype(np.float32) if kind == "float32" else points)
    return sets
