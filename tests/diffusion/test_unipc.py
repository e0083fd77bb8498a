"""UniPC: the paper's linear systems, solved; what its parts are elsewhere; orders of convergence on data with a perfect model."""

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pytest
from convergence import global_errors, slope, uniform_in_lambda
from diffusion_laws import MP
from hypothesis import given, settings
from hypothesis import strategies as st

from minidiff.diffusion import (
    DDIM,
    DPMPP_2M,
    EDM,
    UNIPC,
    Gaussian,
    Level,
    Mixture,
    Multistep,
    Path,
    Schedule,
    UniPC,
    VariancePreserving,
    make_schedule,
    path,
    sample,
    timesteps,
)
from minidiff.diffusion.samplers.multistep import behind, exact_step

VP = VariancePreserving()
PAIR = Gaussian([0.3, -0.2], [0.5, 1.2])
ORDERS, PREDICTS, TYPES = (1, 2, 3), ("sample", "epsilon"), ("bh1", "bh2", "exact")


@st.composite
def paths(draw, low=0.05, high=2.0, size=6):
    """Variance preserving levels whose lambdas are any distances apart."""
    exponents = st.floats(math.log10(low), math.log10(high))
    steps = [10.0**exponent for exponent in draw(st.lists(exponents, min_size=size, max_size=size))]
    lambdas = accumulate(steps, initial=draw(st.floats(-4, 1)))
    levels = (Level(-lam, 1 / math.sqrt(1 + math.exp(-2 * lam)), 1 / math.sqrt(1 + math.exp(2 * lam))) for lam in lambdas)
    return Path(None, tuple(levels), tuple(steps))


def bumpy(x, lam):
    """A model that is not linear in anything."""
    return math.tanh(x) + 0.3 * math.sin(lam + 2 * x)


def walked(plan, x, levels):
    past = []
    for move, level in zip(plan.moves, levels):
        past.insert(0, bumpy(x, level.half_log_snr))
        x = move.settle.x * x + sum(w * m for w, m in zip(move.settle.predictions, past))
    return x


def paper(levels, x, order, predicts, solver_type, lower_order_final):
    """Predict, ask, correct, with rho from R rho = b (Zhao et al. 2023, B(h) = h or e^h - 1, of -h for data), as the paper has it."""
    lam, past = [level.half_log_snr for level in levels], []
    count = len(levels) - 1
    corrected, p = x, 1
    for i in range(count + 1):
        now = bumpy(x, lam[i]) if i < count else 0.0
        if 0 < i < count:
            corrected = united(levels, lam, i, corrected, past, p, predicts, solver_type, now)
        past.insert(0, now)
        if i == count:
            return x
        p = min(order, i + 1, count - i if lower_order_final else order)
        x = united(levels, lam, i + 1, corrected, past, p, predicts, solver_type)


def united(levels, lam, i, x, past, p, predicts, solver_type, new=None):
    """From level i - 1 to level i: UniP without, UniC with the prediction at level i."""
    t, s = levels[i - 1], levels[i]
    h = lam[i] - lam[i - 1]
    hh = -h if predicts == "sample" else h
    r = [(lam[i - 1 - m] - lam[i - 1]) / h for m in range(1, p)] + ([1.0] if new is not None else [])
    d = [(past[m] - past[0]) / r[m - 1] for m in range(1, p)] + ([new - past[0]] if new is not None else [])
    big_b = {"bh1": hh, "bh2": math.expm1(hh), "exact": 1.0}[solver_type]
    if len(r) == 1 and solver_type != "exact":
        rho = [0.5]
    else:
        b, phi, factorial = [], math.expm1(hh) / hh, 1
        for n in range(1, len(r) + 1):
            phi = (phi - 1 / math.factorial(n)) / hh  # phi_{n+1}(hh)
            factorial *= n
            b.append(hh * phi * factorial / big_b)
        rho = np.linalg.solve(np.vander(r, increasing=True).T, b) if r else []
    scale = s.alpha if predicts == "sample" else s.sigma
    ratio = s.sigma / t.sigma if predicts == "sample" else s.alpha / t.alpha
    return ratio * x - scale * math.expm1(hh) * past[0] - scale * big_b * sum(a * b for a, b in zip(rho, d))


# -- against the paper -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver_type", TYPES)
@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=15)
@given(walk=paths(low=0.2), x=st.floats(-3, 3), lower=st.booleans())
def test_the_walk_is_predict_ask_correct(walk, order, predicts, solver_type, lower, x):
    """The paper's loop on numbers, a linear system a step, with a model that is linear in nothing."""
    got = walked(UniPC(order, predicts, solver_type, lower).plan(walk), x, walk.levels)
    expected = paper(walk.levels, x, order, predicts, solver_type, lower)
    assert got == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize("order", ORDERS)
