"""The Frechet distance: closed forms, fifty digits, other square roots, other definitions; and what the number of samples does to it."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from minidiff.metrics import (
    Moments,
    fit_gaussian,
    frechet_curve,
    frechet_distance,
    frechet_distance_infinite,
    frechet_floor,
    jackknife,
    moments,
)
from minidiff.random import Generator

seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def covariance_of(root):
    return root.T @ root


def random_covariance(rng, d):
    root = rng.standard_normal((d, d))
    return root @ root.T


def rotation(rng, d):
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


# -- between two Gaussians -------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 6))
def test_of_independent_features_it_is_the_sum_of_those_of_each(rng, d):
    """(m - m')^2 + (s - s')^2, one feature at a time, where the closed form is the textbook's; also in rotated coordinates."""
    m, n = rng.standard_normal((2, d))
    s, t = rng.uniform(0, 2, (2, d))
    turned = rotation(rng, d)
    expected = ((m - n) ** 2 + (s - t) ** 2).sum()
    for q in (np.eye(d), turned):
        found = frechet_distance(moments(q @ m, q @ np.diag(s**2) @ q.T), moments(q @ n, q @ np.diag(t**2) @ q.T))
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)


@given(seeds, st.integers(1, 4))
def test_it_is_heusels_formula_in_fifty_digits(rng, d):
    """tr(S + S' - 2 (S S')^{1/2}), the square root of a matrix that is not symmetric by mpmath."""
    s, t = random_covariance(rng, d), random_covariance(rng, d)
    m, n = rng.standard_normal((2, d))
    with mpmath.workdps(50):
        product = mpmath.matrix(s.tolist()) * mpmath.matrix(t.tolist())
        # the eigenvalues of S S' are those of a symmetric matrix, real and positive; the trace of its root is the sum of theirs
        root = sum(mpmath.sqrt(abs(value)) for value in mpmath.eig(product)[0])
        expected = sum((mpmath.mpf(a) - b) ** 2 for a, b in zip(m.tolist(), n.tolist())) + s.trace() + t.trace() - 2 * root
    assert frechet_distance(moments(m, s), moments(n, t)) == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


@given(seeds, st.integers(2, 8))
def test_it_is_what_others_compute_with_scipys_square_root(rng, d):
    """The line of pytorch-fid: sqrtm of S S', its real part."""
    x, y = rng.standard_normal((4 * d, d)), rng.standard_normal((5 * d, d)) * 1.3 + 0.2
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(moments(x.mean(axis=0), s), moments(y.mean(axis=0), t)) == pytest.approx(expected, rel=1e-9)


@given(seeds, st.integers(1, 5), st.floats(1e-9, 1e-3))
def test_close_gaussians_keep_their_digits(rng, d, step):
    """Standard deviations that differ by 1e-9 of themselves: the difference of traces would have no digit left."""
    std = rng.uniform(0.5, 2, d)
    found = frechet_distance(Moments(np.zeros(d), np.diag(std)), Moments(np.zeros(d), rotation(rng, d) @ np.diag(std * (1 + step))))
    assert found == pytest.approx((((std * (1 + step)) - std) ** 2).sum(), rel=1e-5)


@given(seeds, st.integers(1, 6), st.integers(2, 30))
def test_a_set_has_no_distance_from_itself(rng, d, n):
    """In any order, also with fewer samples than features; and from nothing else."""
    x = rng.standard_normal((n, d)) + 3
    assert 0 <= frechet_distance(x, x[rng.permutation(n)]) < 1e-25 * n * d
    assert frechet_distance(x, x + 1) == pytest.approx(d, rel=1e-10)


@given(seeds, st.integers(1, 5), st.floats(0.1, 10))
def test_turning_and_moving_change_nothing_and_stretching_its_square(rng, d, factor):
    """d^2 is in the square of the features' unit."""
    x, y = rng.standard_normal((10, d)), rng.standard_normal((12, d)) * 2
    q, offset = rotation(rng, d), rng.standard_normal(d)
    expected = frechet_distance(x, y)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(x @ q + offset, y @ q + offset) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(factor * x, factor * y) == pytest.approx(factor**2 * expected, rel=1e-9)


