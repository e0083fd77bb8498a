"""What no figure can be computed of is refused with the name of the function, of the argument, and what to do."""

import numpy as np
import pytest

from minidiff import metrics
from minidiff.autograd import tensor
from minidiff.random import Generator

X = np.arange(40.0).reshape(20, 2)
CALLS = {
    "nearest": lambda x: metrics.nearest(x, X),
    "count_within": lambda x: metrics.count_within(x, X, np.ones(20)),
    "fit_gaussian": lambda x: metrics.fit_gaussian(x),
    "frechet_distance": lambda x: metrics.frechet_distance(x, X),
    "frechet_floor": lambda x: metrics.frechet_floor(x, 10, 10),
    "frechet_curve": lambda x: metrics.frechet_curve(x, X, [20], Generator(0)),
    "frechet_distance_infinite": lambda x: metrics.frechet_distance_infinite(x, X, Generator(0)),
    "kernel_distance": lambda x: metrics.kernel_distance(x, X),
    "radii": lambda x: metrics.radii(x, 1),
    "precision": lambda x: metrics.precision(x, X),
    "recall": lambda x: metrics.recall(x, X),
    "density_and_coverage": lambda x: metrics.density_and_coverage(x, X),
    "authenticity": lambda x: metrics.authenticity(x, X),
    "cosine_similarity": lambda x: metrics.cosine_similarity(x, X + 1),
    "clip_scores": lambda x: metrics.clip_scores(x, X + 1),
    "compare": lambda x: metrics.compare(x, X, Generator(0)),
}


def spoilt(value):
    x = X.copy()
    x[3, 1] = x[7, 0] = value
    return x


@pytest.mark.parametrize("where", CALLS)
def test_features_are_rows_of_finite_floats(where):
    """Another number of dimensions, no rows, integers, complex numbers, NaN, infinity, and what would overflow."""
    call = CALLS[where]
    for shape in ((20,), (20, 2, 1), (0, 2), (20, 0)):
        with pytest.raises(ValueError, match=rf"{where}: expected \w+ of shape \(N, D\), a row an image"):
            call(np.zeros(shape))
    for dtype in (np.int64, np.uint8, bool, complex, "U3"):
        with pytest.raises(TypeError, match=rf"{where}: expected \w+ to be floating-point numbers, got dtype"):
            call(X.astype(dtype))
    for value in (np.nan, np.inf, -np.inf, 1e51):
        with pytest.raises(ValueError, match=rf"{where}: 2 rows of \w+ are not finite or beyond 1e\+50, the first is row 3"):
            call(spoilt(value))


@pytest.mark.parametrize("where", sorted(CALLS.keys() - {"fit_gaussian", "radii", "frechet_distance", "frechet_floor"}))
def test_two_sets_have_the_same_features(where):
    """Three numbers in a row are no match for two."""
    with pytest.raises(ValueError, match=rf"{where}: expected \w+ and \w+ to have the same features, got \d and \d of them"):
        CALLS[where](np.ones((20, 3)))


@pytest.mark.parametrize("where, least, rows", [
    ("fit_gaussian", 2, 1), ("frechet_distance", 2, 1), ("kernel_distance", 2, 1), ("radii", 2, 1), ("compare", 10, 9),
])
def test_too_few_rows_are_named(where, least, rows):
    """The message says how many are needed."""
    with pytest.raises(ValueError, match=rf"{where}: expected at least {least} rows of \w+, got {rows}; draw more"):
        CALLS[where](X[:rows])


@pytest.mark.parametrize("where", CALLS)
def test_tensors_and_single_precision_come_in_and_nothing_is_written_to(where):
    """A Tensor is the array that it holds; float32 is computed with in float64; the input is as it was."""
    features = np.random.default_rng().standard_normal((20, 2)).astype(np.float32)
    kept = features.copy()
    results = [CALLS[where](x) for x in (features, tensor(features), features.astype(np.float64))]
    for other in results[1:]:
        np.testing.assert_equal(other, results[0])
    assert (features == kept).all()


def test_what_is_listed_is_there():
    """`__all__` names what can be imported, once."""
    assert len(set(metrics.__all__)) == len(metrics.__all__) and all(hasattr(metrics, name) for name in metrics.__all__)