@settings(max_examples=10)
@given(walk=paths(low=1e-8, high=20, size=3))
def test_correctors_integrate_polynomials_of_the_order_exactly(walk, order, predicts):
    """Degree p, one more than the predictor's, against quadrature at 50 digits, for steps of 1e-8 beside steps of 20."""
    for k in range(order - 1, len(walk)):
        t, s, h = walk.levels[k], walk.levels[k + 1], MP.mpf(walk.steps[k])
        nodes = [h] + [-sum((MP.mpf(step) for step in walk.steps[k - i: k]), MP.mpf(0)) for i in range(order)]
        step = exact_step(t, s, walk.steps[k], predicts)
        weights = UniPC(order, predicts, "exact").corrector(step, behind(walk, k, order))
        for n in range(order + 1):
            sign = -1 if predicts == "sample" else 1
            exact = MP.quad(lambda u, n=n, h=h, sign=sign: MP.exp(-(h - u) if sign < 0 else -u) * u**n, MP.linspace(0, h, 5))
            terms = [MP.mpf(w) * u**n for w, u in zip(weights, nodes)]
            assert abs(sum(terms) - exact) <= 1e-13 * sum(abs(term) for term in terms)


@given(paths(low=1e-3, high=5))
def test_its_predictors_are_known_members(walk):
    """UniP-1 is DDIM, UniP-2 with bh2 the published DPM-Solver++(2M), UniP-3 the exact 3M; likewise for eps."""
    for sampler, unified in (
        (DDIM, UniPC(1)), (DPMPP_2M, UniPC(2)), (Multistep(2, "epsilon", solver_type="midpoint"), UniPC(2, "epsilon")),
        (Multistep(2), UniPC(2, solver_type="exact")), (Multistep(3), UniPC(3)), (Multistep(3, "epsilon"), UniPC(3, "epsilon")),
    ):
        k = unified.order - 1
        t, s = walk.levels[k], walk.levels[k + 1]
        step = exact_step(t, s, walk.steps[k], unified.predicts)
        weights = [step.scale * w for w in unified.predictor(step, behind(walk, k, unified.order))]
        np.testing.assert_allclose(weights, sampler.plan(walk).moves[k].settle.predictions, rtol=1e-14)


@pytest.mark.parametrize("predicts", PREDICTS)
@given(walk=paths(low=1e-8, high=20))
def test_types_differ_only_where_the_paper_does_not_solve(walk, predicts):
    """The corrector from p = 2 on and the predictor of p = 3: one set of weights, whatever B(h)."""
    step = exact_step(walk.levels[3], walk.levels[4], walk.steps[3], predicts)
    for order in (2, 3):
        assert len({tuple(UniPC(order, predicts, kind).corrector(step, behind(walk, 3, order))) for kind in TYPES}) == 1
    assert len({tuple(UniPC(3, predicts, kind).predictor(step, behind(walk, 3, 3))) for kind in TYPES}) == 1
    assert len({tuple(UniPC(1, predicts, kind).corrector(step, [0.0])) for kind in TYPES}) == 3


@pytest.mark.parametrize("predicts", PREDICTS)
def test_the_process_does_not_matter_only_the_signal_to_noise_ratio(predicts):
    """VP and EDM coordinates of one walk: the same samples."""
    data = Mixture([0.3, 0.7], [[-1.0, 0.5], [0.8, -0.4]], [[0.4, 0.6], [0.5, 0.9]])
    times = np.linspace(0.98, 0.02, 12)
    alpha, sigma = VP.alpha(times), VP.sigma(times)
    x = np.random.default_rng().standard_normal((4, 2))
    for order in ORDERS:
        sampler = UniPC(order, predicts)
        in_edm = sample(data.model(EDM), EDM, x / alpha[0], sigma / alpha, sampler)
        np.testing.assert_allclose(in_edm, sample(data.model(VP), VP, x, times, sampler), rtol=1e-9, atol=1e-9)


# -- the beginning and the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [UniPC(order, "sample", kind) for order in ORDERS for kind in TYPES], ids=str)
def test_the_last_step_gives_the_predicted_data(sampler):
    """With data prediction the result is the last x_0, for any list."""
    told = []
    for process, times in ((VP, [1.0, 0.5, 0.2]), (VP, [0.7]), (EDM, [5.0, 1.0, 0.2, 0.0]), (make_schedule("linear", 50), [40, 7, 0])):
        x = np.full((2, 2), 0.8)
        result = sample(PAIR.model(process), process, x, times, sampler, callback=lambda *news: told.append(news))
        i, _, _, x_start = told[-1]
        assert i == len([t for t in times if t > 0 or process is not EDM]) - 1
        np.testing.assert_allclose(result, x_start, rtol=1e-12)