@given(seeds, st.integers(1, 4))
def test_its_root_is_a_metric(rng, d):
    """The triangle inequality."""
    one, two, three = (math.sqrt(frechet_distance(*pair)) for pair in _pairs([rng.standard_normal((7, d)) * rng.uniform(0, 2, d)
                                                                                  for _ in range(3)]))
    assert one <= two + three + 1e-9 and two <= one + three + 1e-9 and three <= one + two + 1e-9


def _pairs(sets):
    a, b, c = sets
    return (a, b), (b, c), (a, c)


@given(seeds, st.integers(1, 3), st.integers(3, 12))
def test_no_way_to_move_one_set_onto_the_other_is_shorter(rng, d, n):
    """Gelbrich's bound: the best assignment of samples to real images moves them by at least the distance of their Gaussians (with 1/N)."""
    x, y = rng.standard_normal((n, d)), rng.standard_normal((n, d)) * 2 + 1
    table = ((x[:, None] - y) ** 2).sum(axis=-1)
    moved = table[linear_sum_assignment(table)].mean()
    gaussians = [moments(z.mean(axis=0), np.atleast_2d(np.cov(z, rowvar=False, ddof=0))) for z in (x, y)]
    assert frechet_distance(*gaussians) <= moved * (1 + 1e-9)


@given(seeds, st.integers(1, 5))
def test_an_optimal_map_of_gaussians_moves_points_that_far(rng, d):
    """x -> m' + T (x - m), T = S^{-1/2} (S^{1/2} S' S^{1/2})^{1/2} S^{-1/2}, takes one Gaussian to the other; how far it moves is d^2."""
    s, t = random_covariance(rng, d) + np.eye(d), random_covariance(rng, d)
    m, n = rng.standard_normal((2, d))
    root = sqrtm(s).real
    T = np.linalg.inv(root) @ sqrtm(root @ t @ root).real @ np.linalg.inv(root)
    np.testing.assert_allclose(T @ s @ T, t, rtol=1e-6, atol=1e-7)
    moved = ((m - n) ** 2).sum() + np.trace((np.eye(d) - T) @ s @ (np.eye(d) - T))
    assert frechet_distance(moments(m, s), moments(n, t)) == pytest.approx(moved, rel=1e-6, abs=1e-8)


# -- from features ---------------------------------------------------------------------------------------------------


@given(seeds, st.integers(1, 6), st.integers(2, 60))
def test_moments_are_numpys_mean_and_covariance(rng, d, n):
    """With N - 1, in blocks, far from zero too; and the way there and back."""
    x = rng.standard_normal((n, d)) * rng.uniform(0.1, 3, d) + 1000
    mean, root = fit_gaussian(x)
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(covariance_of(root), np.atleast_2d(np.cov(x, rowvar=False)), rtol=1e-9, atol=1e-10)
    again = moments(mean, covariance_of(root))
    np.testing.assert_allclose(covariance_of(again.root), covariance_of(root), rtol=1e-9, atol=1e-10)


def test_sums_of_single_precision_are_taken_in_double(rng):
    """A million float32 features around 1000: their sum in float32 would be off by far more than their mean's error."""
    x = (rng.standard_normal((100_000, 2)) * 0.01 + 1000).astype(np.float32)
    mean, root = fit_gaussian(x)
    np.testing.assert_allclose(mean, [math.fsum(column) / 100_000 for column in x.T.tolist()], rtol=1e-14)
    assert mean.dtype == root.dtype == np.float64


def test_fewer_samples_than_features_span_a_plane(rng):
    """Five points in 40 dimensions: their Gaussian has four directions, and the distance is that within and across them."""
    x, y = rng.standard_normal((5, 40)), rng.standard_normal((6, 40))
    _, root = fit_gaussian(x)
    assert np.linalg.matrix_rank(root) == 4
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    overlap = np.linalg.svd(((x - x.mean(axis=0)) / 2) @ ((y - y.mean(axis=0)) / math.sqrt(5)).T, compute_uv=False).sum()
    expected = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * overlap
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(x, moments(y.mean(axis=0), t)) == pytest.approx(expected, rel=1e-6)


# -- the number of samples -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 3, 10])
def test_the_floor_of_equal_eigenvalues_is_its_closed_form(d):
    """(1/N + 1/M) l (D + D (D + 1) / 4); and directions without any width add nothing."""
    expected = (1 / 100 + 1 / 300) * 2.0 * (d + d * (d + 1) / 4)
    assert frechet_floor(moments(np.zeros(d), 2 * np.eye(d)), 100, 300) == pytest.approx(expected, rel=1e-12)
    flat = np.diag([2.0] * d + [0.0] * 3)
    assert frechet_floor(moments(np.zeros(d + 3), flat), 100, 300) == pytest.approx(expected, rel=1e-12)


def test_two_draws_of_one_gaussian_are_a_floor_apart(rng):
    """300 pairs of sets of different sizes with a spread of eigenvalues: the mean distance, to 6 standard errors and the next order."""
    d, n, m = 6, 120, 200
    std = np.arange(1, d + 1) ** -0.5
    mixing = rotation(rng, d)
    drawn = [frechet_distance(rng.standard_normal((n, d)) * std @ mixing, rng.standard_normal((m, d)) * std @ mixing) for _ in range(300)]
    expected = frechet_floor(moments(np.zeros(d), mixing.T @ np.diag(std**2) @ mixing), n, m)
    assert abs(np.mean(drawn) - expected) < 6 * np.std(drawn) / math.sqrt(300) + 0.03 * expected


def test_a_curve_is_the_distance_of_random_subsets(rng):
    """At N the distance itself; at 2 of 4 the mean over draws is that over all pairs; real images are halved, a Gaussian is not."""
    x, y = rng.standard_normal((4, 2)), rng.standard_normal((8, 2))
    assert frechet_curve(x, y, [4], Generator(0))[0] == pytest.approx(frechet_distance(x, y), rel=1e-9)
    fixed = fit_gaussian(y)
    halves = [x[[i, j]] for i in range(4) for j in range(i)]
    curve = frechet_curve(x, fixed, [2] * 3000, rng)
    distances = [frechet_distance(half, fixed) for half in halves]
    assert set(np.round(curve, 9)) == set(np.round(distances, 9))
    assert abs(curve.mean() - np.mean(distances)) < 6 * np.std(distances) / math.sqrt(3000)

    class First:
        def permutation(self, n):
            return np.arange(n)

    assert frechet_curve(x, y, [2], First())[0] == pytest.approx(frechet_distance(x[:2], y[:4]), rel=1e-9)


def test_extrapolation_takes_the_bias_away(rng):
    """Twenty perfect models and twenty others: 400 samples add 0.11 to a distance of 0 and of 0.04; the extrapolated ones are right."""
    d, n = 8, 400
    for scale in (1.0, 0.93):
        truth = d * (1 - scale) ** 2
        plain, line, left_out = [], [], []
        for _ in range(20):
            x, y = scale * rng.standard_normal((n, d)), rng.standard_normal((n, d))
            plain.append(frechet_distance(x, y))
            line.append(frechet_distance_infinite(x, y, rng))
            left_out.append(jackknife(lambda x, y: {"d": frechet_distance(x, y)}, x, y, rng)["d"].unbiased().value)
        assert np.mean(plain) > truth + 0.08
        for extrapolated in (line, left_out):
            assert abs(np.mean(extrapolated) - truth) < 6 * np.std(extrapolated) / math.sqrt(20)