def test_from_pure_noise():
    """Zero terminal SNR, v-prediction: the first step is DDIM's and not corrected; the walk goes on as one that begins there."""
    schedule = Schedule.from_alphas_cumprod([0.9, 0.6, 0.3, 0.1, 0.0])
    for order in ORDERS:
        plan = UniPC(order).plan(path(schedule, [4, 3, 2, 1, 0]))
        first, ddim = plan.moves[0].settle, DDIM.plan(path(schedule, [4, 3])).moves[0].settle
        np.testing.assert_allclose([first.x, *first.predictions], [ddim.x, *ddim.predictions], rtol=1e-15)
        assert plan.moves[1:] == UniPC(order).plan(path(schedule, [3, 2, 1, 0])).moves


def test_one_call_a_step():
    """The corrector costs nothing: as many calls as times, each at its own level."""
    asked = []
    schedule, times = make_schedule("linear", 50), timesteps(50, 8)
    model = PAIR.model(schedule)
    sample(lambda x, t: asked.append(int(t[0])) or model(x, t), schedule, np.ones((1, 2)), times, UniPC(3))
    assert asked == times.tolist()


# -- orders of convergence -------------------------------------------------------------------------------------------


def error_slope(sampler, first, last=0.02, counts=(40, 80, 160), data=PAIR, process=EDM, times=uniform_in_lambda):
    x = np.array([[1.0, -2.0], [-0.5, 0.3]]) * process.level(first).sigma
    return slope(counts, global_errors(sampler, data, process, first, last, counts, x, times=times))


@pytest.mark.parametrize("solver_type", TYPES)
@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize(("order", "expected"), [(1, 2), (2, 3), (3, 3)])
def test_order_of_convergence(order, expected, predicts, solver_type):
    """p + 1, but 3 for p = 3: from sigma = 2 the error h^3 of the first step, of order 1 corrected to 2, is all one sees."""
    counts = (160, 320, 640) if order == 3 else (40, 80, 160)
    assert error_slope(UniPC(order, predicts, solver_type, False), first=2.0, counts=counts) == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("predicts", PREDICTS)
def test_order_four_from_much_noise(predicts):
    """From sigma = 80, where the prediction hardly changes, the first step's error does not count: UniPC-3 is of order 4."""
    assert error_slope(UniPC(3, predicts, lower_order_final=False), first=80.0, counts=(80, 160, 320)) == pytest.approx(4, abs=0.25)


def test_a_low_order_at_the_end_costs_the_order():
    """lower_order_final on a walk that ends in noise: its last step, of order 1 and not corrected, leaves an error h^2."""
    x, counts = np.array([[1.0, -2.0]]), (80, 160, 320)
    start, end = np.sqrt(PAIR.std**2 + 2.0**2), np.sqrt(PAIR.std**2 + 0.2**2)
    exact = PAIR.mean + end / start * (x - PAIR.mean)
    for lower_order_final, expected in ((True, 2), (False, 3)):
        sampler = EndsInNoise(UniPC(3, lower_order_final=lower_order_final))
        walks = [sample(PAIR.model(EDM), EDM, x, uniform_in_lambda(EDM, 2.0, 0.2, count), sampler) for count in counts]
        assert slope(counts, [np.abs(result - exact).max() for result in walks]) == pytest.approx(expected, abs=0.25)


@dataclass
class EndsInNoise:
    """Another sampler on the path without its last step, so that the last of the times is where it ends."""

    sampler: UniPC

    def plan(self, walk):
        return self.sampler.plan(Path(walk.process, walk.levels[:-1], walk.steps[:-1]))


# -- the door --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("settings", "message"), [
    ({"order": 4}, "UniPC: unknown order 4; choose from 1, 2, 3"),
    ({"predicts": "v"}, "UniPC: unknown predicts 'v'; choose from sample, epsilon"),
    ({"solver_type": "midpoint"}, "UniPC: unknown solver_type 'midpoint'; choose from bh2, bh1, exact"),
])
def test_unknown_settings_are_refused(settings, message):
    """One message each, that names the choices."""
    with pytest.raises(ValueError, match=message):
        UniPC(**settings)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept_for_any_layout(dtype):
    """A transposed batch of odd shape, both dtypes."""
    x = np.random.default_rng().standard_normal((3, 5, 2)).astype(dtype).transpose(1, 2, 0)
    result = sample(Gaussian(0.1, 0.5).model(VP), VP, x, np.linspace(1, 0.1, 5), UNIPC)
    assert result.dtype == dtype and result.shape == x.shape