def test_the_line_is_fitted_in_one_over_n(monkeypatch):
    """Of a curve a + b / N it finds a; at 15 counts from a tenth of N, and never less than 2 D of either set."""
    x, asked = np.random.default_rng().standard_normal((1000, 2)), []

    def curve(samples, real, counts, generator):
        asked[:] = counts
        return 3.0 + 70.0 / np.asarray(counts)

    monkeypatch.setattr("minidiff.metrics.frechet.frechet_curve", curve)
    assert frechet_distance_infinite(x, x, Generator(0)) == pytest.approx(3, rel=1e-9)
    assert len(asked) == 15 and asked[0] == 100 and asked[-1] == 1000
    frechet_distance_infinite(x[:20], x[:8], Generator(0), points=3)
    assert asked == [10, 15, 20]                                            # of the real images then 4, 6, 8
    frechet_distance_infinite(x, fit_gaussian(x), Generator(0), points=2, smallest=50)
    assert asked == [50, 1000]


def test_the_number_of_threads_changes_nothing(rng):
    """BLAS may take one thread or all: the same bits of a distance of 300 features."""
    x, y = rng.standard_normal((2, 700, 300))
    covariance, results = np.cov(y, rowvar=False), set()
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            results.add((frechet_distance(x, y), frechet_floor(x, 10, 10), frechet_distance(x, moments(np.zeros(300), covariance))))
    assert len(results) == 1


# -- the door --------------------------------------------------------------------------------------------------------


def test_bad_moments_are_refused():
    """Shapes, asymmetry, negative eigenvalues; rounding is forgiven."""
    with pytest.raises(ValueError, match=r"moments: expected a mean \(D,\) and a covariance \(D, D\), got shapes \(2,\) and \(3, 3\)"):
        moments(np.zeros(2), np.eye(3))
    with pytest.raises(ValueError, match=r"moments: expected a symmetric covariance, but entries differ .* images by up to 0\.5"):
        moments(np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="moments: expected a covariance, whose eigenvalues are at least 0, but the smallest is -1"):
        moments(np.zeros(2), np.diag([1.0, -1.0]))
    with pytest.raises(TypeError, match="moments: expected covariance to be floating-point numbers, got dtype int64"):
        moments(np.zeros(2), np.eye(2, dtype=np.int64))
    singular = np.ones((3, 3), np.float32) / 3
    np.testing.assert_allclose(covariance_of(moments(np.zeros(3), singular).root), singular, atol=1e-7)


def test_bad_counts_are_refused_before_anything_is_computed():
    """Too few of either set, counts outside, features of another network."""
    x, y = np.random.default_rng().standard_normal((2, 40, 2))
    with pytest.raises(ValueError, match="frechet_distance: expected as many features in samples as in real, got 2 and 3"):
        frechet_distance(x, moments(np.zeros(3), np.eye(3)))
    for counts in ([1], [41], [40, 0]):
        with pytest.raises(ValueError, match="frechet_curve: expected counts from 2 to 40, got"):
            frechet_curve(x, y, counts, Generator(0))
    with pytest.raises(ValueError, match="frechet_curve: 5 of 40 samples leave less than 2 of 10 real images"):
        frechet_curve(x, y[:10], [5], Generator(0))
    with pytest.raises(TypeError, match="frechet_curve: expected a generator with the method permutation"):
        frechet_curve(x, y, [5], None)
    with pytest.raises(ValueError, match="frechet_distance_infinite: 7 samples or real images are too few for 2 features"):
        frechet_distance_infinite(x, y[:7], Generator(0))
    for options in ({"smallest": 40}, {"smallest": 1}, {"points": 1}):
        with pytest.raises(ValueError, match=r"frechet_distance_infinite: expected (smallest|points)"):
            frechet_distance_infinite(x, y, Generator(0), **options)
    with pytest.raises(ValueError, match="frechet_floor: expected count of at least 1, got 0"):
        frechet_floor(x, 0, 5)
